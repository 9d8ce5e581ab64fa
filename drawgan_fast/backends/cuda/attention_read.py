"""attention_read on the compiled CUDA core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import on, pointer
from drawgan_fast.backends.cuda.core import core, stream, type_code


def launch(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    second: int,  # what `other` is
    params: Tensor,  # [B, 5]
    glimpse: Tensor,  # [B, C, N, N], written
    other_glimpse: Tensor | None,  # [B, C, N, N], written
    N: int,
    spec: AttentionSpec,
) -> None:
    """Read one image, or two, into glimpses; see ``image_pairs.Launch``."""
    B, C, H, W = image.shape
    if B == 0 or C == 0:
        return
    with on(image):
        core().attention_read(
            type_code(image.dtype),
            core.window_map(spec, H, W, N, False),
            B,
            C,
            H,
            W,
            N,
            image.data_ptr(),
            pointer(other),
            second,
            params.data_ptr(),
            params.stride(0),
            glimpse.data_ptr(),
            pointer(other_glimpse),
            glimpse.stride(0),
            stream(image.device),
        )


def launch_backward(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    second: int,  # what `other` is
    params: Tensor,  # [B, 5]
    d_glimpses: Sequence[Tensor | None],  # two, [B, C, N, N]
    d_image: Tensor | None,  # [B, C, H, W], written
    d_other: Tensor | None,  # [B, C, H, W], written
    d_params: Tensor,  # [B, 5] float32, written
    N: int,
    spec: AttentionSpec,
) -> None:
    """Gradients of :func:`launch`."""
    B, C, H, W = image.shape
    strides = [d.stride(0) for d in d_glimpses if d is not None]
    if B == 0 or C == 0 or not strides:
        for gradient in (d_params, d_image, d_other):
            if gradient is not None:
                gradient.zero_()
        return
    with on(image):
        core().attention_read_backward(
            type_code(image.dtype),
            core.window_map(spec, H, W, N, False),
            B,
            C,
            H,
            W,
            N,
            image.data_ptr(),
            pointer(other),
            second,
            params.data_ptr(),
            params.stride(0),
            pointer(d_glimpses[0]),
            pointer(d_glimpses[1]),
            strides[0],
            pointer(d_image),
            pointer(d_other),
            d_params.data_ptr(),
            stream(image.device),
        )
