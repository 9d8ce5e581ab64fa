"""attention_read: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Shapes, check_count


def attention_read(
    images: Tensor | tuple[Tensor, ...],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    N: int,
    spec: str | AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> Tensor | tuple[Tensor, ...]:
    """See ``functional.attention_read``."""
    alone = isinstance(images, Tensor)
    several = (images,) if isinstance(images, Tensor) else images
    if not isinstance(several, tuple) or not several:
        raise TypeError(
            f"images must be a tensor or a tuple of at least one, got {type(images).__name__}"
        )
    if canvas is not None and not alone:
        raise ValueError(
            "images must be one tensor when canvas is given (the error image is made of both), "
            f"got a tuple of {len(several)}"
        )
    shapes = Shapes()
    for index, image in enumerate(several):
        shapes.check("images" if alone else f"images[{index}]", image, ("B", "C", "H", "W"))
    _check_pixels(shapes)
    shapes.check("params", params, ("B", 5))
    if canvas is not None:
        shapes.check("canvas", canvas, ("B", "C", "H", "W"))
    check_count("N", N)
    spec = resolve_spec(spec)

    args = {"images": several, "params": params, "N": N, "spec": spec, "canvas": canvas}
    backend = select("attention_read", args)
    glimpses = backend.attention_read(several, params, N, spec, canvas)
    return glimpses[0] if alone and canvas is None else glimpses


def _check_pixels(shapes: Shapes) -> None:
    if shapes.bound["H"] < 1 or shapes.bound["W"] < 1:
        raise ValueError(
            f"images must have at least one pixel, got H = {shapes.bound['H']}, "
            f"W = {shapes.bound['W']}"
        )
