"""attention_write on the compiled CUDA core."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import dense, on, pointer
from drawgan_fast.backends.cuda.core import core, stream, type_code


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    size: tuple[int, int],
    spec: AttentionSpec,
) -> Tensor:
    """See ``Kernels.attention_write``."""
    B, C, N, _ = patch.shape
    H, W = size
    patch, params = dense(patch), dense(params)
    canvas = None if canvas is None else dense(canvas)
    out = patch.new_empty(B, C, H, W)
    if B == 0 or C == 0:
        return out
    with on(out):
        core().attention_write(
            type_code(patch.dtype),
            core.window_map(spec, H, W, N, True),
            B,
            C,
            H,
            W,
            N,
            patch.data_ptr(),
            patch.stride(0),
            params.data_ptr(),
            params.stride(0),
            pointer(canvas),
            out.data_ptr(),
            stream(out.device),
        )
    return out


def attention_write_backward(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    d_out: Tensor,  # [B, C, H, W]
    spec: AttentionSpec,
) -> tuple[Tensor, Tensor]:
    """See ``Kernels.attention_write_backward``."""
    B, C, H, W = d_out.shape
    N = patch.shape[-1]
    if B == 0 or C == 0:
        return patch.new_zeros(patch.shape), params.new_zeros(params.shape)
    patch, params, d_out = dense(patch), dense(params), dense(d_out)
    d_patch = torch.empty_like(patch)
    d_params = torch.empty_like(params, dtype=torch.float32)
    with on(d_out):
        core().attention_write_backward(
            type_code(patch.dtype),
            core.window_map(spec, H, W, N, True),
            B,
            C,
            H,
            W,
            N,
            patch.data_ptr(),
            patch.stride(0),
            params.data_ptr(),
            params.stride(0),
            d_out.data_ptr(),
            d_patch.data_ptr(),
            d_patch.stride(0),
            d_params.data_ptr(),
            stream(d_out.device),
        )
    return d_patch, d_params.to(params.dtype)
