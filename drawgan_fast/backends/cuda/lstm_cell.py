"""The pointwise half of lstm_cell on the compiled CUDA core."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.backends.compiled.calls import pointer
from drawgan_fast.backends.cuda.core import core, stream, type_code


def pointwise(
    sums: Tensor,  # [B, 4K]
    c: Tensor,  # [B, K]
    h_out: Tensor,  # [B, K], written
    c_out: Tensor,  # [B, K], written
    gates: Tensor | None,  # [B, 4K] after their activations, written
) -> None:
    """The half of a cell after its products."""
    B, K = c.shape
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
        stream(c.device),
    )


def pointwise_backward(
    gates: Tensor,  # [B, 4K]
    c: Tensor,  # [B, K]
    c_out: Tensor,  # [B, K]
    d_h_out: Tensor | None,  # [B, K]
    d_c_out: Tensor | None,  # [B, K]
    d_sums: Tensor,  # [B, 4K], written
    d_c: Tensor,  # [B, K], written
) -> None:
    """Gradients of :func:`pointwise`."""
    B, K = c.shape
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
        stream(c.device),
    )
