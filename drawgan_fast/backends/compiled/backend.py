"""A backend made of compiled kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.base import State
from drawgan_fast.backends.compiled.attention_read import attention_read
from drawgan_fast.backends.compiled.attention_write import attention_write
from drawgan_fast.backends.compiled.calls import reason_against
from drawgan_fast.backends.compiled.draw_scan import draw_generate, draw_scan
from drawgan_fast.backends.compiled.kernels import Kernels
from drawgan_fast.backends.compiled.lstm_cell import lstm_cell
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory


class CompiledBackend:
    """Differentiable operators over a set of kernels; a backend adds when they can run."""

    kernels: Kernels

    def has_kernels(self) -> bool:
        """Whether the kernels are installed, even where nothing can run them."""
        return self.unavailable() is None

    def unavailable(self) -> str | None:
        """Why the kernels cannot run here at all, or None if they can."""
        raise NotImplementedError

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        """Strided float tensors on the kernels' device, outside of torch.func transforms."""
        return reason_against(args, self.kernels.device, plain)

    def attention_read(
        self,
        images: tuple[Tensor, ...],
        params: Tensor,
        N: int,
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """See ``functional.attention_read``."""
        return attention_read(self.kernels, images, params, N, spec, canvas)

    def attention_write(
        self,
        patch: Tensor,
        params: Tensor,
        size: tuple[int, int],
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> Tensor:
        """See ``functional.attention_write``."""
        return attention_write(self.kernels, patch, params, size, spec, canvas)

    def lstm_cell(
        self,
        x: Tensor,
        state: State,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
    ) -> State:
        """See ``functional.lstm_cell``."""
        return lstm_cell(self.kernels, x, state, w_ih, w_hh, b_ih, b_hh)

    def draw_scan(
        self,
        x: Tensor,
        eps: Tensor,
        weights: DrawWeights,
        cfg: DrawConfig,
        prior_eps: Tensor | None,
        trace: bool,
        memory: Memory,
    ) -> DrawOutput:
        """See ``functional.draw_scan``."""
        return draw_scan(self.kernels, x, eps, weights, cfg, prior_eps, trace, memory)

    def draw_generate(
        self, eps: Tensor, weights: DrawWeights, cfg: DrawConfig, trace: bool
    ) -> DrawSample:
        """See ``functional.draw_generate``."""
        return draw_generate(self.kernels, eps, weights, cfg, trace)
