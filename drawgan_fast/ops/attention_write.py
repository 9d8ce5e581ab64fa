"""attention_write: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Signature, remembered
from drawgan_fast.sizes import height_and_width


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    spec: str | AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> Tensor:
    """See ``functional.attention_write``."""
    size = height_and_width("size", size)
    plain = _signature(*size, canvas is not None).check((patch, params, canvas))
    if plain is None and patch.shape[-1] < 1:
        raise ValueError(f"patch must have N ≥ 1, got {list(patch.shape)}")
    spec = resolve_spec(spec)

    args = {"patch": patch, "params": params, "size": size, "spec": spec, "canvas": canvas}
    return select("attention_write", args, plain).attention_write(patch, params, size, spec, canvas)


@remembered
def _signature(H: int, W: int, with_canvas: bool) -> Signature:
    canvas = ("B", "C", "H", "W") if with_canvas else None
    shapes = {"patch": ("B", "C", "N", "N"), "params": ("B", 5), "canvas": canvas}
    return Signature(shapes, H=H, W=W)
