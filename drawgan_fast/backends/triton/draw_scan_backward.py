"""Steps of draw_scan backward in Triton: the reverse loop by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.image_pairs import CANVAS
from drawgan_fast.backends.scan.arrays import Segment
from drawgan_fast.backends.scan.backward import Backward
from drawgan_fast.backends.triton import attention_read as read
from drawgan_fast.backends.triton import attention_write as write
from drawgan_fast.backends.triton.draw_scan import blocks
from drawgan_fast.backends.triton.lstm_cell import pointwise_backward
from drawgan_fast.kernels.latent_sample import latent_sample_backward_kernel


class BackwardSteps:
    """Runs steps of one call, the last first; running gradients are those of the step at hand."""

    def __init__(self, call: Backward) -> None:
        self.call, self.s, self.weights = call, call.s, call.weights
        s, like = call.s, call.weights.dec
        K, Z = s.cfg.hidden_size, s.cfg.latent_size
        self.h_dec, self.h_enc = like.new_empty(s.all, K), like.new_empty(s.B, K)
        self.row = like.new_zeros(s.B, s.z)  # of [r, h_enc, h_dec]
        self.h_dec_z = like.new_zeros(s.all, K + Z)

    def run(self, segment: Segment, first: int, n: int) -> None:
        """See ``scan.forward.Steps``; the boundaries are n, …, 1, and 0 if it is the first."""
        call, s = self.call, self.s
        for t in reversed(range(n)):
            self._boundary(segment, t + 1, first + t + 1 < s.T)
            self._decode(segment, t)
            if call.d_prior_eps is not None:  # a prior sample's noise is its latent
                call.d_prior_eps[first + t] = self.h_dec_z[s.B :, s.cfg.hidden_size :]
            if s.B:
                self._encode(segment, t, first + t)
        if first == 0:
            call.projections[0] = 0
            self._read(segment, 0)

    def _boundary(self, segment: Segment, k: int, reads: bool) -> None:
        """The read after the write of step k − 1, then that write."""
        call, s = self.call, self.s
        d = call.projections[k]
        if s.cfg.attention:
            d[:, -5:] = 0
        if reads:
            self._read(segment, k)
        projection = segment.projections[k]
        if not s.cfg.attention:
            d.copy_(call.canvas.flatten(1))
            return
        window = slice(s.patch, s.patch + 5)
        write.launch_backward(
            projection[:, : s.patch],
            projection[:, window],
            call.canvas,
            d[:, : s.patch],
            d[:, window],
            s.cfg.write_size,
            s.cfg.spec,
        )

    def _read(self, segment: Segment, k: int) -> None:
        """From the gradient of the glimpses read at boundary k to canvas, images and window."""
        call, s, B, half = self.call, self.s, self.s.B, self.s.R // 2
        if not B:
            return
        canvas, d_canvas = segment.canvases[k, :B], call.canvas[:B]
        d_first, d_second = self.row[:, :half], self.row[:, half : s.R]
        if not s.cfg.attention:
            d_error, y = d_second.view_as(canvas), torch.sigmoid(canvas)
            d_canvas += d_error * (y * y - y)
            if call.d_x is not None:
                call.d_x += d_error + d_first.view_as(canvas)
            return
        read.launch_backward(
            call.x,
            canvas,
            CANVAS,
            segment.projections[k, :B, -5:],
            (d_first, d_second),
            call.d_x,
            d_canvas,
            call.projections[k, :B, -5:],
            s.cfg.read_size,
            s.cfg.spec,
            adds=True,
        )

    def _decode(self, segment: Segment, t: int) -> None:
        call, s, w, K = self.call, self.s, self.weights, self.s.cfg.hidden_size
        torch.addmm(self.h_dec_z[:, :K], call.projections[t + 1], w.projection, out=self.h_dec)
        d_gates = call.gates_dec[t]
        pointwise_backward(
            segment.gates_dec[t],
            segment.c_dec[t],
            segment.c_dec[t + 1],
            self.h_dec,
            call.c_dec,
            d_gates,
            call.c_dec,
            self.row[:, s.h_dec :],
        )
        torch.mm(d_gates, w.dec, out=self.h_dec_z)

    def _encode(self, segment: Segment, t: int, step: int) -> None:
        s, w, given = self.s, self.weights, self.call.given
        Z, K, B = s.cfg.latent_size, s.cfg.hidden_size, s.B
        d_z, (block, count) = self.h_dec_z[:B, K:], blocks(Z)

        def of_step(gradient: Tensor | None) -> Tensor:
            return self.call.eps[step] if gradient is None else gradient[step]

        latent_sample_backward_kernel[(B, count)](
            self.call.mu[step],
            self.call.log_sigma[step],
            self.call.eps[step],
            d_z,
            of_step(given.mu),
            of_step(given.log_sigma),
            self.call.eps[step] if given.kl is None else given.kl,
            self.call.posterior[t],
            of_step(self.call.d_eps),
            d_z.stride(0),
            Z=Z,
            HAS_MU=given.mu is not None,
            HAS_LOG_SIGMA=given.log_sigma is not None,
            HAS_KL=given.kl is not None,
            WANTS_EPS=self.call.d_eps is not None,
            BLOCK_Z=block,
            num_warps=max(1, block // 64),
        )
        torch.addmm(
            self.row[:, s.h_enc : s.h_dec], self.call.posterior[t], w.posterior, out=self.h_enc
        )
        d_gates = self.call.gates_enc[t]
        pointwise_backward(
            segment.gates_enc[t],
            segment.c_enc[t],
            segment.c_enc[t + 1],
            self.h_enc,
            self.call.c_enc,
            d_gates,
            self.call.c_enc,
        )
        torch.mm(d_gates, w.enc, out=self.row)
