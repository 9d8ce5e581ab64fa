"""What the device can do at best: bytes moved a second, and matrix products in each precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.clock import Clock
from benchmarks.gpu.deadline import Deadline
from benchmarks.timing import Quantiles

COPIED = 2**30  # bytes of the copy's source
SIDE = 8192  # of the square factors
PRODUCTS = {
    "fp32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
    "bf16": (torch.bfloat16, "highest"),
}
REPEATS = 10


def run(
    clock: Clock,
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    copied: int = COPIED,
    side: int = SIDE,
) -> None:
    """Bandwidth of a copy, bytes read and written, and the rate of ``torch.mm``; all per second."""
    found: dict[str, Any] = {"copied_bytes": copied, "side": side}
    found["bandwidth"] = bandwidth(clock, copied)
    save(found)
    for name in PRODUCTS:
        if deadline.passed():
            break
        found[name] = rate(clock, side, name)
        save(found)


def bandwidth(clock: Clock, copied: int) -> dict[str, float]:
    """Bytes read and bytes written by a device-to-device copy, a second."""
    source = torch.randint(0, 256, (copied,), dtype=torch.uint8, device=clock.device)
    target = torch.empty_like(source)
    return _rate(clock, lambda: target.copy_(source), 2 * copied)


def rate(clock: Clock, side: int, precision: str) -> dict[str, float]:
    """Operations of a square matrix product of random numbers, a second."""
    dtype, setting = PRODUCTS[precision]
    torch.set_float32_matmul_precision(setting)
    left, right = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return _rate(clock, lambda: torch.mm(left, right, out=out), 2 * side**3)


def _rate(clock: Clock, call: Callable[[], object], amount: float) -> dict[str, float]:
    for _ in range(3):
        call()
    samples = [amount / clock.region(call, 3) for _ in range(REPEATS)]
    return vars(Quantiles.of(samples))


def unit_rate(ceilings: dict[str, Any], unit: str) -> float | None:
    """Operations a second of a unit; float32 products made of three TF32 ones reach a third.

    >>> unit_rate({"tf32": {"p50": 6.0}}, "tf32x3")
    2.0
    """
    name, _, parts = unit.partition("x")
    found = ceilings.get(name)
    return None if found is None else found["p50"] / (int(parts) if parts else 1)
