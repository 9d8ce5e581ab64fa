"""Shapes, layouts and extremes that every operator test walks through."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast import AttentionSpec
from drawgan_fast.reference.filterbank import window

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

# Spread of raw window numbers, x, y, sigma, delta, gamma: windows on and off the image.
SPREAD = torch.tensor([0.6, 0.6, 1.0, 0.4, 0.5], dtype=torch.float64)


def windows(B: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[B, 5] raw numbers of ordinary windows, of which some leave the image."""
    return (torch.randn(B, 5, dtype=torch.float64) * SPREAD).to(dtype)


def rounding_of_a_window(
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    N: int,
    spec: AttentionSpec,
    *,
    writing: bool = False,
) -> Tensor:
    """[B] what a rounding of the window does to numbers of about 1 that pass through it.

    A Gaussian moves by up to 1/σ per pixel, and its derivatives by 1/σ², times δ for that of δ.
    """
    win = window(params.double(), size, N, spec, writing=writing)
    place = (win.x.abs() + win.y.abs() + N * win.delta + max(size)) * torch.finfo(params.dtype).eps
    steep = 1 + torch.exp(-win.log_sigma2)
    gamma = torch.exp(win.log_gamma.abs())
    return 100 * N * place.clamp(max=max(size)) * steep * (1 + N * win.delta) * gamma


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, laid out so that no dimension is contiguous."""
    shape = [2 * size + 1 for size in tensor.shape]
    padded = torch.full(shape, float("nan"), dtype=tensor.dtype, device=tensor.device)
    view = padded[tuple(slice(1, None, 2) for _ in tensor.shape)]
    return view.copy_(tensor)


def leaf(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A random tensor that wants a gradient."""
    return (torch.randn(*shape, dtype=dtype) * scale).requires_grad_()
