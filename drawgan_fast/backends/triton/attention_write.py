"""attention_write on Triton kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.triton.launch import attention_launch, target
from drawgan_fast.kernels.attention_write import (
    attention_write_backward_kernel,
    attention_write_kernel,
)
from drawgan_fast.window_map import window_map


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    size: tuple[int, int],
    spec: AttentionSpec,
) -> Tensor:
    """See ``Kernels.attention_write``."""
    B, C, N, _ = patch.shape
    out = patch.new_empty(B, C, *size)
    canvas = None if canvas is None else dense(canvas)
    launch(dense(patch), params.contiguous(), canvas, out, N, spec)
    return out


def launch(
    patch: Tensor,  # [B, C, N, N] or [B, C·N·N], samples at any stride
    params: Tensor,  # [B, 5], rows at any stride
    canvas: Tensor | None,  # [B, C, H, W]
    out: Tensor,  # [B, C, H, W], written; may be the canvas
    N: int,
    spec: AttentionSpec,
) -> None:
    """Write patches onto canvases."""
    B, C, H, W = out.shape
    if B == 0 or C == 0:
        return
    with on(out):
        attention_write_kernel[(B, C)](
            patch,
            params,
            out if canvas is None else canvas,
            out,
            patch.stride(0),
            params.stride(0),
            C,
            MAP=window_map(spec, H, W, N, True),
            H=H,
            W=W,
            N=N,
            HAS_CANVAS=canvas is not None,
            **attention_launch("attention_write", target(out.device), H, W, N),
        )


def attention_write_backward(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    d_out: Tensor,  # [B, C, H, W]
    spec: AttentionSpec,
) -> tuple[Tensor, Tensor]:
    """See ``Kernels.attention_write_backward``."""
    patch, params, d_out = dense(patch), params.contiguous(), dense(d_out)
    d_patch = torch.empty_like(patch)
    d_params = torch.empty_like(params, dtype=torch.float32)
    launch_backward(patch, params, d_out, d_patch, d_params, patch.shape[-1], spec)
    return d_patch, d_params.to(params.dtype)


def launch_backward(
    patch: Tensor,  # [B, C, N, N] or [B, C·N·N], samples at any stride
    params: Tensor,  # [B, 5], rows at any stride
    d_out: Tensor,  # [B, C, H, W]
    d_patch: Tensor,  # as patch, written
    d_params: Tensor,  # as params, written
    N: int,
    spec: AttentionSpec,
) -> None:
    """Gradients of :func:`launch`; that of the canvas is ``d_out`` itself."""
    B, C, H, W = d_out.shape
    if B == 0 or C == 0:
        d_params.zero_()
        return
    with on(d_out):
        attention_write_backward_kernel[(B,)](
            patch,
            params,
            d_out,
            d_patch,
            d_params,
            patch.stride(0),
            params.stride(0),
            d_patch.stride(0),
            d_params.stride(0),
            C,
            MAP=window_map(spec, H, W, N, True),
            H=H,
            W=W,
            N=N,
            **attention_launch("attention_write_backward", target(d_out.device), H, W, N),
        )
