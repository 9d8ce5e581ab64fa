"""lstm_cell on the compiled CUDA core: a library product, and the core's pointwise half."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, on, pointer
from drawgan_fast.backends.cuda.core import core, stream, type_code
from drawgan_fast.backends.precision import without_autocast


def lstm_cell(
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
    c = dense(c)
    h_out, c_out = x.new_empty(B, K), x.new_empty(B, K)
    gates = x.new_empty(B, 4 * K) if keep else None
    if B == 0:
        return h_out, c_out, gates
    with torch.no_grad(), without_autocast(x.device), on(x):
        sums = _product(x, w_ih, b_ih, bf16)
        sums += _product(h, w_hh, b_hh, bf16)
        core().lstm_pointwise(
            type_code(sums.dtype),
            type_code(c.dtype),
            B,
            K,
            sums.data_ptr(),
            c.data_ptr(),
            h_out.data_ptr(),
            c_out.data_ptr(),
            pointer(gates),
            stream(x.device),
        )
    return h_out, c_out, gates


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, bf16: bool) -> Tensor:
    if not bf16:
        return torch.nn.functional.linear(x, weight, bias)
    half = torch.bfloat16
    return torch.nn.functional.linear(
        x.to(half), weight.to(half), None if bias is None else bias.to(half)
    )


def lstm_cell_backward(
    saved: Sequence[Tensor],  # x, h, c, w_ih, w_hh, gates [B, 4K], c_out [B, K]
    d_h_out: Tensor | None,  # [B, K]
    d_c_out: Tensor | None,  # [B, K]
    wants: Sequence[bool],  # of x, h, c, w_ih, w_hh and the sum of both biases
) -> list[Tensor | None]:
    """See ``Kernels.lstm_cell_backward``."""
    x, h, c, w_ih, w_hh, gates, c_out = map(dense, saved)
    B, K = c.shape
    d_sums, d_c = torch.empty_like(gates), torch.empty_like(c)
    d_h_out = None if d_h_out is None else dense(d_h_out)
    d_c_out = None if d_c_out is None else dense(d_c_out)
    with torch.no_grad(), without_autocast(x.device), on(x):
        if B:
            core().lstm_pointwise_backward(
                type_code(d_sums.dtype),
                type_code(c.dtype),
                B,
                K,
                gates.data_ptr(),
                c.data_ptr(),
                c_out.data_ptr(),
                pointer(d_h_out),
                pointer(d_c_out),
                d_sums.data_ptr(),
                d_c.data_ptr(),
                stream(x.device),
            )
        return [
            d_sums @ w_ih if wants[0] else None,
            d_sums @ w_hh if wants[1] else None,
            d_c if wants[2] else None,
            d_sums.mT @ x if wants[3] else None,
            d_sums.mT @ h if wants[4] else None,
            d_sums.sum(0) if wants[5] else None,
        ]
