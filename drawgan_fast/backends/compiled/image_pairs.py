"""attention_read on a GPU: kernels that read an image and what stands beside it, two a launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import dense

NOTHING, IMAGE, CANVAS = 0, 1, 2  # what is read beside an image; a canvas: the error image


class Launch(Protocol):
    """One launch of a tier's kernel."""

    def __call__(
        self,
        image: Tensor,  # [B, C, H, W]
        other: Tensor | None,  # [B, C, H, W]
        second: int,  # what `other` is
        params: Tensor,  # [B, 5]
        glimpse: Tensor,  # [B, C, N, N], written
        other_glimpse: Tensor | None,  # [B, C, N, N], written
        N: int,
        spec: AttentionSpec,
    ) -> None:
        """Read both through one window."""


class LaunchBackward(Protocol):
    """One launch of the gradient's kernel."""

    def __call__(
        self,
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
        """Gradients; of the image from both glimpses where the other is a canvas."""


def attention_read(
    launch: Launch,
    images: Sequence[Tensor],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    canvas: Tensor | None,  # [B, C, H, W]
    N: int,
    spec: AttentionSpec,
) -> tuple[Tensor, ...]:
    """See ``Kernels.attention_read``."""
    B, C, _, _ = images[0].shape
    params = dense(params)
    images = [dense(image) for image in images]
    read = len(images) + (canvas is not None)
    glimpses = [params.new_empty(B, C, N, N) for _ in range(read)]
    if canvas is not None:
        launch(images[0], dense(canvas), CANVAS, params, glimpses[0], glimpses[1], N, spec)
        return tuple(glimpses)
    for i in range(0, read, 2):
        pair = i + 1 < read
        other, other_glimpse = (images[i + 1], glimpses[i + 1]) if pair else (None, None)
        second = IMAGE if pair else NOTHING
        launch(images[i], other, second, params, glimpses[i], other_glimpse, N, spec)
    return tuple(glimpses)


def attention_read_backward(
    launch: LaunchBackward,
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
    d_canvas: Tensor | None = None
    total: Tensor | None = None
    if canvas is not None:
        total = torch.empty_like(params, dtype=torch.float32)
        d_canvas = torch.empty_like(images[0]) if wants[1] and given[1] is not None else None
        beside = (dense(canvas), CANVAS)
        launch(images[0], *beside, params, given, d_images[0], d_canvas, total, N, spec)
    else:
        for i in range(0, len(images), 2):
            pair = i + 1 < len(images)
            other, d_other = (images[i + 1], d_images[i + 1]) if pair else (None, None)
            second = IMAGE if pair else NOTHING
            d_pair = (given[i], given[i + 1] if pair else None)
            d_params = torch.empty_like(params, dtype=torch.float32)
            launch(
                images[i], other, second, params, d_pair, d_images[i], d_other, d_params, N, spec
            )
            total = d_params if total is None else total + d_params
    assert total is not None
    return [total.to(params.dtype) if wants[0] else None, d_canvas, *d_images]
