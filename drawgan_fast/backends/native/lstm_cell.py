"""lstm_cell on the compiled core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import pointer
from drawgan_fast.backends.native.core import core, laid_out


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
    _kept, inputs = laid_out((x, h, c, w_ih, w_hh, b_ih, b_hh))
    h_out, c_out = x.new_empty(B, K), x.new_empty(B, K)
    gates = x.new_empty(B, 4 * K) if keep else None
    core().lstm_cell(
        x.dtype is torch.float64,
        bf16,
        B,
        D,
        K,
        inputs,
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
    kept, inputs = laid_out((*saved, d_h_out, d_c_out))
    x, h = saved[:2]
    (B, D), K = x.shape, h.shape[1]
    gradients = [
        torch.empty_like(t) if want and t is not None else None for t, want in zip(kept[:5], wants)
    ]
    gradients.append(x.new_empty(4 * K) if wants[5] else None)
    core().lstm_cell_backward(
        x.dtype is torch.float64,
        B,
        D,
        K,
        inputs,
        [pointer(gradient) for gradient in gradients],
        torch.get_num_threads(),
    )
    return gradients
