"""Gradient of draw_scan on a GPU: the reverse loop by hand, weight gradients as single products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense
from drawgan_fast.backends.compiled.kernels import Gradients, Options
from drawgan_fast.backends.precision import without_autocast
from drawgan_fast.backends.triton import attention_read as read
from drawgan_fast.backends.triton import attention_write as write
from drawgan_fast.backends.triton.draw_scan import Forward, blocks
from drawgan_fast.backends.triton.launch import on
from drawgan_fast.backends.triton.lstm_cell import pointwise_backward
from drawgan_fast.backends.triton.scan_arrays import (
    Segment,
    Sizes,
    State,
    new_segment,
    product_dtype,
    saved_segment,
    saved_state,
)
from drawgan_fast.backends.triton.scan_weights import ScanWeights, pack, unpack
from drawgan_fast.draw_config import DrawConfig
from drawgan_fast.kernels.latent_sample import latent_sample_backward_kernel


class Backward:
    """Runs steps of one call, the last first; running gradients are those of the step at hand."""

    def __init__(
        self,
        x: Tensor,
        eps: Tensor,
        mu: Tensor,
        log_sigma: Tensor,
        weights: ScanWeights,
        s: Sizes,
        length: int,  # of the longest segment
        given: Gradients,
        d_x: Tensor | None,  # zeros, added to
        d_eps: Tensor | None,  # written
        d_prior_eps: Tensor | None,  # written
    ) -> None:
        self.x, self.eps, self.mu, self.log_sigma = x, eps, mu, log_sigma
        self.weights, self.s, self.given = weights, s, given
        self.d_x, self.d_eps, self.d_prior_eps = d_x, d_eps, d_prior_eps
        K, Z, product = s.cfg.hidden_size, s.cfg.latent_size, weights.dec.new_empty
        self.gates_enc = product(length, s.B, 4 * K)
        self.gates_dec = product(length, s.all, 4 * K)
        self.posterior = product(length, s.B, 2 * Z)
        self.projections = product(length + 1, s.all, s.projection)
        self.row = weights.dec.new_zeros(s.B, s.z)  # of [r, h_enc, h_dec] of the step after
        self.h_dec_z = weights.dec.new_zeros(s.all, K + Z)
        self.h_dec, self.h_enc = product(s.all, K), product(s.B, K)
        self.c_enc, self.c_dec = eps.new_zeros(s.B, K), eps.new_zeros(s.all, K)
        self.canvas = eps.new_zeros(s.all, *x.shape[1:])
        if given.canvas is not None:
            self.canvas[: s.B] = given.canvas
        if given.prior_canvas is not None:
            self.canvas[s.B :] = given.prior_canvas

    def run(self, segment: Segment, first: int, n: int) -> None:
        """Steps [first, first + n), the last first; its boundaries are n, …, 1, and 0 if first."""
        for t in reversed(range(n)):
            self._boundary(segment, t + 1, first + t + 1 < self.s.T)
            self._decode(segment, t)
            if self.d_prior_eps is not None:  # a prior sample's noise is its latent
                self.d_prior_eps[first + t] = self.h_dec_z[self.s.B :, self.s.cfg.hidden_size :]
            if self.s.B:
                self._encode(segment, t, first + t)
        if first == 0:
            self.projections[0] = 0
            self._read(segment, 0)

    def _boundary(self, segment: Segment, k: int, reads: bool) -> None:
        """The read after the write of step k − 1, then that write."""
        s, d = self.s, self.projections[k]
        if s.cfg.attention:
            d[:, -5:] = 0
        if reads:
            self._read(segment, k)
        projection = segment.projections[k]
        if not s.cfg.attention:
            d.copy_(self.canvas.flatten(1))
            return
        window = slice(s.patch, s.patch + 5)
        write.launch_backward(
            projection[:, : s.patch],
            projection[:, window],
            self.canvas,
            d[:, : s.patch],
            d[:, window],
            s.cfg.write_size,
            s.cfg.spec,
        )

    def _read(self, segment: Segment, k: int) -> None:
        """From the gradient of the glimpses read at boundary k to canvas, images and window."""
        s, B, half = self.s, self.s.B, self.s.R // 2
        if not B:
            return
        canvas, d_canvas = segment.canvases[k, :B], self.canvas[:B]
        d_first, d_second = self.row[:, :half], self.row[:, half : s.R]
        if not s.cfg.attention:
            d_error, y = d_second.view_as(canvas), torch.sigmoid(canvas)
            d_canvas += d_error * (y * y - y)
            if self.d_x is not None:
                self.d_x += d_error + d_first.view_as(canvas)
            return
        read.launch_backward(
            self.x,
            canvas,
            read.CANVAS,
            segment.projections[k, :B, -5:],
            (d_first, d_second),
            self.d_x,
            d_canvas,
            self.projections[k, :B, -5:],
            s.cfg.read_size,
            s.cfg.spec,
            adds=True,
        )

    def _decode(self, segment: Segment, t: int) -> None:
        s, w, K = self.s, self.weights, self.s.cfg.hidden_size
        torch.addmm(self.h_dec_z[:, :K], self.projections[t + 1], w.projection, out=self.h_dec)
        d_gates = self.gates_dec[t]
        pointwise_backward(
            segment.gates_dec[t],
            segment.c_dec[t],
            segment.c_dec[t + 1],
            self.h_dec,
            self.c_dec,
            d_gates,
            self.c_dec,
            self.row[:, s.h_dec :],
        )
        torch.mm(d_gates, w.dec, out=self.h_dec_z)

    def _encode(self, segment: Segment, t: int, step: int) -> None:
        s, w, given = self.s, self.weights, self.given
        Z, K, B = s.cfg.latent_size, s.cfg.hidden_size, s.B
        d_z, (block, count) = self.h_dec_z[:B, K:], blocks(Z)

        def of_step(gradient: Tensor | None) -> Tensor:
            return self.eps[step] if gradient is None else gradient[step]

        latent_sample_backward_kernel[(B, count)](
            self.mu[step],
            self.log_sigma[step],
            self.eps[step],
            d_z,
            of_step(given.mu),
            of_step(given.log_sigma),
            self.eps[step] if given.kl is None else given.kl,
            self.posterior[t],
            of_step(self.d_eps),
            d_z.stride(0),
            Z=Z,
            HAS_MU=given.mu is not None,
            HAS_LOG_SIGMA=given.log_sigma is not None,
            HAS_KL=given.kl is not None,
            WANTS_EPS=self.d_eps is not None,
            BLOCK_Z=block,
            num_warps=max(1, block // 64),
        )
        torch.addmm(self.row[:, s.h_enc : s.h_dec], self.posterior[t], w.posterior, out=self.h_enc)
        d_gates = self.gates_enc[t]
        pointwise_backward(
            segment.gates_enc[t],
            segment.c_enc[t],
            segment.c_enc[t + 1],
            self.h_enc,
            self.c_enc,
            d_gates,
            self.c_enc,
        )
        torch.mm(d_gates, w.enc, out=self.row)

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


def draw_scan_backward(
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
        d_weights = ScanWeights(*(torch.zeros_like(w, dtype=torch.float32) for w in packed))
        if options.recompute:
            segment = new_segment(s, options, x)
            forward = Forward(x, eps, prior_eps, packed, s, None)
        else:
            segment = saved_segment(s, options, saved)
        for i, first in reversed(list(enumerate(range(0, T, max(length, 1))))):
            n = min(length, T - first)
            if options.recompute:
                State.at(segment, 0).copy_(saved_state(s, options, saved, i))
                forward.run(segment, first, n)
            backward.run(segment, first, n)
            backward.add_weights(d_weights, segment, first, n)
        found = [d_x, d_eps, d_prior_eps, *unpack(d_weights, s, len(weights))]
    return [gradient if want else None for gradient, want in zip(found, wants)]
