"""The recurrence as the core takes it: T steps in one call, and their gradient in another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import dense, pointer
from drawgan_fast.backends.compiled.kernels import Gradients, Options, Scan, allocate
from drawgan_fast.backends.native.core import core
from drawgan_fast.draw_config import DrawConfig, DrawWeights


@lru_cache(maxsize=256)
def _shape(
    cfg: DrawConfig, T: int, B: int, prior: int, recompute: bool, bf16: bool, double: bool
) -> Any:
    """The core's ``ScanShape``."""
    H, W = cfg.image_size
    windows = {}
    if cfg.attention:
        windows = {
            "read": core.window_map(cfg.spec, H, W, cfg.read_size, False),
            "write": core.window_map(cfg.spec, H, W, cfg.write_size, True),
        }
    return core().ScanShape(
        steps=T,
        batch=B,
        prior_batch=prior,
        channels=cfg.channels,
        height=H,
        width=W,
        read_size=cfg.read_size,
        write_size=cfg.write_size,
        hidden=cfg.hidden_size,
        latent=cfg.latent_size,
        attention=cfg.attention,
        bf16=bf16,
        recompute=recompute,
        double_precision=double,
        **windows,
    )


def saved_bytes(
    cfg: DrawConfig, T: int, B: Any, prior: Any, dtype: torch.dtype, options: Options
) -> Any:
    """Bytes that backward needs, linear in both batch sizes, which may be symbolic."""
    if not options.save:
        return 0
    shape = _shape(cfg, T, 0, 0, options.recompute, options.bf16, dtype is torch.float64)
    per_image, per_prior_sample, constant = core().scan_saved_bytes(shape)
    return B * per_image + prior * per_prior_sample + constant


def draw_scan(
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    prior_eps: Tensor | None,  # [T, B', Z]
    weights: Sequence[Tensor | None],  # sixteen, or twelve without attention
    cfg: DrawConfig,
    options: Options,
) -> Scan:
    """Run all steps forward."""
    T, B, _ = eps.shape
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    x, eps = dense(x), dense(eps)
    prior_eps = None if prior_eps is None else dense(prior_eps)
    weights = [None if weight is None else dense(weight) for weight in weights]
    out = allocate(x, T, prior, cfg, options)
    size = saved_bytes(cfg, T, B, prior, x.dtype, options)
    if size:
        # The core's own memory, so that the next step finds these pages mapped and warm.
        out = out._replace(saved=workspace(size))
    traced = out[-5:] if options.trace else (None,) * 5
    core().draw_scan(
        _shape(cfg, T, B, prior, options.recompute, options.bf16, x.dtype is torch.float64),
        torch.get_num_threads(),
        x.data_ptr(),
        eps.data_ptr(),
        pointer(prior_eps),
        _sixteen(weights),
        out.saved.data_ptr() if size else 0,
        out.canvas.data_ptr(),
        out.mu.data_ptr(),
        out.log_sigma.data_ptr(),
        out.kl.data_ptr(),
        out.prior_canvas.data_ptr(),
        *[pointer(tensor) for tensor in traced],
    )
    return out


def workspace(size: int) -> Tensor:
    """``size`` bytes of the core's memory, given back to it when the tensor goes."""
    return torch.frombuffer(core().Workspace(size), dtype=torch.uint8, count=size)


def draw_scan_backward(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: Sequence[Tensor | None],
    saved: Tensor,
    mu: Tensor,  # [T, B, Z] of the forward
    log_sigma: Tensor,  # [T, B, Z] of the forward
    given: Gradients,
    wants: Sequence[bool],  # of x, eps, prior_eps and each weight
    cfg: DrawConfig,
    options: Options,
) -> list[Tensor | None]:
    """Gradients in the order of ``wants``, None for those that are not wanted."""
    T, B, _ = eps.shape
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    x, eps, mu, log_sigma = dense(x), dense(eps), dense(mu), dense(log_sigma)
    prior_eps = None if prior_eps is None else dense(prior_eps)
    weights = [None if weight is None else dense(weight) for weight in weights]
    given = Gradients(*(None if d is None else dense(d) for d in given))
    gradients = [
        torch.empty_like(t) if want and t is not None else None
        for t, want in zip((x, eps, prior_eps, *weights), wants)
    ]
    core().draw_scan_backward(
        _shape(cfg, T, B, prior, options.recompute, options.bf16, x.dtype is torch.float64),
        torch.get_num_threads(),
        x.data_ptr(),
        eps.data_ptr(),
        pointer(prior_eps),
        _sixteen(weights),
        saved.data_ptr(),
        mu.data_ptr(),
        log_sigma.data_ptr(),
        *[pointer(d) for d in given],
        *[pointer(gradient) for gradient in gradients[:3]],
        _sixteen(gradients[3:]),
    )
    return gradients


def _sixteen(tensors: Sequence[Tensor | None]) -> list[int]:
    """Addresses in ``DrawWeights``' order, 0 for those that are absent."""
    addresses = [pointer(tensor) for tensor in tensors]
    return addresses + [0] * (len(DrawWeights._fields) - len(addresses))
