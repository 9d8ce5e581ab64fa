"""The recurrence as the core takes it: T steps in one call, and their gradient in another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.kernels import Gradients, Options, Scan, allocate
from drawgan_fast.backends.native.core import core, laid_out
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
    _kept, inputs = laid_out((x, eps, prior_eps, *weights))
    out = allocate(x, T, None if prior_eps is None else prior, cfg, options)
    if options.save:
        size = saved_bytes(cfg, T, B, prior, x.dtype, options)
        # The core's own memory, so that the next step finds these pages mapped and warm.
        out = out._replace(saved=workspace(size) if size else x.new_empty(0, dtype=torch.uint8))
    core().draw_scan(
        _shape(cfg, T, B, prior, options.recompute, options.bf16, x.dtype is torch.float64),
        torch.get_num_threads(),
        inputs[:3],
        _sixteen(inputs[3:]),
        laid_out(out)[1],
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
    count = 3 + len(weights)
    kept, inputs = laid_out((x, eps, prior_eps, *weights, saved, mu, log_sigma, *given))
    gradients = [
        torch.empty_like(t) if want and t is not None else None
        for t, want in zip(kept[:count], wants)
    ]
    outputs = laid_out(gradients)[1]
    core().draw_scan_backward(
        _shape(cfg, T, B, prior, options.recompute, options.bf16, x.dtype is torch.float64),
        torch.get_num_threads(),
        inputs[:3],
        _sixteen(inputs[3:count]),
        inputs[count : count + 3],
        inputs[count + 3 :],
        outputs[:3],
        _sixteen(outputs[3:]),
    )
    return gradients


def _sixteen(addresses: Sequence[int]) -> Sequence[int]:
    """Addresses in ``DrawWeights``' order, 0 for those that are absent."""
    return [*addresses, *[0] * (len(DrawWeights._fields) - len(addresses))]
