"""Shapes, layouts and extremes that every operator test walks through."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

# (B, C, H, W, N): N = 1, batch 0, 1 and 7, three channels, non-square, a window wider than the
# image, one pixel.
SHAPES = [
    (2, 1, 8, 8, 2),
    (7, 3, 13, 29, 5),
    (1, 2, 29, 13, 1),
    (0, 1, 8, 8, 3),
    (3, 1, 4, 5, 12),
    (2, 1, 1, 1, 2),
]

# Raw window numbers far beyond anything a network gives.
extreme_numbers = st.lists(
    st.one_of(
        st.floats(-1e4, 1e4, allow_subnormal=False),
        st.sampled_from([0.0, 1e4, -1e4, 44.0, -44.0, 89.0, -89.0, -1.0, 1.0]),
    ),
    min_size=5,
    max_size=5,
)


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, laid out so that no dimension is contiguous."""
    padded = torch.full([2 * size + 1 for size in tensor.shape], float("nan"), dtype=tensor.dtype)
    view = padded[tuple(slice(1, None, 2) for _ in tensor.shape)]
    return view.copy_(tensor)


def leaf(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A random tensor that wants a gradient."""
    return (torch.randn(*shape, dtype=dtype) * scale).requires_grad_()
