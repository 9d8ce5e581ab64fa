"""From a convention's names to the core's numbers, and from both to strings and back.

The core knows no names: it gets a ``WindowMap`` of numbers for one image size and one N. A
registered operator knows neither :class:`AttentionSpec` nor :class:`DrawConfig`: its schema has
strings, so that an exported graph holds all it needs.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from functools import lru_cache
from typing import Any

import torch

from drawgan_fast.attention_spec import AttentionSpec, describe
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends.native.core import core
from drawgan_fast.draw_config import DrawConfig
from drawgan_fast.reference.filterbank import (
    MAX_CENTRE,
    MAX_LOG_DELTA,
    MAX_LOG_GAMMA,
    MIN_LOG_SIGMA2,
)


@lru_cache(maxsize=1024)
def window_map(spec: AttentionSpec, height: int, width: int, N: int, writing: bool) -> Any:
    """The core's ``WindowMap`` of a read or a write; ``reference.filterbank.window`` in numbers."""
    extent = {"A+1": 1, "A": 0, "A-1": -1}[spec.centre_scale]
    side = {"max": max(height, width), "width": width, "height": height}[spec.delta_rule]
    low, high = spec.log_sigma2_clamp or (-math.inf, math.inf)
    axes = spec.write_axes if writing else spec.read_axes
    divides = writing and spec.gamma_on_write == "divide"
    return core().WindowMap(
        **{name: spec.order.index(name) for name in spec.order},
        extent_x=width + extent,
        extent_y=height + extent,
        origin=-spec.pixel_base,
        to_middle=(N - 1) / 2 - spec.offset(N),
        delta_scale=(side - 1) / max(N - 1, 1),
        sigma_scale=1 if spec.exponent == "log_sigma2" else 2,
        sigma_bias=math.log(2) if spec.exponent == "czm0" else 0,
        log_sigma2_low=max(low, MIN_LOG_SIGMA2),
        log_sigma2_high=max(high, MIN_LOG_SIGMA2),
        max_centre=MAX_CENTRE,
        max_log_delta=MAX_LOG_DELTA,
        max_log_gamma=MAX_LOG_GAMMA,
        eps=spec.eps,
        intensity_sign=-1 if divides else 1,
        gamma_power=spec.gamma_power,
        normalisation=spec.normalisation,
        centre_tanh=spec.centre_tanh,
        gamma_sigmoid=spec.gamma_form == "sigmoid",
        swap_centres=axes != "yx",
        transposed=axes == "transposed",
    )


@lru_cache(maxsize=1024)
def _spec_text(spec: AttentionSpec) -> str:
    return json.dumps(describe(spec))


@lru_cache(maxsize=1024)
def _config_text(cfg: DrawConfig) -> str:
    values = {field.name: getattr(cfg, field.name) for field in fields(cfg)}
    return json.dumps({**values, "spec": describe(cfg.spec)})


# A compiler that traces a call cannot follow json; the text of a frozen value is a constant.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def spec_text(spec: AttentionSpec) -> str:
    """A spec as the string that travels in an operator's schema."""
    return _spec_text(spec)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def config_text(cfg: DrawConfig) -> str:
    """A config as the string that travels in an operator's schema."""
    return _config_text(cfg)


@lru_cache(maxsize=1024)
def spec_from(text: str) -> AttentionSpec:
    """The spec that :func:`spec_text` wrote.

    >>> spec_from(spec_text(AttentionSpec(centre_tanh=True))).centre_tanh
    True
    """
    return resolve_spec(json.loads(text))


@lru_cache(maxsize=1024)
def config_from(text: str) -> DrawConfig:
    """The config that :func:`config_text` wrote.

    >>> cfg = DrawConfig((8, 9), hidden_size=4)
    >>> config_from(config_text(cfg)) == cfg
    True
    """
    return DrawConfig(**json.loads(text))
