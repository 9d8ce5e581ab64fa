"""Squared distances between many points, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# 2M pairs: 16 MB in float64, so that a block and its kernel values stay in the last-level cache.
_PAIRS_PER_BLOCK = 1 << 21


def flatten(name: str, x: Tensor, *, at_least: int = 1) -> Tensor:
    """``x`` [n, ...] as floating [n, d] with float64 kept and all else float32, checked.

    >>> flatten("x", torch.zeros(3, 1, 2, 2)).shape
    torch.Size([3, 4])
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor [n, ...], got {type(x).__name__}")
    if x.ndim < 2 or len(x) < at_least or x[0].numel() == 0:
        raise ValueError(
            f"{name} must be [n, ...] with n >= {at_least} and at least one number a row, "
            f"got shape {tuple(x.shape)}"
        )
    flat = x.detach().reshape(len(x), -1)
    return flat if flat.dtype == torch.float64 else flat.float()


def pair(
    x: Tensor,  # [n, ...]
    y: Tensor,  # [m, ...]
    names: tuple[str, str] = ("x", "y"),
    *,
    at_least: int = 1,
) -> tuple[Tensor, Tensor]:
    """Both as [n, d] and [m, d] in one dtype, or ``ValueError`` where d differs."""
    a, b = flatten(names[0], x, at_least=at_least), flatten(names[1], y, at_least=at_least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have rows of one size, "
            f"got {a.shape[1]} and {b.shape[1]} numbers a row"
        )
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def block_rows(columns: int) -> int:
    """How many rows a block has when each row meets ``columns`` points."""
    return max(1, _PAIRS_PER_BLOCK // max(1, columns))


def distance_blocks(
    x: Tensor,  # [n, d]
    y: Tensor,  # [m, d]
    *,
    rows: int | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, |x_i - y_j|² as [rows, m]) until every row of ``x`` has passed.

    The blocks are the caller's to overwrite. Rounding below zero is cut off at zero.
    """
    # |x|² + |y|² - 2xy loses digits when the points lie far from the origin: move it there.
    centre = y.mean(0)
    x, y = x - centre, y - centre
    y_norm = y.square().sum(1)
    rows = block_rows(len(y)) if rows is None else rows
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        squared = torch.addmm(y_norm, part, y.T, alpha=-2.0)
        squared += part.square().sum(1, keepdim=True)
        yield start, squared.clamp_(min=0)
