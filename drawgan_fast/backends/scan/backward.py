"""Gradient of draw_scan over a tier's steps: weight gradients as products over all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, on
from drawgan_fast.backends.compiled.kernels import Gradients, Options
from drawgan_fast.backends.precision import without_autocast
from drawgan_fast.backends.scan.arrays import (
    Segment,
    Sizes,
    State,
    new_segment,
    product_dtype,
    saved_segment,
    saved_state,
)
from drawgan_fast.backends.scan.forward import Forward, ForwardSteps, Steps
from drawgan_fast.backends.scan.weights import ScanWeights, pack, unpack
from drawgan_fast.draw_config import DrawConfig


class Backward:
    """One call backward: what its steps write, and the running gradients that every tier has.

    Steps write row t of a segment's gradients, and keep running gradients, those of the state after
    the step at hand, in place. They add to ``d_x``, and write ``d_eps`` and ``d_prior_eps``.
    """

    def __init__(
        self,
        x: Tensor,  # [B, C, H, W]
        eps: Tensor,  # [T, B, Z]
        mu: Tensor,  # [T, B, Z]
        log_sigma: Tensor,  # [T, B, Z]
        weights: ScanWeights,
        s: Sizes,
        length: int,  # of the longest segment
        given: Gradients,
        d_x: Tensor | None,
        d_eps: Tensor | None,
        d_prior_eps: Tensor | None,
    ) -> None:
        self.x, self.eps, self.mu, self.log_sigma = x, eps, mu, log_sigma
        self.weights, self.s, self.given = weights, s, given
        self.d_x, self.d_eps, self.d_prior_eps = d_x, d_eps, d_prior_eps
        K, Z, product = s.cfg.hidden_size, s.cfg.latent_size, weights.dec.new_empty
        self.gates_enc = product(length, s.B, 4 * K)
        self.gates_dec = product(length, s.all, 4 * K)
        self.posterior = product(length, s.B, 2 * Z)
        self.projections = product(length + 1, s.all, s.projection)  # at boundaries, as forward's
        self.c_enc, self.c_dec = eps.new_zeros(s.B, K), eps.new_zeros(s.all, K)
        self.canvas = eps.new_zeros(s.all, *x.shape[1:])
        if given.canvas is not None:
            self.canvas[: s.B] = given.canvas
        if given.prior_canvas is not None:
            self.canvas[s.B :] = given.prior_canvas

    def add_weights(self, d: ScanWeights, segment: Segment, first: int, n: int) -> None:
        """Add a segment's rows to the weight gradients: one product each, in float32's order."""
        s, rows = self.s, segment.rows
        end, start = s.z + s.cfg.latent_size, 0 if first == 0 else 1

        def add(matrix: Tensor, bias: Tensor, outputs: Tensor, inputs: Tensor) -> None:
            outputs = outputs.reshape(-1, outputs.shape[-1])
            inputs = inputs.reshape(-1, inputs.shape[-1])
            matrix += (outputs.mT @ inputs).to(matrix.dtype)
            bias += outputs.sum(0, dtype=bias.dtype)

        add(d.dec, d.dec_b, self.gates_dec[:n], rows[:n, :, s.h_dec : end])
        boundaries = slice(start, n + 1)
        outputs, inputs = self.projections[boundaries], rows[boundaries, :, s.h_dec : s.z]
        add(d.projection, d.projection_b, outputs, inputs)
        if s.B:
            add(d.enc, d.enc_b, self.gates_enc[:n], rows[:n, : s.B, : s.z])
            h_enc = rows[1 : n + 1, : s.B, s.h_enc : s.h_dec]
            add(d.posterior, d.posterior_b, self.posterior[:n], h_enc)


BackwardSteps = Callable[[Backward], Steps]
"""A tier's way back through one call, the last segment first and in it the last step."""


def draw_scan_backward(
    forward_steps_of: ForwardSteps,
    steps_of: BackwardSteps,
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    prior_eps: Tensor | None,  # [T, B', Z]
    weights: Sequence[Tensor],
    saved: Tensor,
    mu: Tensor,  # [T, B, Z] of the forward
    log_sigma: Tensor,  # [T, B, Z] of the forward
    given: Gradients,
    wants: Sequence[bool],  # of x, eps, prior_eps and each weight
    cfg: DrawConfig,
    options: Options,
) -> list[Tensor | None]:
    """See ``Kernels.draw_scan_backward``."""
    T, B, _ = eps.shape
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    s = Sizes(cfg, T, B, B + prior)
    x, eps, mu, log_sigma = dense(x), dense(eps), dense(mu), dense(log_sigma)
    prior_eps = None if prior_eps is None else dense(prior_eps)
    given = Gradients(*(None if d is None else dense(d) for d in given))
    d_x = torch.zeros_like(x) if wants[0] else None
    d_eps = torch.zeros_like(eps) if wants[1] else None
    d_prior_eps = torch.zeros_like(prior_eps) if prior_eps is not None and wants[2] else None
    with torch.no_grad(), without_autocast(x.device), on(x):
        packed = pack(weights, s, product_dtype(options))
        length = s.segment(options)
        backward = Backward(
            x, eps, mu, log_sigma, packed, s, length, given, d_x, d_eps, d_prior_eps
        )
        steps = steps_of(backward)
        d_weights = ScanWeights(*(torch.zeros_like(w, dtype=torch.float32) for w in packed))
        if options.recompute:
            segment = new_segment(s, length, options, x)
            kl = eps.new_zeros(B, dtype=torch.float64)
            forward = Forward(x, eps, prior_eps, packed, s, None, None, kl)
            forward_steps = forward_steps_of(forward)
        else:
            segment = saved_segment(s, options, saved)
        for i, first in reversed(list(enumerate(range(0, T, max(length, 1))))):
            n = min(length, T - first)
            if options.recompute:
                State.at(segment, 0).copy_(saved_state(s, options, saved, i))
                forward.run(forward_steps, segment, first, n)
            steps.run(segment, first, n)
            backward.add_weights(d_weights, segment, first, n)
        found = [d_x, d_eps, d_prior_eps, *unpack(d_weights, s, len(weights))]
    return [gradient if want else None for gradient, want in zip(found, wants)]
