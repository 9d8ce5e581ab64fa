"""draw_scan and draw_generate: validate, choose the backend, run it."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from drawgan_fast.backends import select
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory
from drawgan_fast.ops.checks import Shape, Signature, remembered

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
    _check_types(weights, cfg)
    signature = _scan_signature(cfg, prior_eps is not None)
    plain = _check(signature, (x, eps, prior_eps), weights, cfg)

    args = {
        "x": x,
        "eps": eps,
        "weights": weights,
        "cfg": cfg,
        "prior_eps": prior_eps,
        "trace": trace,
        "memory": memory,
    }
    return select("draw_scan", args, plain).draw_scan(
        x, eps, weights, cfg, prior_eps, trace, memory
    )


def draw_generate(
    eps: Tensor,  # [T, B, Z]
    weights: DrawWeights,
    cfg: DrawConfig,
    trace: bool,
) -> DrawSample:
    """See ``functional.draw_generate``."""
    _check_types(weights, cfg)
    plain = _check(_generate_signature(cfg), (eps,), weights, cfg)

    args = {"eps": eps, "weights": weights, "cfg": cfg, "trace": trace}
    return select("draw_generate", args, plain).draw_generate(eps, weights, cfg, trace)


def _check_types(weights: DrawWeights, cfg: DrawConfig) -> None:
    if not isinstance(cfg, DrawConfig):
        raise TypeError(f"cfg must be a DrawConfig, got {type(cfg).__name__}")
    if not isinstance(weights, DrawWeights):
        raise TypeError(f"weights must be a DrawWeights, got {type(weights).__name__}")


def _check(
    signature: Signature, given: tuple[Tensor | None, ...], weights: DrawWeights, cfg: DrawConfig
) -> str | None:
    plain = signature.check((*given, *weights))
    if plain is None and not cfg.attention:
        expected = DrawWeights.shapes(cfg)
        for name, weight in zip(DrawWeights._fields, weights):
            if name not in expected and weight is not None:
                raise ValueError(
                    f"weights.{name} must be None for a network without attention, got a tensor"
                )
    return plain


def _signature_of(cfg: DrawConfig, given: dict[str, Shape | None]) -> Signature:
    expected = DrawWeights.shapes(cfg)
    weights = {f"weights.{name}": expected.get(name) for name in DrawWeights._fields}
    H, W = cfg.image_size
    return Signature(given | weights, C=cfg.channels, H=H, W=W, Z=cfg.latent_size)


@remembered
def _scan_signature(cfg: DrawConfig, with_prior: bool) -> Signature:
    given: dict[str, Shape | None] = {
        "x": ("B", "C", "H", "W"),
        "eps": ("T", "B", "Z"),
        "prior_eps": ("T", "B'", "Z") if with_prior else None,
    }
    return _signature_of(cfg, given)


@remembered
def _generate_signature(cfg: DrawConfig) -> Signature:
    return _signature_of(cfg, {"eps": ("T", "B", "Z")})
