"""The protocol of a compiled backend's kernels: functions on tensors that know no autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.draw_config import DrawConfig


class Options(NamedTuple):
    """What decides how a scan runs, beside its sizes."""

    save: bool  # keep what backward needs
    recompute: bool  # of that, the state of every few steps only
    bf16: bool  # round the operands of products where the device multiplies bfloat16
    trace: bool  # return every canvas and the raw numbers of every window


class Scan(NamedTuple):
    """Everything that a forward pass gives; what was not asked for is None."""

    canvas: Tensor  # [B, C, H, W]
    mu: Tensor  # [T, B, Z]
    log_sigma: Tensor  # [T, B, Z]
    kl: Tensor  # [B]
    prior_canvas: Tensor | None = None  # [B', C, H, W]
    saved: Tensor | None = None  # bytes
    canvases: Tensor | None = None  # [T, B, C, H, W]
    read_params: Tensor | None = None  # [T, B, 5]
    write_params: Tensor | None = None  # [T, B, 5]
    prior_canvases: Tensor | None = None  # [T, B', C, H, W]
    prior_write_params: Tensor | None = None  # [T, B', 5]


class Gradients(NamedTuple):
    """Gradients of a scan's results; None for a result that no loss looks at."""

    canvas: Tensor | None
    mu: Tensor | None
    log_sigma: Tensor | None
    kl: Tensor | None
    prior_canvas: Tensor | None


def allocate(x: Tensor, T: int, prior: Any, cfg: DrawConfig, options: Options) -> Scan:
    """Uninitialised results, without ``saved``; sizes may be symbolic.

    Args:
        x: [B, C, H, W].
        T: steps.
        prior: B', the number of prior samples; None if none were asked for.
        cfg, options: of the scan.
    """
    B, image, Z = x.shape[0], x.shape[1:], cfg.latent_size
    out = Scan(x.new_empty(B, *image), x.new_empty(T, B, Z), x.new_empty(T, B, Z), x.new_empty(B))
    if prior is not None:
        out = out._replace(prior_canvas=x.new_empty(prior, *image))
    if not options.trace:
        return out
    out = out._replace(canvases=x.new_empty(T, B, *image))
    if prior is not None:
        out = out._replace(prior_canvases=x.new_empty(T, prior, *image))
    if not cfg.attention:
        return out
    out = out._replace(read_params=x.new_empty(T, B, 5), write_params=x.new_empty(T, B, 5))
    if prior is not None:
        out = out._replace(prior_write_params=x.new_empty(T, prior, 5))
    return out


class Kernels(Protocol):
    """Forward and backward of every operator on tensors of one dtype, one of ``dtypes``.

    Shapes are those of ``drawgan_fast.functional``. Backwards return a gradient for every True in
    ``wants`` and None for the others.
    """

    name: str
    """Of the backend, as it stands in a graph that has called these kernels."""
    device: str
    """Type of the device that they run on."""
    dtypes: tuple[torch.dtype, ...]
    """What recurrences take as it is; other dtypes are computed in float32."""
    attention_dtypes: tuple[torch.dtype, ...]
    """The same of attention windows."""

    def attention_read(
        self,
        images: Sequence[Tensor],
        params: Tensor,
        canvas: Tensor | None,
        N: int,
        spec: AttentionSpec,
    ) -> tuple[Tensor, ...]:
        """One glimpse per image, then that of the error image where there is a canvas."""

    def attention_read_backward(
        self,
        images: Sequence[Tensor],
        params: Tensor,
        canvas: Tensor | None,
        d_glimpses: Sequence[Tensor | None],
        wants: Sequence[bool],  # of params, canvas and each image
        N: int,
        spec: AttentionSpec,
    ) -> list[Tensor | None]:
        """Gradients in the order of ``wants``."""

    def attention_write(
        self,
        patch: Tensor,
        params: Tensor,
        canvas: Tensor | None,
        size: tuple[int, int],
        spec: AttentionSpec,
    ) -> Tensor:
        """The canvas with the patch on it."""

    def attention_write_backward(
        self, patch: Tensor, params: Tensor, d_out: Tensor, spec: AttentionSpec
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the patch and of the params; that of the canvas is ``d_out`` itself."""

    def lstm_cell(
        self,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        bf16: bool,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The next h and c, and the gates [B, 4K] that backward needs; None unless ``keep``."""

    def lstm_cell_backward(
        self,
        saved: Sequence[Tensor],  # x, h, c, w_ih, w_hh, gates [B, 4K], c_out [B, K]
        d_h_out: Tensor | None,
        d_c_out: Tensor | None,
        wants: Sequence[bool],  # of x, h, c, w_ih, w_hh and the sum of both biases
    ) -> list[Tensor | None]:
        """Gradients in the order of ``wants``."""

    def saved_bytes(
        self, cfg: DrawConfig, T: int, B: Any, prior: Any, dtype: torch.dtype, options: Options
    ) -> Any:
        """Bytes that a scan keeps for backward; both batch sizes may be symbolic."""

    def draw_scan(
        self,
        x: Tensor,
        eps: Tensor,
        prior_eps: Tensor | None,
        weights: Sequence[Tensor],  # sixteen, or twelve without attention
        cfg: DrawConfig,
        options: Options,
    ) -> Scan:
        """All steps forward."""

    def draw_scan_backward(
        self,
        x: Tensor,
        eps: Tensor,
        prior_eps: Tensor | None,
        weights: Sequence[Tensor],
        saved: Tensor,
        mu: Tensor,
        log_sigma: Tensor,
        given: Gradients,
        wants: Sequence[bool],  # of x, eps, prior_eps and each weight
        cfg: DrawConfig,
        options: Options,
    ) -> list[Tensor | None]:
        """Gradients in the order of ``wants``."""
