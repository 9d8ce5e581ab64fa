"""An LSTM cell on a GPU: the library's products around a tier's pointwise kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.precision import without_autocast

Pointwise = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], None]
"""Sums [B, 4K] and c [B, K] to h and c after the cell, and to the gates [B, 4K] if given."""
PointwiseBackward = Callable[
    [Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor, Tensor], None
]
"""Gates, c before and after, gradients of h and c after, to those of the sums and of c before."""


def lstm_cell(
    pointwise: Pointwise,
    x: Tensor,  # [B, D]
    h: Tensor,  # [B, K]
    c: Tensor,  # [B, K]
    w_ih: Tensor,  # [4K, D]
    w_hh: Tensor,  # [4K, K]
    b_ih: Tensor | None,  # [4K]
    b_hh: Tensor | None,  # [4K]
    bf16: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See ``Kernels.lstm_cell``."""
    B, K = h.shape
    h_out, c_out = x.new_empty(B, K), x.new_empty(B, K)
    gates = x.new_empty(B, 4 * K) if keep else None
    if B:
        with torch.no_grad(), without_autocast(x.device), on(x):
            sums = _product(x, w_ih, b_ih, bf16)
            sums += _product(h, w_hh, b_hh, bf16)
            pointwise(sums, dense(c), h_out, c_out, gates)
    return h_out, c_out, gates


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, bf16: bool) -> Tensor:
    if not bf16:
        return torch.nn.functional.linear(x, weight, bias)
    half = torch.bfloat16
    return torch.nn.functional.linear(
        x.to(half), weight.to(half), None if bias is None else bias.to(half)
    )


def lstm_cell_backward(
    pointwise_backward: PointwiseBackward,
    saved: Sequence[Tensor],  # x, h, c, w_ih, w_hh, gates [B, 4K], c_out [B, K]
    d_h_out: Tensor | None,  # [B, K]
    d_c_out: Tensor | None,  # [B, K]
    wants: Sequence[bool],  # of x, h, c, w_ih, w_hh and the sum of both biases
) -> list[Tensor | None]:
    """See ``Kernels.lstm_cell_backward``."""
    x, h, c, w_ih, w_hh, gates, c_out = map(dense, saved)
    d_sums, d_c = torch.empty_like(gates), torch.empty_like(c)
    d_h_out = None if d_h_out is None else dense(d_h_out)
    d_c_out = None if d_c_out is None else dense(d_c_out)
    with torch.no_grad(), without_autocast(x.device), on(x):
        if c.shape[0]:
            pointwise_backward(gates, c, c_out, d_h_out, d_c_out, d_sums, d_c)
        return [
            d_sums @ w_ih if wants[0] else None,
            d_sums @ w_hh if wants[1] else None,
            d_c if wants[2] else None,
            d_sums.mT @ x if wants[3] else None,
            d_sums.mT @ h if wants[4] else None,
            d_sums.sum(0) if wants[5] else None,
        ]
