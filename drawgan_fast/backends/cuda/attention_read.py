"""attention_read on the compiled CUDA core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import dense, on, pointer
from drawgan_fast.backends.cuda.convention import window_map
from drawgan_fast.backends.cuda.core import core, stream, type_code

NOTHING, IMAGE, CANVAS = 0, 1, 2  # what is read beside an image


def attention_read(
    images: Sequence[Tensor],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    N: int,
    spec: AttentionSpec,
) -> tuple[Tensor, ...]:
    """See ``Kernels.attention_read``; two images a launch."""
    B, C, _, _ = images[0].shape
    params = dense(params)
    images = [dense(image) for image in images]
    read = len(images) + (canvas is not None)
    glimpses = [params.new_empty(B, C, N, N) for _ in range(read)]
    if canvas is not None:
        _launch(images[0], dense(canvas), CANVAS, params, glimpses, N, spec)
        return tuple(glimpses)
    for i in range(0, read, 2):
        other = images[i + 1] if i + 1 < read else None
        kind = NOTHING if other is None else IMAGE
        _launch(images[i], other, kind, params, glimpses[i : i + 2], N, spec)
    return tuple(glimpses)


def _launch(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    kind: int,
    params: Tensor,  # [B, 5]
    glimpses: Sequence[Tensor],  # one or two, [B, C, N, N], written
    N: int,
    spec: AttentionSpec,
) -> None:
    B, C, H, W = image.shape
    if B == 0 or C == 0:
        return
    with on(image):
        core().attention_read(
            type_code(image.dtype),
            window_map(spec, H, W, N, False),
            B,
            C,
            H,
            W,
            N,
            image.data_ptr(),
            pointer(other),
            kind,
            params.data_ptr(),
            params.stride(0),
            glimpses[0].data_ptr(),
            glimpses[1].data_ptr() if kind != NOTHING else 0,
            glimpses[0].stride(0),
            stream(image.device),
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
    params = dense(params)
    images = [dense(image) for image in images]
    given = [None if d is None else dense(d) for d in d_glimpses]
    # An image whose glimpse nobody looks at has no gradient; x is seen by both of its glimpses.
    seen = [canvas is not None or d is not None for d in given]
    d_images = [
        torch.empty_like(image) if want and s else None
        for image, want, s in zip(images, wants[2:], seen)
    ]
    if canvas is not None:
        canvas = dense(canvas)
        d_canvas = torch.empty_like(canvas) if wants[1] and given[1] is not None else None
        d_params = _launch_backward(
            images[0], canvas, CANVAS, params, given, d_images[0], d_canvas, N, spec
        )
        return [d_params if wants[0] else None, d_canvas, *d_images]
    total: Tensor | None = None
    for i in range(0, len(images), 2):
        pair = i + 1 < len(images)
        d_params = _launch_backward(
            images[i],
            images[i + 1] if pair else None,
            IMAGE if pair else NOTHING,
            params,
            given[i : i + 2],
            d_images[i],
            d_images[i + 1] if pair else None,
            N,
            spec,
        )
        total = d_params if total is None else total.float() + d_params.float()
    assert total is not None
    return [total.to(params.dtype) if wants[0] else None, None, *d_images]


def _launch_backward(
    image: Tensor,  # [B, C, H, W]
    other: Tensor | None,  # [B, C, H, W]
    kind: int,
    params: Tensor,  # [B, 5]
    d_glimpses: Sequence[Tensor | None],  # one or two, [B, C, N, N]
    d_image: Tensor | None,  # [B, C, H, W], written
    d_other: Tensor | None,  # [B, C, H, W], written
    N: int,
    spec: AttentionSpec,
) -> Tensor:
    """Gradients of :func:`_launch`; returns that of the params."""
    B, C, H, W = image.shape
    strides = [d.stride(0) for d in d_glimpses if d is not None]
    if B == 0 or C == 0 or not strides:
        for gradient in (d_image, d_other):
            if gradient is not None:
                gradient.zero_()
        return torch.zeros_like(params)
    d_params = torch.empty_like(params)
    with on(image):
        core().attention_read_backward(
            type_code(image.dtype),
            window_map(spec, H, W, N, False),
            B,
            C,
            H,
            W,
            N,
            image.data_ptr(),
            pointer(other),
            kind,
            params.data_ptr(),
            params.stride(0),
            pointer(d_glimpses[0]),
            pointer(d_glimpses[1]) if kind != NOTHING else 0,
            strides[0],
            pointer(d_image),
            pointer(d_other),
            d_params.data_ptr(),
            d_params.stride(0),
            False,
            stream(image.device),
        )
    return d_params
