"""attention_write: validate, choose the backend, run it."""

from __future__ import annotations

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends import select
from drawgan_fast.ops.checks import Shapes, check_size


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    spec: str | AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> Tensor:
    """See ``functional.attention_write``."""
    size = check_size("size", size)
    shapes = Shapes(H=size[0], W=size[1])
    shapes.check("patch", patch, ("B", "C", "N", "N"))
    if shapes.bound["N"] < 1:
        raise ValueError(f"patch must have N ≥ 1, got {list(patch.shape)}")
    shapes.check("params", params, ("B", 5))
    if canvas is not None:
        shapes.check("canvas", canvas, ("B", "C", "H", "W"))
    spec = resolve_spec(spec)

    args = {"patch": patch, "params": params, "size": size, "spec": spec, "canvas": canvas}
    return select("attention_write", args).attention_write(patch, params, size, spec, canvas)
