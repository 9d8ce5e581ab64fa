"""lstm_cell on Triton kernels: one launch for small cells, a library product and one otherwise."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from drawgan_fast.backends.compiled import cell_products
from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.triton.launch import pointwise_block, precision, target
from drawgan_fast.kernels.lstm_cell import (
    lstm_cell_kernel,
    lstm_pointwise_backward_kernel,
    lstm_pointwise_kernel,
)

# Up to here one launch beats a library product and a second launch; beyond, it repeats too much.
MAX_FUSED = 128


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
    (B, D), K = x.shape, h.shape[1]
    if bf16 or B == 0 or max(D, K) > MAX_FUSED or (b_ih is None) != (b_hh is None):
        return cell_products.lstm_cell(pointwise, x, h, c, w_ih, w_hh, b_ih, b_hh, bf16, keep)
    h_out, c_out = x.new_empty(B, K), x.new_empty(B, K)
    gates = x.new_empty(B, 4 * K) if keep else None
    with torch.no_grad(), on(x):
        _fused(x, h, c, w_ih, w_hh, b_ih, b_hh, h_out, c_out, gates)
    return h_out, c_out, gates


def _fused(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    h_out: Tensor,
    c_out: Tensor,
    gates: Tensor | None,
) -> None:
    (B, D), K = x.shape, h.shape[1]
    block_b, block_k = 16, 32
    lstm_cell_kernel[(triton.cdiv(B, block_b), triton.cdiv(K, block_k))](
        dense(x),
        dense(h),
        dense(c),
        dense(w_ih),
        dense(w_hh),
        c if b_ih is None else dense(b_ih),
        c if b_hh is None else dense(b_hh),
        h_out,
        c_out,
        c if gates is None else gates,
        B,
        D=D,
        K=K,
        HAS_BIAS=b_ih is not None,
        SAVE=gates is not None,
        BLOCK_B=block_b,
        BLOCK_K=block_k,
        BLOCK_D=32,
        PRECISION=precision(target(x.device)),
        num_warps=4,
        num_stages=2,
    )


def pointwise(
    sums: Tensor,  # [B, 4K]
    c: Tensor,  # [B, K]
    h_out: Tensor,  # [B, K], rows at any stride, written
    c_out: Tensor,  # [B, K], written
    gates: Tensor | None,  # [B, 4K] after their activations, written; may be the sums
) -> None:
    """The half of a cell after its products."""
    B, K = c.shape
    if B == 0:
        return
    block = pointwise_block(K)
    lstm_pointwise_kernel[(B, triton.cdiv(K, block))](
        sums,
        c,
        h_out,
        c_out,
        sums if gates is None else gates,
        h_out.stride(0),
        K=K,
        SAVE=gates is not None,
        BLOCK_K=block,
        num_warps=max(1, min(4, block // 128)),
    )


def pointwise_backward(
    gates: Tensor,  # [B, 4K]
    c: Tensor,  # [B, K]
    c_out: Tensor,  # [B, K]
    d_h_out: Tensor | None,  # [B, K]
    d_c_out: Tensor | None,  # [B, K]
    d_gates: Tensor,  # [B, 4K] of the sums, written
    d_c: Tensor,  # [B, K], written; may be d_c_out
    d_h_more: Tensor | None = None,  # [B' ≤ B, K], rows at any stride: added to d_h_out
) -> None:
    """Gradients of :func:`pointwise`."""
    B, K = c.shape
    if B == 0:
        return
    block = pointwise_block(K)
    lstm_pointwise_backward_kernel[(B, triton.cdiv(K, block))](
        gates,
        c,
        c_out,
        c if d_h_out is None else d_h_out,
        c if d_h_more is None else d_h_more,
        c if d_c_out is None else d_c_out,
        d_gates,
        d_c,
        0 if d_h_more is None else d_h_more.shape[0],
        0 if d_h_more is None else d_h_more.stride(0),
        K=K,
        HAS_H=d_h_out is not None,
        HAS_C=d_c_out is not None,
        BLOCK_K=block,
        num_warps=max(1, min(4, block // 128)),
    )
