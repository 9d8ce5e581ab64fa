"""attention_read on Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.triton.launch import attention_launch, target
from drawgan_fast.kernels.attention_read import (
    attention_read_backward_kernel,
    attention_read_kernel,
)
from drawgan_fast.window_map import window_map

CANVAS, IMAGE, NOTHING = 2, 1, 0  # what a kernel reads beside its image


def attention_read(
    images: Sequence[Tensor],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    N: int,
    spec: AttentionSpec,
) -> tuple[Tensor, ...]:
    """See ``Kernels.attention_read``; two images a launch."""
    B, C, _, _ = images[0].shape
    params = params.contiguous()
    images = [dense(image) for image in images]
    read = len(images) + (canvas is not None)
    glimpses = [params.new_empty(B, C, N, N) for _ in range(read)]
    if canvas is not None:
        launch(images[0], dense(canvas), CANVAS, params, glimpses[0], glimpses[1], N, spec)
        return tuple(glimpses)
    for i in range(0, read, 2):
        other, kind = (images[i + 1], IMAGE) if i + 1 < read else (images[i], NOTHING)
        launch(images[i], other, kind, params, glimpses[i], glimpses[min(i + 1, read - 1)], N, spec)
    return tuple(glimpses)


def launch(
    image: Tensor,  # [B, C, H, W]
    other: Tensor,  # [B, C, H, W]
    second: int,  # what `other` is
    params: Tensor,  # [B, 5], rows at any stride
    glimpse: Tensor,  # [B, C, N, N] or [B, C·N·N], samples at any stride
    other_glimpse: Tensor,
    N: int,
    spec: AttentionSpec,
) -> None:
    """Read one image, or two, into glimpses."""
    B, C, H, W = image.shape
    if B == 0 or C == 0:
        return
    with on(image):
        attention_read_kernel[(B, C)](
            image,
            other,
            params,
            glimpse,
            other_glimpse,
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


def attention_read_backward(
    images: Sequence[Tensor],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    d_glimpses: Sequence[Tensor | None],  # [B, C, N, N] each
    wants: Sequence[bool],  # of params, canvas and each image
    N: int,
    spec: AttentionSpec,
) -> list[Tensor | None]:
    """See ``Kernels.attention_read_backward``."""
    params = params.contiguous()
    images = [dense(image) for image in images]
    given = [None if d is None else dense(d) for d in d_glimpses]
    # An image whose glimpse nobody looks at has no gradient; x is seen by both of its glimpses.
    seen = [canvas is not None or d is not None for d in given]
    d_images = [
        torch.empty_like(image) if want and s else None
        for image, want, s in zip(images, wants[2:], seen)
    ]
    if canvas is not None:
        d_params = torch.empty_like(params, dtype=torch.float32)
        d_canvas = torch.empty_like(images[0]) if wants[1] and given[1] is not None else None
        launch_backward(
            images[0],
            dense(canvas),
            CANVAS,
            params,
            given,
            d_images[0],
            d_canvas,
            d_params,
            N,
            spec,
        )
        return [d_params.to(params.dtype) if wants[0] else None, d_canvas, *d_images]
    total: Tensor | None = None
    for i in range(0, len(images), 2):
        pair = i + 1 < len(images)
        d_params = torch.empty_like(params, dtype=torch.float32)
        launch_backward(
            images[i],
            images[i + 1] if pair else images[i],
            IMAGE if pair else NOTHING,
            params,
            [given[i], given[i + 1] if pair else None],
            d_images[i],
            d_images[i + 1] if pair else None,
            d_params,
            N,
            spec,
        )
        total = d_params if total is None else total + d_params
    assert total is not None
    return [total.to(params.dtype) if wants[0] else None, None, *d_images]


def launch_backward(
    image: Tensor,  # [B, C, H, W]
    other: Tensor,  # [B, C, H, W]
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
            other,
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
