"""The backend that always runs: the reference operators under PyTorch's own autograd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from drawgan_fast import reference
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.base import State
from drawgan_fast.backends.precision import computing_dtype, result_dtype, without_autocast
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory


class ReferenceBackend:
    """Plain PyTorch: any device, any dtype (half types compute in float32), double backward.

    Under ``torch.autocast`` the attention operators still compute in float32, because a filter
    rounded to bfloat16 no longer sums to one; the matrix products of the LSTM and of the scan
    follow autocast, as the same model in eager PyTorch would.
    """

    name = "reference"

    def unavailable(self) -> str | None:
        """Never: plain PyTorch runs everywhere."""
        return None

    def asked_for(self) -> bool:
        """Never but by its name."""
        return False

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        """Every validated call."""
        return None

    def attention_read(
        self,
        images: tuple[Tensor, ...],
        params: Tensor,
        N: int,
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """See ``functional.attention_read``."""
        result = result_dtype(*images, params, canvas)
        dtype = computing_dtype(result)
        with without_autocast(params.device):
            glimpses = reference.attention_read(
                tuple(image.to(dtype) for image in images),
                params.to(dtype),
                N,
                spec,
                None if canvas is None else canvas.to(dtype),
            )
        return tuple(glimpse.to(result) for glimpse in glimpses)

    def attention_write(
        self,
        patch: Tensor,
        params: Tensor,
        size: tuple[int, int],
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> Tensor:
        """See ``functional.attention_write``."""
        result = result_dtype(patch, params, canvas)
        dtype = computing_dtype(result)
        with without_autocast(params.device):
            written = reference.attention_write(
                patch.to(dtype),
                params.to(dtype),
                size,
                spec,
                None if canvas is None else canvas.to(dtype),
            )
        return written.to(result)

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
        result = result_dtype(x, *state, w_ih, w_hh, b_ih, b_hh)
        dtype = computing_dtype(result)
        h, c = reference.lstm_cell(
            x.to(dtype),
            (state[0].to(dtype), state[1].to(dtype)),
            w_ih.to(dtype),
            w_hh.to(dtype),
            None if b_ih is None else b_ih.to(dtype),
            None if b_hh is None else b_hh.to(dtype),
        )
        return h.to(result), c.to(result)

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
        result = result_dtype(x, eps, *weights, prior_eps)
        dtype = computing_dtype(result)
        out = reference.draw_scan(
            x.to(dtype),
            eps.to(dtype),
            _cast(weights, dtype),
            cfg,
            None if prior_eps is None else prior_eps.to(dtype),
            trace,
            memory,
        )
        prior_canvas = None if out.prior_canvas is None else out.prior_canvas.to(result)
        return DrawOutput(
            out.canvas.to(result),
            out.mu.to(result),
            out.log_sigma.to(result),
            out.kl.to(result),
            prior_canvas,
            out.trace,
        )

    def draw_generate(
        self, eps: Tensor, weights: DrawWeights, cfg: DrawConfig, trace: bool
    ) -> DrawSample:
        """See ``functional.draw_generate``."""
        result = result_dtype(eps, *weights)
        dtype = computing_dtype(result)
        out = reference.draw_generate(eps.to(dtype), _cast(weights, dtype), cfg, trace)
        return DrawSample(out.canvas.to(result), out.trace)


def _cast(weights: DrawWeights, dtype: torch.dtype) -> DrawWeights:
    return DrawWeights(*(None if w is None else w.to(dtype) for w in weights))  # type: ignore[arg-type]
