"""draw_scan on a GPU, first tier: one launch a phase, library products between them.

Nothing here waits for the device, so a training step can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense
from drawgan_fast.backends.compiled.kernels import Options, Scan, allocate
from drawgan_fast.backends.precision import without_autocast
from drawgan_fast.backends.triton import attention_read as read
from drawgan_fast.backends.triton import attention_write as write
from drawgan_fast.backends.triton.launch import (
    attention_launch,
    block_n,
    on,
    pointwise_block,
    target,
)
from drawgan_fast.backends.triton.lstm_cell import pointwise
from drawgan_fast.backends.triton.scan_arrays import (
    Segment,
    Sizes,
    State,
    new_segment,
    product_dtype,
    saved_bytes,
    saved_segment,
    saved_state,
)
from drawgan_fast.backends.triton.scan_weights import ScanWeights, pack
from drawgan_fast.draw_config import DrawConfig
from drawgan_fast.kernels.draw_boundary import draw_boundary_kernel
from drawgan_fast.kernels.latent_sample import latent_sample_kernel
from drawgan_fast.window_map import window_map


class Forward:
    """Runs steps of one call.

    Args:
        x: [B, C, H, W], eps: [T, B, Z], prior_eps: [T, B', Z], all contiguous.
        out: where μ and log σ go; None when forward runs again in backward.
    """

    def __init__(
        self,
        x: Tensor,
        eps: Tensor,
        prior_eps: Tensor | None,
        weights: ScanWeights,
        s: Sizes,
        out: Scan | None,
    ) -> None:
        self.x, self.eps, self.prior_eps, self.weights, self.s = x, eps, prior_eps, weights, s
        # Forward again: nobody asks a second time, and one step's room serves all.
        unasked = eps.new_empty(s.B, s.cfg.latent_size).expand_as(eps)
        self.mu, self.log_sigma = (unasked, unasked) if out is None else (out.mu, out.log_sigma)
        self.kl = eps.new_zeros(s.B, dtype=torch.float64)
        self.posterior = weights.posterior.new_empty(s.B, 2 * s.cfg.latent_size)

    def start(self, segment: Segment) -> None:
        """Zero states, an empty canvas; the first read window is its bias."""
        for array in State.at(segment, 0):
            array.zero_()
        if self.s.cfg.attention:
            segment.projections[0, :, -5:] = self.weights.projection_b[-5:]

    def run(self, segment: Segment, first: int, n: int) -> None:
        """Steps [first, first + n) into a segment whose row 0 holds the state."""
        s, rows = self.s, segment.rows
        rows[:n, : s.B, s.R : s.h_enc] = 0
        if self.prior_eps is not None:
            end = s.z + s.cfg.latent_size
            rows[:n, s.B :, s.z : end] = self.prior_eps[first : first + n]
        if s.B and not s.cfg.attention:
            rows[:n, : s.B, : s.R // 2] = self.x.flatten(1)
        for t in range(n):
            if s.B:
                if t == 0:
                    self._read(segment)
                self._encode(segment, t, first + t)
            self._decode(segment, t, reads=s.B > 0 and t + 1 < n)

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
            read.launch(self.x, canvas, read.CANVAS, window, of_image, of_error, *sizes)
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
            self.eps[step],
            row[:, s.z :],
            self.mu[step],
            self.log_sigma[step],
            self.kl,
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


def draw_scan(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    prior_eps: Tensor | None,  # [T, B', Z]
    weights: Sequence[Tensor],  # sixteen, or twelve without attention
    cfg: DrawConfig,
    options: Options,
) -> Scan:
    """See ``Kernels.draw_scan``."""
    T, B, _ = eps.shape
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    s = Sizes(cfg, T, B, B + prior)
    x, eps = dense(x), dense(eps)
    prior_eps = None if prior_eps is None else dense(prior_eps)
    out = allocate(x, T, prior, cfg, options)
    if options.save:
        size = saved_bytes(cfg, T, B, prior, x.dtype, options)
        out = out._replace(saved=x.new_empty(size, dtype=torch.uint8))
    with torch.no_grad(), without_autocast(x.device), on(x):
        keeps_all = options.save and not options.recompute
        fits = saved_segment(s, options, out.saved) if keeps_all else None
        segment = fits or new_segment(s, options, x)
        packed = pack(weights, s, product_dtype(options))
        forward = Forward(x, eps, prior_eps, packed, s, out)
        forward.start(segment)
        length, n = s.segment(options), 0
        for i, first in enumerate(range(0, T, max(length, 1))):
            if first:
                State.at(segment, 0).copy_(State.at(segment, length))
            if options.save and options.recompute:
                saved_state(s, options, out.saved, i).copy_(State.at(segment, 0))
            n = min(length, T - first)
            forward.run(segment, first, n)
            if options.trace:
                _trace(out, segment, s, first, n)
        out.canvas.copy_(segment.canvases[n, :B])
        out.prior_canvas.copy_(segment.canvases[n, B:])
        out.kl.copy_(forward.kl)
    return out


def _trace(out: Scan, segment: Segment, s: Sizes, first: int, n: int) -> None:
    steps = slice(first, first + n)
    out.canvases[steps] = segment.canvases[1 : n + 1, : s.B]
    out.prior_canvases[steps] = segment.canvases[1 : n + 1, s.B :]
    if not s.cfg.attention:
        return
    window = slice(s.patch, s.patch + 5)
    out.read_params[steps] = segment.projections[:n, : s.B, -5:]
    out.write_params[steps] = segment.projections[1 : n + 1, : s.B, window]
    out.prior_write_params[steps] = segment.projections[1 : n + 1, s.B :, window]


def blocks(size: int) -> tuple[int, int]:
    """A block along the latents, and how many it takes.

    >>> blocks(100)
    (128, 1)
    """
    block = min(256, pointwise_block(size))
    return block, triton.cdiv(size, block)
