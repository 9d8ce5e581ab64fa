"""lstm_cell on the compiled core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, pointer
from drawgan_fast.backends.native.core import core


def lstm_cell(
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
    (B, D), K = x.shape, h.shape[1]
    x, h, c, w_ih, w_hh = dense(x), dense(h), dense(c), dense(w_ih), dense(w_hh)
    b_ih = None if b_ih is None else dense(b_ih)
    b_hh = None if b_hh is None else dense(b_hh)
    h_out, c_out = x.new_empty(B, K), x.new_empty(B, K)
    gates = x.new_empty(B, 4 * K) if keep else None
    core().lstm_cell(
        x.dtype is torch.float64,
        bf16,
        B,
        D,
        K,
        x.data_ptr(),
        h.data_ptr(),
        c.data_ptr(),
        w_ih.data_ptr(),
        w_hh.data_ptr(),
        pointer(b_ih),
        pointer(b_hh),
        h_out.data_ptr(),
        c_out.data_ptr(),
        pointer(gates),
        torch.get_num_threads(),
    )
    return h_out, c_out, gates


def lstm_cell_backward(
    saved: Sequence[Tensor],  # x, h, c, w_ih, w_hh, gates [B, 4K], c_out [B, K]
    d_h_out: Tensor | None,  # [B, K]
    d_c_out: Tensor | None,  # [B, K]
    wants: Sequence[bool],  # of x, h, c, w_ih, w_hh and the sum of both biases
) -> list[Tensor | None]:
    """Gradients in the order of ``wants``, None for those that are not wanted."""
    x, h, c, w_ih, w_hh, gates, c_out = map(dense, saved)
    (B, D), K = x.shape, h.shape[1]
    d_h_out = None if d_h_out is None else dense(d_h_out)
    d_c_out = None if d_c_out is None else dense(d_c_out)
    gradients = [
        torch.empty_like(t) if want else None for t, want in zip((x, h, c, w_ih, w_hh), wants)
    ]
    gradients.append(x.new_empty(4 * K) if wants[5] else None)
    core().lstm_cell_backward(
        x.dtype is torch.float64,
        B,
        D,
        K,
        x.data_ptr(),
        h.data_ptr(),
        c.data_ptr(),
        w_ih.data_ptr(),
        w_hh.data_ptr(),
        gates.data_ptr(),
        c_out.data_ptr(),
        pointer(d_h_out),
        pointer(d_c_out),
        *[pointer(gradient) for gradient in gradients],
        torch.get_num_threads(),
    )
    return gradients
