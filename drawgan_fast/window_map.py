"""A convention in numbers: how five raw numbers become a window, for one image size and one N.

Kernels know no names of conventions: they take a :class:`WindowMap`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.reference.filterbank import (
    MAX_CENTRE,
    MAX_LOG_DELTA,
    MAX_LOG_GAMMA,
    MIN_LOG_SIGMA2,
)


class WindowMap(NamedTuple):
    """``reference.filterbank.window`` in numbers; hashable, so that a kernel can be kept per map.

    centre = extent / 2 · (g + 1) + origin + to_middle · delta
    delta = delta_scale · exp(number)
    log sigma² = sigma_scale · number + sigma_bias, clamped
    """

    x: int  # positions in the five numbers
    y: int
    sigma: int
    delta: int
    gamma: int
    extent_x: float
    extent_y: float
    origin: float
    to_middle: float  # strides from the grid's nominal centre to its middle
    delta_scale: float
    sigma_scale: float
    sigma_bias: float
    log_sigma2_low: float
    log_sigma2_high: float
    max_centre: float  # where the numbers saturate
    max_log_delta: float
    max_log_gamma: float
    eps: float  # of the normalisation
    intensity_sign: float  # a write divides by gamma: -1
    gamma_power: int
    normalisation: str
    centre_tanh: bool
    gamma_sigmoid: bool
    swap_centres: bool  # the x number places the window along the height
    transposed: bool  # the glimpse or patch is transposed


@lru_cache(maxsize=1024)
def window_map(spec: AttentionSpec, height: int, width: int, N: int, writing: bool) -> WindowMap:
    """The map of a read, or of a write.

    >>> window_map(AttentionSpec(), 28, 20, 5, False).extent_x
    21
    """
    extent = {"A+1": 1, "A": 0, "A-1": -1}[spec.centre_scale]
    side = {"max": max(height, width), "width": width, "height": height}[spec.delta_rule]
    low, high = spec.log_sigma2_clamp or (-math.inf, math.inf)
    axes = spec.write_axes if writing else spec.read_axes
    divides = writing and spec.gamma_on_write == "divide"
    return WindowMap(
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
