"""attention_write on the compiled core."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.native.core import core, laid_out


def attention_write(
    patch: Tensor,
    params: Tensor,
    canvas: Tensor | None,
    size: tuple[int, int],
    spec: AttentionSpec,
) -> Tensor:
    """See ``Kernels.attention_write``."""
    B, C, N, _ = patch.shape
    H, W = size
    _kept, (of_patch, of_params, of_canvas) = laid_out((patch, params, canvas))
    out = patch.new_empty(B, C, H, W)
    if B == 0 or C == 0:  # an empty tensor has no address, and to the core that is an absent one
        return out
    core().attention_write(
        params.dtype is torch.float64,
        core.window_map(spec, H, W, N, True),
        B,
        C,
        H,
        W,
        N,
        of_patch,
        of_params,
        of_canvas,
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out


def attention_write_backward(
    patch: Tensor,
    params: Tensor,
    d_out: Tensor,  # [B, C, H, W]
    spec: AttentionSpec,
) -> tuple[Tensor, Tensor]:
    """Gradients of the patch and of the params; that of the canvas is ``d_out`` itself."""
    B, C, H, W = d_out.shape
    N = patch.shape[-1]
    if B == 0 or C == 0:
        return patch.new_zeros(patch.shape), params.new_zeros(params.shape)
    kept, inputs = laid_out((patch, params, d_out))
    d_patch, d_params = (torch.empty_like(t) for t in kept[:2])  # type: ignore[arg-type]
    core().attention_write_backward(
        params.dtype is torch.float64,
        core.window_map(spec, H, W, N, True),
        B,
        C,
        H,
        W,
        N,
        *inputs,
        d_patch.data_ptr(),
        d_params.data_ptr(),
        torch.get_num_threads(),
    )
    return d_patch, d_params
