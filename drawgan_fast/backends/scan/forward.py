"""draw_scan over a tier's steps: segments, states that are kept, traces, the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.compiled.kernels import Options, Scan, allocate
from drawgan_fast.backends.precision import without_autocast
from drawgan_fast.backends.scan.arrays import (
    Segment,
    Sizes,
    State,
    new_segment,
    product_dtype,
    saved_bytes,
    saved_segment,
    saved_state,
)
from drawgan_fast.backends.scan.weights import ScanWeights, pack
from drawgan_fast.draw_config import DrawConfig


class Steps(Protocol):
    """What a tier runs of one call, forward or backward."""

    def run(self, segment: Segment, first: int, n: int) -> None:
        """Steps [first, first + n) of the call, which are steps [0, n) of the segment."""


class Forward(NamedTuple):
    """One call forward; its tensors are contiguous."""

    x: Tensor  # [B, C, H, W]
    eps: Tensor  # [T, B, Z]
    prior_eps: Tensor | None  # [T, B', Z]
    weights: ScanWeights
    s: Sizes
    mu: Tensor | None  # [T, B, Z], written; None when forward runs again in backward
    log_sigma: Tensor | None  # [T, B, Z], written; None when forward runs again in backward
    kl: Tensor  # [B] float64, added to

    def start(self, segment: Segment) -> None:
        """Zero states, an empty canvas; the first read window is its bias."""
        for array in State.at(segment, 0):
            array.zero_()
        if self.s.cfg.attention:
            segment.projections[0, :, -5:] = self.weights.projection_b[-5:]

    def run(self, steps: Steps, segment: Segment, first: int, n: int) -> None:
        """Steps [first, first + n) into a segment whose row 0 holds the state."""
        s, rows = self.s, segment.rows
        if rows.shape[0] == 1:  # nothing is to be written but the last state's canvas
            steps.run(segment, first, n)
            return
        rows[:n, : s.B, s.R : s.h_enc] = 0
        if self.prior_eps is not None:
            end = s.z + s.cfg.latent_size
            rows[:n, s.B :, s.z : end] = self.prior_eps[first : first + n]
        if s.B and not s.cfg.attention:
            rows[:n, : s.B, : s.R // 2] = self.x.flatten(1)
        steps.run(segment, first, n)


ForwardSteps = Callable[[Forward], Steps]
"""A tier's way forward through one call.

Row t of a segment's arrays comes with the state before step t, the latents of prior samples and
zeros for padding, and without attention the image; the steps write the rest, and row t + 1's state.
Of a tier that needs no segment, a call that keeps nothing gets one of no steps: row 0, whose canvas
becomes that after the last step.
"""


def draw_scan(
    steps_of: ForwardSteps,
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    prior_eps: Tensor | None,  # [T, B', Z]
    weights: Sequence[Tensor],  # sixteen, or twelve without attention
    cfg: DrawConfig,
    options: Options,
    *,
    needs_segments: bool = True,
) -> Scan:
    """See ``Kernels.draw_scan``.

    Args:
        needs_segments: False for a tier that can run steps and keep no row of any.
    """
    T, B, _ = eps.shape
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    s = Sizes(cfg, T, B, B + prior)
    x, eps = dense(x), dense(eps)
    prior_eps = None if prior_eps is None else dense(prior_eps)
    out = allocate(x, T, None if prior_eps is None else prior, cfg, options)
    saved = x.new_empty(saved_bytes(cfg, T, B, prior, x.dtype, options), dtype=torch.uint8)
    with torch.no_grad(), without_autocast(x.device), on(x):
        keeps_all = options.save and not options.recompute
        runs_on = not (needs_segments or options.save or options.trace)
        if keeps_all:
            segment = saved_segment(s, options, saved)
        else:
            segment = new_segment(s, 0 if runs_on else s.segment(options), options, x)
        packed = pack(weights, s, product_dtype(options))
        kl = eps.new_zeros(B, dtype=torch.float64)
        forward = Forward(x, eps, prior_eps, packed, s, out.mu, out.log_sigma, kl)
        steps = steps_of(forward)
        forward.start(segment)
        length, n = T if runs_on else s.segment(options), 0
        for i, first in enumerate(range(0, T, max(length, 1))):
            if first:
                State.at(segment, 0).copy_(State.at(segment, length))
            if options.save and options.recompute:
                saved_state(s, options, saved, i).copy_(State.at(segment, 0))
            n = min(length, T - first)
            forward.run(steps, segment, first, n)
            if options.trace:
                _trace(out, segment, s, first, n)
        last = segment.canvases[0 if runs_on else n]
        out.canvas.copy_(last[:B])
        if out.prior_canvas is not None:
            out.prior_canvas.copy_(last[B:])
        out.kl.copy_(kl)
    return out._replace(saved=saved) if options.save else out


def _trace(out: Scan, segment: Segment, s: Sizes, first: int, n: int) -> None:
    canvases, window = segment.canvases[1 : n + 1], slice(s.patch, s.patch + 5)
    windows = segment.projections[1 : n + 1, :, window]
    for to, of_segment in (
        (out.canvases, canvases[:, : s.B]),
        (out.prior_canvases, canvases[:, s.B :]),
        (out.read_params, segment.projections[:n, : s.B, -5:]),
        (out.write_params, windows[:, : s.B]),
        (out.prior_write_params, windows[:, s.B :]),
    ):
        if to is not None:
            to[first : first + n] = of_segment
