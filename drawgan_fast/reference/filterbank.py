"""Reference filterbank: five numbers per sample → window → Gaussian filters (DRAW eq. 19–26)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec

# Finite parameters must give finite outputs and gradients, so the exponentials saturate where
# float32 would overflow: beyond these limits a window no longer changes in any visible way
# (σ < 4e-6 pixel, stride > 3e6 image sides, intensity > 1e13), and the product of the largest
# factors that meet in a gradient, γ·δ/σ², still fits. The bounds are derived in docs/filterbank.md.
MAX_CENTRE = 1e6
MIN_LOG_SIGMA2 = -25.0
MAX_LOG_DELTA = 15.0
MAX_LOG_GAMMA = 30.0


class Window(NamedTuple):
    """A canonical attention window per sample, in pixels; every backend's kernels take this.

    The grid is always centred on (x, y) and pixels count from 0: the spec's offset and pixel base
    are already inside, so μᵢ = x + (i − (N−1)/2)·δ. For specs whose axes are swapped, x is the
    centre along the width of the image all the same.
    """

    x: Tensor  # [B] centre of the grid along the width
    y: Tensor  # [B] centre of the grid along the height
    delta: Tensor  # [B] stride between grid points
    log_sigma2: Tensor  # [B] log of the filters' variance
    log_gamma: Tensor  # [B] log of the intensity, γ_power included


def window(
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    N: int,
    spec: AttentionSpec,
    *,
    writing: bool = False,
) -> Window:
    """Map the raw numbers of the attention Linear to a canonical window (DRAW eq. 21–24).

    Args:
        params: [B, 5], float; the order is ``spec.order``.
        size: (H, W) of the image in pixels.
        N: grid points along a side, ≥ 1.
        spec: convention.
        writing: whether ``spec.write_axes`` rather than ``spec.read_axes`` applies.

    Returns:
        Window of [B] tensors.
    """
    height, width = size
    number = dict(zip(spec.order, params.unbind(-1)))

    def centre(g: Tensor, side: int) -> Tensor:
        extent = {"A+1": side + 1, "A": side, "A-1": side - 1}[spec.centre_scale]
        g = g.tanh() if spec.centre_tanh else g.clamp(-MAX_CENTRE, MAX_CENTRE)
        return extent / 2 * (g + 1)

    log_sigma2 = number["sigma"]
    if spec.exponent == "log_sigma":
        log_sigma2 = 2 * log_sigma2
    elif spec.exponent == "czm0":
        log_sigma2 = math.log(2) + 2 * log_sigma2
    if spec.log_sigma2_clamp is not None:
        log_sigma2 = log_sigma2.clamp(*spec.log_sigma2_clamp)
    log_sigma2 = log_sigma2.clamp(min=MIN_LOG_SIGMA2)

    side = {"max": max(height, width), "width": width, "height": height}[spec.delta_rule]
    delta = (side - 1) / max(N - 1, 1) * number["delta"].clamp(max=MAX_LOG_DELTA).exp()

    log_gamma = number["gamma"].clamp(-MAX_LOG_GAMMA, MAX_LOG_GAMMA)
    if spec.gamma_form == "sigmoid":
        log_gamma = torch.nn.functional.logsigmoid(log_gamma)
    log_gamma = (spec.gamma_power * log_gamma).clamp(-MAX_LOG_GAMMA, MAX_LOG_GAMMA)

    to_middle = (N - 1) / 2 - spec.offset(N)
    x = centre(number["x"], width) - spec.pixel_base + to_middle * delta
    y = centre(number["y"], height) - spec.pixel_base + to_middle * delta
    if (spec.write_axes if writing else spec.read_axes) != "yx":
        x, y = y, x
    return Window(x, y, delta, log_sigma2, log_gamma)


def axis_filters(
    centre: Tensor,  # [B]
    delta: Tensor,  # [B]
    log_sigma2: Tensor,  # [B]
    pixels: int,
    N: int,
    spec: AttentionSpec,
) -> Tensor:
    """Normalised Gaussian filters along one axis (DRAW eq. 25–26).

    Args:
        centre, delta, log_sigma2: [B] each, of a :class:`Window`.
        pixels: length P of the axis.
        N: grid points.
        spec: convention; decides the normalisation.

    Returns:
        [B, N, P] filters F.
    """
    grid = torch.arange(N, dtype=centre.dtype, device=centre.device) - (N - 1) / 2
    p = torch.arange(pixels, dtype=centre.dtype, device=centre.device)
    mu = (centre[:, None] + grid * delta[:, None])[..., None]  # [B, N, 1]
    half_precision = 0.5 * torch.exp(-log_sigma2)[:, None, None]  # [B, 1, 1] 1/2σ²

    if spec.normalisation in ("softmax", "total"):
        # The nearest pixel p* has the largest exponent; subtracting it as
        # (p−μ)² − (p*−μ)² = (p−p*)(p+p*−2μ) loses no digits however far off the window is.
        nearest = mu.detach().round().clamp(0, max(pixels - 1, 0))  # [B, N, 1]
        exponent = -(p - nearest) * (p + nearest - 2 * mu) * half_precision
        if spec.normalisation == "softmax":
            return torch.softmax(exponent, dim=-1)
        return _normalise_total(exponent, nearest, mu, grid, delta, half_precision)

    F = torch.exp(-((p - mu) ** 2) * half_precision)
    S = F.sum(-1, keepdim=True)
    if spec.normalisation == "add":
        return F / (S + spec.eps)
    if spec.normalisation == "max":
        return F / S.clamp(min=spec.eps)
    if spec.normalisation == "each":
        return F / (S + pixels * spec.eps)
    return F


def _normalise_total(
    exponent: Tensor,  # [B, N, P] relative to each filter's nearest pixel
    nearest: Tensor,  # [B, N, 1] that pixel
    mu: Tensor,  # [B, N, 1] centres of the filters
    grid: Tensor,  # [N]
    delta: Tensor,  # [B]
    half_precision: Tensor,  # [B, 1, 1]
) -> Tensor:
    """F/ΣF over grid and pixels, relative to the filter that lies nearest to any pixel."""
    B, N, P = exponent.shape
    d = nearest - mu  # [B, N, 1]
    best = d.detach().abs().argmin(dim=1, keepdim=True)  # [B, 1, 1]
    # dᵢ² − d*² as (dᵢ−d*)(dᵢ+d*), with dᵢ−d* from the grid itself: exactly 0 for the best
    # filter, so that a window far off the image has no rounding noise in its gradient.
    apart = (grid - grid[best]).squeeze(1).unsqueeze(-1) * delta[:, None, None]  # [B, N, 1]
    difference = nearest - nearest.gather(1, best) - apart
    exponent = exponent - difference * (d + d.gather(1, best)) * half_precision
    return torch.softmax(exponent.reshape(B, N * P), dim=-1).view(B, N, P)


def filterbank(
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    N: int,
    spec: AttentionSpec,
    *,
    writing: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Materialise F_y [B, N, H], F_x [B, N, W] and γ [B]; see ``functional.filterbank``."""
    height, width = size
    win = window(params, size, N, spec, writing=writing)
    F_y = axis_filters(win.y, win.delta, win.log_sigma2, height, N, spec)
    F_x = axis_filters(win.x, win.delta, win.log_sigma2, width, N, spec)
    return F_y, F_x, win.log_gamma.exp()
