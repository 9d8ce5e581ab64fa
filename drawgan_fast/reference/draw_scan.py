"""Reference DRAW recurrence (DRAW eq. 3–8): T steps of read, encode, sample, decode, write."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from drawgan_fast.draw_config import (
    DrawConfig,
    DrawOutput,
    DrawSample,
    DrawTrace,
    DrawWeights,
    Memory,
)
from drawgan_fast.reference.attention_read import attention_read
from drawgan_fast.reference.attention_write import attention_write
from drawgan_fast.reference.filterbank import window
from drawgan_fast.reference.lstm_cell import lstm_cell

State = tuple[Tensor, Tensor]


class Layers(NamedTuple):
    """The parts of the recurrence: functions of weights, or anybody's modules."""

    encoder: Callable[[Tensor, State], State]
    posterior: Callable[[Tensor], Tensor]  # [B, K] → [B, 2Z]
    decoder: Callable[[Tensor, State], State]
    patch: Callable[[Tensor], Tensor]  # [B, K] → [B, patch_numbers]
    read_window: Callable[[Tensor], Tensor] | None  # [B, K] → [B, 5]
    write_window: Callable[[Tensor], Tensor] | None
    read: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]  # of x, window and canvas
    write: Callable[[Tensor, Tensor, Tensor], Tensor]  # of patch, window and canvas
    draws: bool = True  # from torch's generators, perhaps: what runs again must draw the same


def draw_scan(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    w: DrawWeights,
    cfg: DrawConfig,
    prior_eps: Tensor | None = None,  # [T, B', Z]
    trace: bool = False,
    memory: Memory = "keep",
) -> DrawOutput:
    """Encode and decode x in T steps; see ``functional.draw_scan``."""
    return scan_layers(x, eps, _layers_of(w, cfg), cfg, prior_eps, trace, memory)


def draw_generate(
    eps: Tensor,  # [T, B, Z]
    w: DrawWeights,
    cfg: DrawConfig,
    trace: bool = False,
) -> DrawSample:
    """Decode z_t = eps_t ~ N(0, I) alone (DRAW eq. 9); see ``functional.draw_generate``."""
    return generate_layers(eps, _layers_of(w, cfg), cfg, trace)


def scan_layers(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    layers: Layers,
    cfg: DrawConfig,
    prior_eps: Tensor | None = None,  # [T, B', Z]
    trace: bool = False,
    memory: Memory = "keep",
) -> DrawOutput:
    """:func:`draw_scan` of any layers, each called at every step."""
    B, K = x.shape[0], cfg.hidden_size
    enc, dec = _zero_state(x, B, K), _zero_state(x, B, K)
    canvas = torch.zeros_like(x)
    mus, log_sigmas, canvases = [], [], []
    read_params, write_params = [], []
    step = _remembering(_step, layers, cfg, memory)

    for eps_t in eps:
        enc, dec, canvas, mu, log_sigma, read, write = step(x, eps_t, enc, dec, canvas)
        mus.append(mu)
        log_sigmas.append(log_sigma)
        if trace:
            canvases.append(canvas)
            read_params.append(read)
            write_params.append(write)

    prior_canvas = None
    if prior_eps is not None:
        prior_canvas = generate_layers(prior_eps, layers, cfg, memory=memory).canvas
    mu = torch.stack(mus) if mus else eps.new_zeros(eps.shape)
    log_sigma = torch.stack(log_sigmas) if log_sigmas else eps.new_zeros(eps.shape)
    return DrawOutput(
        canvas,
        mu,
        log_sigma,
        kl_standard_normal(mu, log_sigma).sum(dim=(0, 2)),
        prior_canvas,
        _trace(canvases, write_params, read_params, canvas, cfg) if trace else None,
    )


def generate_layers(
    eps: Tensor,  # [T, B, Z]
    layers: Layers,
    cfg: DrawConfig,
    trace: bool = False,
    memory: Memory = "keep",
) -> DrawSample:
    """:func:`draw_generate` of any layers, each called at every step."""
    B = eps.shape[1]
    dec = _zero_state(eps, B, cfg.hidden_size)
    canvas = eps.new_zeros(B, cfg.channels, *cfg.image_size)
    canvases, write_params = [], []
    decode = _remembering(_decode, layers, cfg, memory)
    for z in eps:
        dec, canvas, params = decode(z, dec, canvas)
        if trace:
            canvases.append(canvas)
            write_params.append(params)
    return DrawSample(canvas, _trace(canvases, write_params, [], canvas, cfg) if trace else None)


def kl_standard_normal(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each number (DRAW eq. 10, 11); never negative."""
    return 0.5 * (mu.square() + torch.expm1(2 * log_sigma) - 2 * log_sigma)


def _layers_of(w: DrawWeights, cfg: DrawConfig) -> Layers:
    def linear(weight: Tensor | None, bias: Tensor | None) -> Callable[[Tensor], Tensor] | None:
        return None if weight is None else partial(F.linear, weight=weight, bias=bias)

    def cell(*weights: Tensor) -> Callable[[Tensor, State], State]:
        return lambda x, state: lstm_cell(x, state, *weights)

    return Layers(
        encoder=cell(w.enc_w_ih, w.enc_w_hh, w.enc_b_ih, w.enc_b_hh),
        posterior=partial(F.linear, weight=w.posterior_w, bias=w.posterior_b),
        decoder=cell(w.dec_w_ih, w.dec_w_hh, w.dec_b_ih, w.dec_b_hh),
        patch=partial(F.linear, weight=w.patch_w, bias=w.patch_b),
        read_window=linear(w.read_w, w.read_b),
        write_window=linear(w.write_w, w.write_b),
        read=lambda x, params, canvas: attention_read(
            (x,), params, cfg.read_size, cfg.spec, canvas
        ),
        write=lambda patch, params, canvas: attention_write(
            patch, params, cfg.image_size, cfg.spec, canvas
        ),
        draws=False,
    )


def _step(
    x: Tensor,  # [B, C, H, W]
    eps_t: Tensor,  # [B, Z]
    enc: State,  # (h, c) [B, K] each
    dec: State,
    canvas: Tensor,  # [B, C, H, W]
    layers: Layers,
    cfg: DrawConfig,
) -> tuple[State, State, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step: read, encode, sample, decode, write.

    Returns both states, the canvas, μ, log σ and the raw windows of the read and of the write.
    """
    h_dec = dec[0]
    params = h_dec
    if layers.read_window is not None:
        params = layers.read_window(h_dec)
        glimpses = layers.read(x, params, canvas)
    else:
        glimpses = (x, x - torch.sigmoid(canvas))
    enc = layers.encoder(torch.cat([g.flatten(1) for g in glimpses] + [h_dec], dim=1), enc)
    mu, log_sigma = layers.posterior(enc[0]).chunk(2, dim=1)
    z = mu + log_sigma.exp() * eps_t
    dec, canvas, written = _decode(z, dec, canvas, layers, cfg)
    return enc, dec, canvas, mu, log_sigma, params, written


def _decode(
    z: Tensor,  # [B, Z]
    dec: State,  # (h, c) [B, K] each
    canvas: Tensor,  # [B, C, H, W]
    layers: Layers,
    cfg: DrawConfig,
) -> tuple[State, Tensor, Tensor]:
    """One decoder step: LSTM, patch, write. Returns the state, the canvas, the raw window."""
    dec = layers.decoder(z, dec)
    h_dec = dec[0]
    patch = layers.patch(h_dec)
    if layers.write_window is None:
        return dec, canvas + patch.view_as(canvas), patch
    params = layers.write_window(h_dec)
    patch = patch.view(-1, cfg.channels, cfg.write_size, cfg.write_size)
    return dec, layers.write(patch, params, canvas), params


def _remembering(
    step: Callable[..., Any], layers: Layers, cfg: DrawConfig, memory: Memory
) -> Callable[..., Any]:
    """The step as it is, or one that keeps its arguments alone and runs again in backward."""
    step = partial(step, layers=layers, cfg=cfg)
    if memory == "keep":
        return step
    return partial(checkpoint, step, use_reentrant=False, preserve_rng_state=layers.draws)


def _zero_state(like: Tensor, B: int, K: int) -> State:
    return like.new_zeros(B, K), like.new_zeros(B, K)


def _trace(
    canvases: list[Tensor],  # T of [B, C, H, W]
    write_params: list[Tensor],  # T of [B, 5]
    read_params: list[Tensor],  # T of [B, 5]
    canvas: Tensor,  # [B, C, H, W], gives the shape when T = 0
    cfg: DrawConfig,
) -> DrawTrace:
    def windows(params: list[Tensor], N: int, *, writing: bool) -> Tensor | None:
        if not cfg.attention or not params:
            return None
        return trace_window(torch.stack(params).detach(), cfg, N, writing=writing)

    return DrawTrace(
        torch.stack(canvases).detach() if canvases else canvas.new_zeros(0, *canvas.shape),
        windows(write_params, cfg.write_size, writing=True),
        windows(read_params, cfg.read_size, writing=False),
    )


def trace_window(params: Tensor, cfg: DrawConfig, N: int, *, writing: bool) -> Tensor:
    """[..., 5] raw numbers as a trace's [..., 5] windows (x, y, δ, σ², γ)."""
    win = window(params, cfg.image_size, N, cfg.spec, writing=writing)
    return torch.stack([win.x, win.y, win.delta, win.log_sigma2.exp(), win.log_gamma.exp()], dim=-1)
