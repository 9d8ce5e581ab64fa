"""attention_read on the compiled core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import pointer
from drawgan_fast.backends.native.core import core, laid_out


def attention_read(
    images: Sequence[Tensor],
    params: Tensor,
    canvas: Tensor | None,
    N: int,
    spec: AttentionSpec,
) -> tuple[Tensor, ...]:
    """See ``Kernels.attention_read``."""
    B, C, H, W = images[0].shape
    _kept, (of_params, of_canvas, *of_images) = laid_out((params, canvas, *images))
    read = len(images) + (canvas is not None)
    glimpses = tuple([params.new_empty(B, C, N, N) for _ in range(read)])
    if B == 0 or C == 0:  # an empty tensor has no address, and to the core that is an absent one
        return glimpses
    core().attention_read(
        params.dtype is torch.float64,
        core.window_map(spec, H, W, N, False),
        B,
        C,
        H,
        W,
        N,
        of_images,
        of_params,
        of_canvas,
        [glimpse.data_ptr() for glimpse in glimpses],
        torch.get_num_threads(),
    )
    return glimpses


def attention_read_backward(
    images: Sequence[Tensor],
    params: Tensor,
    canvas: Tensor | None,
    d_glimpses: Sequence[Tensor | None],  # [B, C, N, N] each
    wants: Sequence[bool],  # of params, canvas and each image
    N: int,
    spec: AttentionSpec,
) -> list[Tensor | None]:
    """Gradients in the order of ``wants``, None for those that are not wanted."""
    B, C, H, W = images[0].shape
    if B == 0 or C == 0:
        given = (params, canvas, *images)
        return [t.new_zeros(t.shape) if w and t is not None else None for t, w in zip(given, wants)]
    n = len(images)
    kept, inputs = laid_out((params, canvas, *images, *d_glimpses))
    params, canvas, *images = kept[: 2 + n]  # type: ignore[assignment]
    d_params = torch.empty_like(params)
    d_canvas = torch.empty_like(canvas) if canvas is not None and wants[1] else None
    d_images = [torch.empty_like(i) if want else None for i, want in zip(images, wants[2:])]
    core().attention_read_backward(
        params.dtype is torch.float64,
        core.window_map(spec, H, W, N, False),
        B,
        C,
        H,
        W,
        N,
        inputs[2 : 2 + n],
        inputs[0],
        inputs[1],
        inputs[2 + n :],
        [pointer(d) for d in d_images],
        d_params.data_ptr(),
        pointer(d_canvas),
        torch.get_num_threads(),
    )
    return [d_params if wants[0] else None, d_canvas, *d_images]
