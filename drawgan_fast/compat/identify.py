"""Which `AttentionSpec` a read or a write obeys, decided by its numbers in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from drawgan_fast.attention_spec import (
    PRESETS,
    AttentionSpec,
    Axes,
    CentreScale,
    DeltaRule,
    Exponent,
    GammaForm,
    GammaOnWrite,
    GridOffset,
    Normalisation,
    ParameterName,
)

# Two conventions that differ in nothing but eps = 1e-8 or 1e-9 differ by 1e-9 in their numbers.
LIMIT = 2e-11
# Of windows with numbers like e^±12, whose exponents round more.
LIMIT_EXTREME = 1e-8
# Geometry is measured through logarithms and differences of filters, which lose digits.
_MEASURED = 1e-5
_BASES: tuple[Literal[0, 1], ...] = (0, 1)
_EPS = (1e-8, 1e-9, 1e-4, 1e-5, 1e-6, 1e-7, 1e-10, 1e-12)

Evaluate = Callable[[AttentionSpec], Tensor]
"""A convention → what a read or a write of the probe gives under it, [B, numbers]."""


@dataclass(frozen=True)
class Window:
    """A read or a write as a probe sees it.

    Args:
        params: [B, 5] raw numbers that its Linear gave.
        output: [B, numbers] what it made of them.
        ordinary: [B] whether a sample is an ordinary window; the others are extreme ones.
        evaluate: the same through our operator under a convention.
        response: (i, j) → [B, H, W] weight of every pixel in number (i, j) of the glimpse, or of
            number (i, j) of the patch in every pixel.
        size: (H, W).
        N: grid points along a side.
    """

    params: Tensor
    output: Tensor
    ordinary: Tensor
    evaluate: Evaluate
    response: Callable[[int, int], Tensor]
    size: tuple[int, int]
    N: int

    def errors(self, spec: AttentionSpec) -> Tensor:
        """[B] relative differences under a convention, ‖ours − theirs‖ / ‖theirs‖.

        NaN where theirs is not finite: such a sample says nothing. A window that sees nearly
        nothing is measured against the others: its rounding is not its own.
        """
        return self._errors(self.evaluate(spec))

    def _errors(self, value: Tensor) -> Tensor:
        truth = self.output
        scale = truth.norm(dim=1)
        good = scale.isfinite()
        floor = 1e-3 * scale[good].median() if good.any() else scale.new_tensor(0.0)
        off = (value - truth).norm(dim=1) / (scale + floor + 1e-300)
        return torch.where(good, off.nan_to_num(math.inf), math.nan)

    def obeys(self, spec: AttentionSpec) -> bool:
        """Whether all samples that say something agree, which are at least half of all."""
        value = self.evaluate(spec)
        if value.shape != self.output.shape:
            return False
        errors = self._errors(value)
        limits = torch.where(self.ordinary, LIMIT, LIMIT_EXTREME)
        said = ~errors.isnan()
        agree = errors[said] <= limits[said]
        return bool(2 * said.sum() >= len(said) and agree.all())

    def distance(self, spec: AttentionSpec) -> float:
        """Largest relative difference of an ordinary window."""
        value = self.evaluate(spec)
        if value.shape != self.output.shape:
            return math.inf
        errors = self._errors(value)[self.ordinary]
        return errors.nan_to_num(0.0).max().item()


def matching(window: Window, candidates: Iterable[AttentionSpec]) -> list[AttentionSpec]:
    """The conventions under which a window gives the same numbers."""
    return [spec for spec in candidates if window.obeys(spec)]


def nearest_preset(window: Window) -> tuple[str, float]:
    """The preset that comes nearest, and how far off it is."""
    errors = {name: window.distance(spec) for name, spec in PRESETS.items()}
    name = min(errors, key=lambda name: errors[name])
    return name, errors[name]


def identify_preset(window: Window) -> list[AttentionSpec]:
    """Presets that a window obeys, and those that differ from one in an axis or in γ on write.

    Several can fit where they do not differ, as the three stride rules on a square image.
    """
    axes: tuple[Axes, ...] = get_args(Axes)
    known = list(PRESETS.values())
    turned = [replace(spec, read_axes=axis, write_axes=axis) for spec in known for axis in axes]
    multiplied = [replace(spec, gamma_on_write="multiply") for spec in (*known, *turned)]
    return matching(window, dict.fromkeys((*known, *turned, *multiplied)))


def identify_measured(window: Window) -> list[AttentionSpec]:
    """Conventions that a window obeys, among those whose filters stand where its do.

    It is the longer search, for what :func:`identify_preset` does not find.
    """
    if window.N < 2 or min(window.size) < 3:
        return []
    return matching(window, itertools.islice(_measured(window), 4000))[:8]


def _measured(window: Window) -> Iterator[AttentionSpec]:
    """Combinations of fields whose filters stand where the window's do, presets or not."""
    tall, wide, turned = _filters(window)
    geometry = [_geometry(filters) for filters in (tall, wide)]
    numbers = window.params
    centre_tall, centre_wide = (mu.mean(1) for mu, _ in geometry)
    log_sigma2 = geometry[0][1].log()
    stride = geometry[0][0].diff(dim=1).mean(1)
    height, width = window.size
    for (s, exponent, clamp), (d, rule) in itertools.product(
        _sigmas(numbers, log_sigma2), _strides(numbers, stride, window)
    ):
        for scale, tanh, offset, base in itertools.product(
            get_args(CentreScale), (False, True), get_args(GridOffset), _BASES
        ):
            form = AttentionSpec(
                centre_scale=scale, centre_tanh=tanh, grid_offset=offset, pixel_base=base
            )
            to_middle = (window.N - 1) / 2 - form.offset(window.N)
            for axis in get_args(Axes):
                if (axis == "transposed") != turned:
                    continue
                # The centre that runs along the height comes from y, or from x where swapped.
                sides = (height, width) if axis == "yx" else (width, height)
                places = [
                    [
                        k
                        for k in range(5)
                        if k not in (s, d)
                        and _near(
                            _centre(numbers[:, k], side, scale, tanh) - base + to_middle * stride,
                            measured,
                        )
                    ]
                    for side, measured in zip(sides, (centre_tall, centre_wide))
                ]
                for along_height, along_width in itertools.product(*places):
                    if along_height != along_width:
                        y, x = (
                            (along_height, along_width)
                            if axis == "yx"
                            else (along_width, along_height)
                        )
                        geometric = replace(
                            form,
                            order=_order(x=x, y=y, sigma=s, delta=d),
                            exponent=exponent,
                            log_sigma2_clamp=clamp,
                            delta_rule=rule,
                            read_axes=axis,
                            write_axes=axis,
                        )
                        yield from _intensities(geometric)


def _intensities(spec: AttentionSpec) -> Iterator[AttentionSpec]:
    """Every normalisation and every way in which γ takes part."""
    forms: tuple[GammaForm, ...] = get_args(GammaForm)
    writes: tuple[GammaOnWrite, ...] = get_args(GammaOnWrite)
    normalisations: tuple[Normalisation, ...] = get_args(Normalisation)
    powers: tuple[Literal[1, 2], ...] = (1, 2)
    for kind in normalisations:
        for eps in _EPS if kind in ("add", "max", "each") else (0.0,):
            for form, power, on_write in itertools.product(forms, powers, writes):
                yield replace(
                    spec,
                    normalisation=kind,
                    eps=eps,
                    gamma_form=form,
                    gamma_power=power,
                    gamma_on_write=on_write,
                )


def _order(**places: int) -> tuple[ParameterName, ...]:
    names: dict[int, ParameterName] = {place: name for name, place in places.items()}  # type: ignore[misc]
    return tuple(names.get(k, "gamma") for k in range(5))


def _filters(window: Window) -> tuple[Tensor, Tensor, bool]:
    """Filters along the height and the width, each up to a factor, and whether i runs along x."""
    by_i = [window.response(i, 0) for i in range(window.N)]
    by_j = [window.response(0, j) for j in range(window.N)]

    def along(responses: list[Tensor], axis: int) -> Tensor:
        filters = torch.stack([r.sum(dim=axis) for r in responses], dim=1)
        return filters / filters.sum(-1, keepdim=True)

    tall, still = along(by_i, 2), along(by_j, 2)
    # Where the image is transposed, the first index of a glimpse moves along the width.
    turned = bool((tall - tall[:, :1]).norm() < (still - still[:, :1]).norm())
    if turned:
        return still, along(by_i, 1), True
    return tall, along(by_j, 1), False


def _geometry(filters: Tensor) -> tuple[Tensor, Tensor]:
    """Centres μ [B, N] and σ² [B] of Gaussian filters [B, N, P], from three neighbouring pixels.

    log F is a parabola: its second difference is −1/σ², its slope at p is (μ − p)/σ².
    """
    logs = filters.abs().log()
    pixels = filters.shape[-1]
    peak = filters.argmax(-1, keepdim=True).clamp(1, pixels - 2)
    left, mid, right = (logs.gather(-1, peak + k)[..., 0] for k in (-1, 0, 1))
    sigma2 = -1 / (left - 2 * mid + right)
    mu = peak[..., 0] + (right - left) / 2 * sigma2
    # The best conditioned of the N filters: they all have the same σ.
    return mu, sigma2.nanmedian(dim=1).values


def _near(predicted: Tensor, measured: Tensor) -> bool:
    """Whether they agree wherever something could be measured, on half of the samples at least."""
    good = measured.isfinite()
    close = (predicted - measured).abs() <= _MEASURED * (1 + measured.abs())
    return bool(good.sum() >= 2 and 2 * (close & good).sum() > good.sum())


def _centre(g: Tensor, side: int, scale: str, tanh: bool) -> Tensor:
    extent = {"A+1": side + 1, "A": side, "A-1": side - 1}[scale]
    return extent / 2 * ((g.tanh() if tanh else g) + 1)


def _sigmas(
    numbers: Tensor, log_sigma2: Tensor
) -> list[tuple[int, Exponent, tuple[float, float] | None]]:
    """Which number gives σ², in which form, and the limits put on it if any were met."""
    found: list[tuple[int, Exponent, tuple[float, float] | None]] = []
    forms: tuple[Exponent, ...] = get_args(Exponent)
    for k, exponent in itertools.product(range(5), forms):
        given = numbers[:, k]
        if exponent != "log_sigma2":
            given = 2 * given + (math.log(2) if exponent == "czm0" else 0.0)
        if _near(given, log_sigma2):
            off = log_sigma2.isfinite() & ((given - log_sigma2).abs() > 1e-3)
            found.append((k, exponent, _clamp(given[off], log_sigma2[off])))
    return found


def _clamp(given: Tensor, measured: Tensor) -> tuple[float, float] | None:
    if not len(given):
        return None
    # A limit that no sample met stays out of reach.
    low, high = -60.0, 60.0
    for raw, kept in zip(given.tolist(), measured.tolist()):
        if kept > raw:
            low = round(kept, 4)
        else:
            high = round(kept, 4)
    return (low, high) if low < high else None


def _strides(numbers: Tensor, stride: Tensor, window: Window) -> list[tuple[int, DeltaRule]]:
    """Which number gives δ, and the side that scales it."""
    height, width = window.size
    sides: dict[DeltaRule, int] = {"max": max(height, width), "width": width, "height": height}
    return [
        (k, rule)
        for k, (rule, side) in itertools.product(range(5), sides.items())
        if _near((side - 1) / (window.N - 1) * numbers[:, k].exp(), stride)
    ]
