"""The reference recurrence under ``torch.compile``, as a whole or one time step at a time."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from drawgan_fast import reference
from drawgan_fast.backends.precision import without_autocast
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawWeights
from drawgan_fast.losses import kl_standard_normal
from drawgan_fast.models import DRAWGAN, GenerativeModel
from drawgan_fast.nn import DrawCore

State = tuple[Tensor, Tensor]


def apply(model: GenerativeModel, what: str, mode: str | None = None) -> None:
    """Compile part of a model in place.

    Args:
        model: DRAW or DRAW-GAN.
        what: ``step``: loss and gradients of the whole recurrence as one graph, T time steps one
            after the other in it, which takes minutes to compile; ``cell``: one time step, called
            T times, which takes seconds. DRAW-GAN's discriminator is compiled with either.
        mode: ``torch.compile``'s.
    """
    draw = model.draw if isinstance(model, DRAWGAN) else model
    core: DrawCore = draw.core  # type: ignore[assignment]
    overrides: Any = core
    if what == "cell":
        overrides.forward = CompiledCells(core, mode).forward
    elif isinstance(model, DRAWGAN):
        core.compile(fullgraph=True, mode=mode)
    else:
        overrides = model
        overrides.loss = torch.compile(model.loss, mode=mode)
    if isinstance(model, DRAWGAN):
        # DRAW-GAN walks backward through the discriminator's one graph twice.
        import torch._functorch.config as functorch

        functorch.donated_buffer = False
        model.discriminator.compile(fullgraph=True, mode=mode)


class CompiledCells:
    """The reference's loop over time around compiled functions of one time step."""

    def __init__(self, core: DrawCore, mode: str | None = None) -> None:
        self.core = core
        compile = partial(torch.compile, fullgraph=True, mode=mode)
        self.cell = compile(cell)
        self.decode = compile(decode)
        self.kl = compile(partial(kl_standard_normal, batch_dim=1))

    def forward(
        self,
        x: Tensor,  # [B, C, H, W]
        eps: Tensor,  # [T, B, Z]
        prior_eps: Tensor | None = None,  # [T, B, Z]
        trace: bool = False,
    ) -> DrawOutput:
        """In place of ``DrawCore.forward``; there is no trace."""
        weights, cfg = self.core.weights(), self.core.cfg
        zero = x.new_zeros(x.shape[0], cfg.hidden_size)
        enc, dec, canvas = (zero, zero), (zero, zero), torch.zeros_like(x)
        mus, log_sigmas = [], []
        for eps_t in eps:
            enc, dec, canvas, mu, log_sigma = self.cell(x, eps_t, enc, dec, canvas, weights, cfg)
            mus.append(mu)
            log_sigmas.append(log_sigma)
        prior = None
        if prior_eps is not None:
            dec, prior = (zero, zero), torch.zeros_like(x)
            for z in prior_eps:
                dec, prior = self.decode(z, dec, prior, weights, cfg)
        mu, log_sigma = torch.stack(mus), torch.stack(log_sigmas)
        return DrawOutput(canvas, mu, log_sigma, self.kl(mu, log_sigma), prior, None)


def cell(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [B, Z]
    enc: State,  # [B, K] each
    dec: State,  # [B, K] each
    canvas: Tensor,  # [B, C, H, W]
    w: DrawWeights,
    cfg: DrawConfig,
) -> tuple[State, State, Tensor, Tensor, Tensor]:
    """One time step of ``reference.draw_scan``: its loop's body, in the same operators."""
    params = functional.linear(dec[0], w.read_w, w.read_b)  # type: ignore[arg-type]
    with without_autocast(x.device):  # as the reference backend does it
        params = params.to(x.dtype)
        glimpses = reference.attention_read((x,), params, cfg.read_size, cfg.spec, canvas)
    enc_input = torch.cat([g.flatten(1) for g in glimpses] + [dec[0]], dim=1)
    enc = reference.lstm_cell(enc_input, enc, w.enc_w_ih, w.enc_w_hh, w.enc_b_ih, w.enc_b_hh)
    mu, log_sigma = functional.linear(enc[0], w.posterior_w, w.posterior_b).chunk(2, dim=1)
    dec, canvas = decode(mu + log_sigma.exp() * eps, dec, canvas, w, cfg)
    return enc, dec, canvas, mu, log_sigma


def decode(
    z: Tensor,  # [B, Z]
    dec: State,  # [B, K] each
    canvas: Tensor,  # [B, C, H, W]
    w: DrawWeights,
    cfg: DrawConfig,
) -> tuple[State, Tensor]:
    """One time step of ``reference.draw_generate``."""
    dec = reference.lstm_cell(z, dec, w.dec_w_ih, w.dec_w_hh, w.dec_b_ih, w.dec_b_hh)
    patch = functional.linear(dec[0], w.patch_w, w.patch_b)
    patch = patch.view(-1, cfg.channels, cfg.write_size, cfg.write_size)
    params = functional.linear(dec[0], w.write_w, w.write_b)  # type: ignore[arg-type]
    with without_autocast(z.device):
        patch, params = patch.to(canvas.dtype), params.to(canvas.dtype)
        canvas = reference.attention_write(patch, params, cfg.image_size, cfg.spec, canvas)
    return dec, canvas
