"""draw_scan and draw_generate: validate, choose the backend, run it."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from drawgan_fast.backends import select
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory
from drawgan_fast.ops.checks import Shapes

_MEMORY = get_args(Memory)


def draw_scan(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    weights: DrawWeights,
    cfg: DrawConfig,
    prior_eps: Tensor | None,  # [T, B', Z]
    trace: bool,
    memory: Memory,
) -> DrawOutput:
    """See ``functional.draw_scan``."""
    if memory not in _MEMORY:
        raise ValueError(f"memory must be one of {', '.join(_MEMORY)}, got {memory!r}")
    shapes = _shapes(cfg)
    shapes.check("x", x, ("B", "C", "H", "W"))
    shapes.check("eps", eps, ("T", "B", "Z"))
    if prior_eps is not None:
        shapes.check("prior_eps", prior_eps, ("T", "B'", "Z"))
    _check_weights(shapes, weights, cfg)

    args = {
        "x": x,
        "eps": eps,
        "weights": weights,
        "cfg": cfg,
        "prior_eps": prior_eps,
        "trace": trace,
        "memory": memory,
    }
    return select("draw_scan", args).draw_scan(x, eps, weights, cfg, prior_eps, trace, memory)


def draw_generate(
    eps: Tensor,  # [T, B, Z]
    weights: DrawWeights,
    cfg: DrawConfig,
    trace: bool,
) -> DrawSample:
    """See ``functional.draw_generate``."""
    shapes = _shapes(cfg)
    shapes.check("eps", eps, ("T", "B", "Z"))
    _check_weights(shapes, weights, cfg)

    args = {"eps": eps, "weights": weights, "cfg": cfg, "trace": trace}
    return select("draw_generate", args).draw_generate(eps, weights, cfg, trace)


def _shapes(cfg: DrawConfig) -> Shapes:
    if not isinstance(cfg, DrawConfig):
        raise TypeError(f"cfg must be a DrawConfig, got {type(cfg).__name__}")
    H, W = cfg.image_size
    return Shapes(C=cfg.channels, H=H, W=W, Z=cfg.latent_size)


def _check_weights(shapes: Shapes, weights: DrawWeights, cfg: DrawConfig) -> None:
    if not isinstance(weights, DrawWeights):
        raise TypeError(f"weights must be a DrawWeights, got {type(weights).__name__}")
    expected = DrawWeights.shapes(cfg)
    for name, weight in zip(DrawWeights._fields, weights):
        if name in expected:
            shapes.check(f"weights.{name}", weight, expected[name])
        elif weight is not None:
            raise ValueError(
                f"weights.{name} must be None for a network without attention, got a tensor"
            )
