"""Steps of draw_scan on the compiled CUDA core: a segment of them in one launch, either way.

Between launches the state is in the segment's row 0, or for gradients in arrays of their own;
within one it stays on the chip.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import pointer
from drawgan_fast.backends.cuda.core import core, stream
from drawgan_fast.backends.cuda.draw_plan import draw_plan
from drawgan_fast.backends.scan.arrays import Segment, Sizes
from drawgan_fast.backends.scan.backward import Backward
from drawgan_fast.backends.scan.forward import Forward
from drawgan_fast.backends.scan.weights import ScanWeights

_COUNTERS = 32  # of a team, for its barriers


class _Launch:
    """What every launch of a call takes: plan, sizes, weights, room for what blocks exchange."""

    def __init__(self, x: Tensor, eps: Tensor, weights: ScanWeights, s: Sizes) -> None:
        bf16 = weights.dec.dtype is torch.bfloat16
        self.x, self.eps, self.s = x, eps, s
        self.plan = draw_plan(s.cfg, bf16, s.B, s.all - s.B, x.device)
        teams = self.plan.teams
        self.board = x.new_empty(teams * self.plan.board_bytes, dtype=torch.uint8)
        self.counters = x.new_empty(teams * _COUNTERS, dtype=torch.int32)
        streamed = self.plan.team * self.plan.streamed_bytes
        self.streamed = x.new_empty(streamed, dtype=torch.uint8)
        H, W = s.cfg.image_size
        self.fixed: dict[str, Any] = {
            "plan": self.plan,
            "bf16": bf16,
            "read": core.window_map(s.cfg.spec, H, W, s.cfg.read_size, False),
            "write": core.window_map(s.cfg.spec, H, W, s.cfg.write_size, True),
            "images": s.B,
            "all": s.all,
            "x": pointer(x),
            "weights": [pointer(weight) for weight in weights],
            "board": pointer(self.board),
            "counters": pointer(self.counters),
            "streamed": pointer(self.streamed),
        }

    def of(self, segment: Segment, first: int, n: int, prior_eps: Tensor | None) -> dict[str, Any]:
        """Arguments of n steps; what blocks exchange starts from zero in every launch."""
        if self.plan.board_bytes:  # a cluster's blocks meet on the chip
            self.board.zero_()
            self.counters.zero_()
        return {
            **self.fixed,
            "steps": n,
            "eps": at_step(self.eps, first),
            "prior_eps": at_step(prior_eps, first),
            "arrays": [pointer(array) for array in segment],
            "stream": stream(self.x.device),
        }


def at_step(tensor: Tensor | None, t: int) -> int:
    """Address of a tensor [T, ...] from step t on."""
    return 0 if tensor is None else pointer(tensor) + t * tensor.stride(0) * tensor.element_size()


class ForwardSteps:
    """Runs steps of one call."""

    def __init__(self, call: Forward) -> None:
        self.call = call
        if call.s.all == 0:
            return
        self.launch = _Launch(call.x, call.eps, call.weights, call.s)
        # Each block sums the KL of its own latents; when forward runs again nobody asks for it.
        asked = call.mu is not None
        self.kl = call.kl.new_zeros(self.launch.plan.team, call.s.B) if asked else None

    def run(self, segment: Segment, first: int, n: int) -> None:
        """See ``scan.forward.Steps``."""
        call = self.call
        if call.s.all == 0:
            return
        core().draw_scan_steps(
            **self.launch.of(segment, first, n, call.prior_eps),
            recorded=segment.rows.shape[0] > 1,
            mu=at_step(call.mu, first),
            log_sigma=at_step(call.log_sigma, first),
            kl=pointer(self.kl),
        )
        if self.kl is not None:
            torch.sum(self.kl, 0, out=call.kl)


class BackwardSteps:
    """Runs steps of one call, the last first."""

    def __init__(self, call: Backward) -> None:
        self.call, s = call, call.s
        if s.all == 0:
            return
        self.launch = _Launch(call.x, call.eps, call.weights, s)
        self.d_h_enc, self.d_h_dec = torch.zeros_like(call.c_enc), torch.zeros_like(call.c_dec)
        self.d_glimpses = call.eps.new_zeros(s.B, s.R)

    def run(self, segment: Segment, first: int, n: int) -> None:
        """See ``scan.forward.Steps``."""
        call, given = self.call, self.call.given
        if call.s.all == 0:
            return
        core().draw_scan_steps_backward(
            **self.launch.of(segment, first, n, None),
            mu=at_step(call.mu, first),
            log_sigma=at_step(call.log_sigma, first),
            given_mu=at_step(given.mu, first),
            given_log_sigma=at_step(given.log_sigma, first),
            given_kl=pointer(given.kl),
            d_gates_enc=pointer(call.gates_enc),
            d_gates_dec=pointer(call.gates_dec),
            d_posterior=pointer(call.posterior),
            d_projections=pointer(call.projections),
            d_h_enc=pointer(self.d_h_enc),
            d_h_dec=pointer(self.d_h_dec),
            d_c_enc=pointer(call.c_enc),
            d_c_dec=pointer(call.c_dec),
            d_glimpses=pointer(self.d_glimpses),
            d_canvas=pointer(call.canvas),
            d_x=pointer(call.d_x),
            d_eps=at_step(call.d_eps, first),
            d_prior_eps=at_step(call.d_prior_eps, first),
            first=first == 0,
            last=first + n == call.s.T,
        )
