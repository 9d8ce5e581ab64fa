"""attention_read: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Signature, remembered
from drawgan_fast.sizes import whole


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
    signature = _signature(None if alone else len(several), canvas is not None)
    plain = signature.check((*several, params, canvas))
    if plain is None:
        _check_pixels(several[0])
    N = whole("N", N)
    spec = resolve_spec(spec)

    args = {"images": several, "params": params, "N": N, "spec": spec, "canvas": canvas}
    backend = select("attention_read", args, plain)
    glimpses = backend.attention_read(several, params, N, spec, canvas)
    return glimpses[0] if alone and canvas is None else glimpses


@remembered
def _signature(count: int | None, with_canvas: bool) -> Signature:
    names = ["images"] if count is None else [f"images[{index}]" for index in range(count)]
    image = ("B", "C", "H", "W")
    return Signature(
        {
            **dict.fromkeys(names, image),
            "params": ("B", 5),
            "canvas": image if with_canvas else None,
        }
    )


def _check_pixels(image: Tensor) -> None:
    H, W = image.shape[2:]
    if H < 1 or W < 1:
        raise ValueError(f"images must have at least one pixel, got H = {H}, W = {W}")
