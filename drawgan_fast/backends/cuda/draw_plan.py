"""How the recurrence would lie on a chip: asked of the core, which asks the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from drawgan_fast.backends.compiled.calls import on_device
from drawgan_fast.backends.cuda.core import core
from drawgan_fast.backends.tracing import constant_when_traced
from drawgan_fast.draw_config import DrawConfig


class Prescribed(NamedTuple):
    """A layout in place of the one that the core reckons the fastest; for tests and tuning."""

    kind: str  # "cluster" or "grid"
    team: int  # blocks that share the weights
    tiles: int  # of 16 samples that a team carries
    resident: int  # bits of the matrices that stay in shared memory; -1: as many as fit


_prescribed: Prescribed | None = None


@contextmanager
def prescribed(kind: str, team: int, tiles: int, resident: int = -1) -> Iterator[None]:
    """Every recurrence runs in this layout, or is declined, until the block ends."""
    global _prescribed
    before, _prescribed = _prescribed, Prescribed(kind, team, tiles, resident)
    try:
        yield
    finally:
        _prescribed = before


def draw_plan(cfg: DrawConfig, bf16: bool, images: int, prior: int, device: torch.device) -> Any:
    """The core's ``DrawPlan`` of a call.

    Raises:
        RuntimeError: the network does not fit on the device, with the limit that it is beyond.
    """
    return _plan(cfg, bf16, images, prior, device, _prescribed)


@lru_cache(maxsize=256)
def _plan(
    cfg: DrawConfig,
    bf16: bool,
    images: int,
    prior: int,
    device: torch.device,
    layout: Prescribed | None,
) -> Any:
    with on_device(device):
        return core().draw_scan_plan(
            channels=cfg.channels,
            height=cfg.image_size[0],
            width=cfg.image_size[1],
            read_N=cfg.read_size,
            write_N=cfg.write_size,
            hidden=cfg.hidden_size,
            latent=cfg.latent_size,
            bf16=bf16,
            images=images,
            prior=prior,
            **({} if layout is None else layout._asdict()),
        )


@lru_cache(maxsize=256)
def _against(
    cfg: DrawConfig, bf16: bool, device: torch.device, layout: Prescribed | None
) -> str | None:
    if not cfg.attention:
        return "the network has no attention windows: whole images go through the triton backend"
    try:
        # Of one sample: what does not fit alone fits with no batch, and others wait their turn.
        _plan(cfg, bf16, 1, 0, device, layout)
    except Exception as error:
        return str(error)
    return None


def forget() -> None:
    """Ask for every plan again: the device has changed, as only a pretended one does."""
    _plan.cache_clear()
    _against.cache_clear()


# A compiler that traces a call takes the answer as it is: it is the same for every batch.
@constant_when_traced
def against_plan(cfg: DrawConfig, bf16: bool, device: torch.device) -> str | None:
    """Why a network does not run on the chip, or None if it does."""
    return _against(cfg, bf16, device, _prescribed)
