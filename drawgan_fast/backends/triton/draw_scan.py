"""Steps of draw_scan in Triton: one launch a phase, library products between them.

Nothing here waits for the device, so a training step can be captured in a CUDA graph.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from drawgan_fast.backends.compiled.image_pairs import CANVAS
from drawgan_fast.backends.scan.arrays import Segment, Sizes
from drawgan_fast.backends.scan.forward import Forward
from drawgan_fast.backends.triton import attention_read as read
from drawgan_fast.backends.triton import attention_write as write
from drawgan_fast.backends.triton.launch import (
    attention_launch,
    block_n,
    pointwise_block,
    target,
)
from drawgan_fast.backends.triton.lstm_cell import pointwise
from drawgan_fast.kernels.draw_boundary import draw_boundary_kernel
from drawgan_fast.kernels.latent_sample import latent_sample_kernel
from drawgan_fast.window_map import window_map


class ForwardSteps:
    """Runs steps of one call."""

    def __init__(self, call: Forward) -> None:
        self.call, self.s, self.x, self.weights = call, call.s, call.x, call.weights
        # Forward again: nobody asks a second time, and one step's room serves all.
        unasked = call.eps.new_empty(call.s.B, call.s.cfg.latent_size).expand_as(call.eps)
        self.mu = unasked if call.mu is None else call.mu
        self.log_sigma = unasked if call.log_sigma is None else call.log_sigma
        self.posterior = self.weights.posterior.new_empty(self.s.B, 2 * self.s.cfg.latent_size)

    def run(self, segment: Segment, first: int, n: int) -> None:
        """See ``scan.forward.Steps``."""
        for t in range(n):
            if self.s.B:
                if t == 0:
                    self._read(segment)
                self._encode(segment, t, first + t)
            self._decode(segment, t, reads=self.s.B > 0 and t + 1 < n)

    def _glimpses(self, segment: Segment, t: int) -> tuple[Tensor, Tensor]:
        """Where the glimpses of the image and of the error image before step t go."""
        row, half = segment.rows[t, : self.s.B], self.s.R // 2
        return row[:, :half], row[:, half : self.s.R]

    def _read(self, segment: Segment) -> None:
        """The first read of a segment; the others follow the write before them in one launch."""
        s, canvas = self.s, segment.canvases[0, : self.s.B]
        of_image, of_error = self._glimpses(segment, 0)
        if s.cfg.attention:
            window = segment.projections[0, : s.B, -5:]
            sizes = s.cfg.read_size, s.cfg.spec
            read.launch(self.x, canvas, CANVAS, window, of_image, of_error, *sizes)
        else:
            of_error.copy_((self.x - torch.sigmoid(canvas)).flatten(1))

    def _encode(self, segment: Segment, t: int, step: int) -> None:
        s, w, B = self.s, self.weights, self.s.B
        row, next_row = segment.rows[t, :B], segment.rows[t + 1, :B]
        gates = segment.gates_enc[t]
        torch.addmm(w.enc_b, row[:, : s.z], w.enc.mT, out=gates)
        h_enc = next_row[:, s.h_enc : s.h_dec]
        pointwise(gates, segment.c_enc[t], h_enc, segment.c_enc[t + 1], gates)
        torch.addmm(w.posterior_b, h_enc, w.posterior.mT, out=self.posterior)
        block, _ = blocks(s.cfg.latent_size)
        latent_sample_kernel[(B,)](
            self.posterior,
            self.call.eps[step],
            row[:, s.z :],
            self.mu[step],
            self.log_sigma[step],
            self.call.kl,
            row.stride(0),
            Z=s.cfg.latent_size,
            BLOCK_Z=block,
            num_warps=max(1, block // 64),
        )

    def _decode(self, segment: Segment, t: int, *, reads: bool) -> None:
        s, w = self.s, self.weights
        row, next_row = segment.rows[t], segment.rows[t + 1]
        gates = segment.gates_dec[t]
        torch.addmm(w.dec_b, row[:, s.h_dec : s.z + s.cfg.latent_size], w.dec.mT, out=gates)
        h_dec = next_row[:, s.h_dec : s.z]
        pointwise(gates, segment.c_dec[t], h_dec, segment.c_dec[t + 1], gates)
        projection = segment.projections[t + 1]
        torch.addmm(w.projection_b, h_dec, w.projection.mT, out=projection)
        canvas, after = segment.canvases[t], segment.canvases[t + 1]
        if s.cfg.attention and reads:
            boundary(projection, self.x, canvas, after, *self._glimpses(segment, t + 1), s)
        elif s.cfg.attention:
            patch, window = projection[:, : s.patch], projection[:, s.patch : s.patch + 5]
            write.launch(patch, window, canvas, after, s.cfg.write_size, s.cfg.spec)
        else:
            torch.add(canvas, projection.view_as(canvas), out=after)
            if reads:
                error = self.x - torch.sigmoid(after[: s.B])
                self._glimpses(segment, t + 1)[1].copy_(error.flatten(1))


def boundary(
    projection: Tensor,  # [all, projection]
    x: Tensor,  # [B, C, H, W]
    canvas: Tensor,  # [all, C, H, W]
    after: Tensor,  # [all, C, H, W], written
    of_image: Tensor,  # [B, C·N·N], rows at any stride, written
    of_error: Tensor,
    s: Sizes,
) -> None:
    """The write that ends a step and the read that starts the next, in one launch."""
    cfg, (B, C, H, W) = s.cfg, x.shape
    chip = target(x.device)
    launch = attention_launch("draw_boundary", chip, H, W, max(cfg.read_size, cfg.write_size))
    launch.pop("BLOCK_N")
    draw_boundary_kernel[(s.all, C)](
        projection,
        x,
        canvas,
        after,
        of_image,
        of_error,
        projection.stride(0),
        of_image.stride(0),
        B,
        C,
        WRITE_MAP=window_map(cfg.spec, H, W, cfg.write_size, True),
        READ_MAP=window_map(cfg.spec, H, W, cfg.read_size, False),
        H=H,
        W=W,
        WRITE_N=cfg.write_size,
        READ_N=cfg.read_size,
        PATCH=s.patch,
        BLOCK_WRITE=block_n(cfg.write_size),
        BLOCK_READ=block_n(cfg.read_size),
        **launch,
    )


def blocks(size: int) -> tuple[int, int]:
    """A block along the latents, and how many it takes.

    >>> blocks(100)
    (128, 1)
    """
    block = min(256, pointwise_block(size))
    return block, triton.cdiv(size, block)
