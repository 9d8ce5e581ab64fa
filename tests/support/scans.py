"""Networks, weights and noise for tests of the recurrence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from drawgan_fast import DrawConfig, DrawWeights
from drawgan_fast import functional as F

# No size is a multiple of a vector's length: h = 203, z = 17, images 2×19×31.
ODD = DrawConfig((19, 31), channels=2, hidden_size=203, latent_size=17, read_size=3, write_size=7)
SMALL = DrawConfig((9, 6), channels=1, hidden_size=21, latent_size=5, read_size=2, write_size=3)


def scan_inputs(
    cfg: DrawConfig,
    T: int = 4,
    B: int = 3,
    prior: int | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """x, eps, prior_eps if ``prior`` is given, and every weight, as PyTorch would start them."""
    x = torch.rand(B, cfg.channels, *cfg.image_size, dtype=dtype)
    inputs = [x, torch.randn(T, B, cfg.latent_size, dtype=dtype)]
    if prior is not None:
        inputs.append(torch.randn(T, prior, cfg.latent_size, dtype=dtype))
    scale = cfg.hidden_size**-0.5
    shapes = DrawWeights.shapes(cfg).values()
    return inputs + [(2 * torch.rand(shape, dtype=dtype) - 1) * scale for shape in shapes]


def weights_of(cfg: DrawConfig, tensors: tuple[Tensor, ...]) -> DrawWeights:
    """The tensors under the names of the weights."""
    return DrawWeights(**dict(zip(DrawWeights.shapes(cfg), tensors)))


def scan_of(
    cfg: DrawConfig, *, prior: bool = False, memory: str = "keep"
) -> Callable[..., tuple[Tensor | None, ...]]:
    """``draw_scan`` as a function of :func:`scan_inputs`, giving its differentiable results."""

    def scan(x: Tensor, eps: Tensor, *rest: Tensor) -> tuple[Tensor | None, ...]:
        prior_eps, tensors = (rest[0], rest[1:]) if prior else (None, rest)
        weights = weights_of(cfg, tensors)
        return tuple(F.draw_scan(x, eps, weights, cfg, prior_eps=prior_eps, memory=memory)[:5])

    return scan
