"""attention_read on Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import on
from drawgan_fast.backends.triton.launch import attention_launch, target
from drawgan_fast.kernels.attention_read import (
    attention_read_backward_kernel,
    attention_read_kernel,
)
from drawgan_fast.window_map import window_map


def launch(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    second: int,  # what `other` is
    params: Tensor,  # [B, 5], rows at any stride
    glimpse: Tensor,  # [B, C, N, N] or [B, C·N·N], samples at any stride
    other_glimpse: Tensor | None,
    N: int,
    spec: AttentionSpec,
) -> None:
    """Read one image, or two, into glimpses; see ``image_pairs.Launch``."""
    B, C, H, W = image.shape
    if B == 0 or C == 0:
        return
    with on(image):
        attention_read_kernel[(B, C)](
            image,
            image if other is None else other,
            params,
            glimpse,
            glimpse if other_glimpse is None else other_glimpse,
            params.stride(0),
            glimpse.stride(0),
            C,
            MAP=window_map(spec, H, W, N, False),
            H=H,
            W=W,
            N=N,
            SECOND=second,
            **attention_launch("attention_read", target(image.device), H, W, N),
        )


def launch_backward(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    second: int,  # what `other` is
    params: Tensor,  # [B, 5], rows at any stride
    d_glimpses: Sequence[Tensor | None],  # two, [B, C, N, N] or [B, C·N·N]
    d_image: Tensor | None,  # [B, C, H, W], written
    d_other: Tensor | None,  # [B, C, H, W], written
    d_params: Tensor,  # [B, 5], written
    N: int,
    spec: AttentionSpec,
    *,
    adds: bool = False,  # to d_image and d_other, instead of writing them
) -> None:
    """Gradients of :func:`launch`."""
    B, C, H, W = image.shape
    first, other_first = d_glimpses
    some = first if first is not None else other_first
    if B == 0 or C == 0 or some is None:
        written = (d_params,) if adds else (d_params, d_image, d_other)
        for gradient in written:
            if gradient is not None:
                gradient.zero_()
        return
    with on(image):
        attention_read_backward_kernel[(B,)](
            image,
            image if other is None else other,
            params,
            some if first is None else first,
            some if other_first is None else other_first,
            image if d_image is None else d_image,
            image if d_other is None else d_other,
            d_params,
            params.stride(0),
            d_params.stride(0),
            some.stride(0),
            C,
            MAP=window_map(spec, H, W, N, False),
            H=H,
            W=W,
            N=N,
            SECOND=second,
            HAS_FIRST=first is not None,
            HAS_SECOND=other_first is not None,
            WANTS_IMAGE=d_image is not None,
            WANTS_OTHER=d_other is not None,
            ADDS=adds,
            **attention_launch("attention_read_backward", target(image.device), H, W, N),
        )
