"""What the kernels are held to on one H100, line by line, and what came out."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.cases import CASES, AttentionShape
from benchmarks.gpu.ceilings import unit_rate
from benchmarks.gpu.operator_cases import LARGE, SMALL, OperatorCase
from benchmarks.gpu.record import entry, group, result, rounds
from benchmarks.operators import MODES
from benchmarks.timing import Quantiles, ratios

Record = Mapping[str, Any]
ATTENTION = ("attention_read", "attention_write")
BANDWIDTH, RATE = 0.6, 0.5  # of the measured ceilings
STEP = CASES["draw-paper"].key
GAN = CASES["draw-gan-authors"].key
OURS = ("ours/fp32", "ours-graph/fp32")


class Target(Protocol):
    """One line of the table."""

    text: str

    @property
    def required(self) -> str:
        """The bound as a table prints it."""

    def measured(self, record: Record) -> str | None:
        """What came out, or None where something was not measured."""

    def met(self, record: Record) -> bool | None:
        """Whether the bound is kept; None where it was not measured."""


@dataclass(frozen=True)
class Faster:
    """``fast`` against ``slow``, the median of the ratios within a round.

    Args:
        text: what the line says.
        stage: whose group.
        key: of the group.
        slow: variant.
        fast: variants, of which the fastest counts.
        bound: times as fast.
    """

    text: str
    stage: str
    key: str
    slow: str
    fast: Sequence[str]
    bound: float

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return f"≥ {self.bound:g}×"

    def ratio(self, record: Record) -> Quantiles | None:
        """Times as fast."""
        found = group(record, self.stage, self.key)
        slow = rounds(found, self.slow)
        fast = [times for times in (rounds(found, label) for label in self.fast) if times]
        if not slow or not fast:
            return None
        return Quantiles.of(ratios(slow, min(fast, key=lambda times: Quantiles.of(times).p50)))

    def measured(self, record: Record) -> str | None:
        """See :class:`Target`."""
        found = self.ratio(record)
        return None if found is None else f"{found.p50:.3g}× ({found.p20:.3g}–{found.p80:.3g})"

    def met(self, record: Record) -> bool | None:
        """See :class:`Target`."""
        found = self.ratio(record)
        return None if found is None else found.p50 >= self.bound


@dataclass(frozen=True)
class Share:
    """How much of a ceiling an operator reaches: of the bandwidth, or of its unit's rate."""

    text: str
    key: str

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return f"≥ {100 * BANDWIDTH:.0f} % of bandwidth or ≥ {100 * RATE:.0f} % of rate"

    def shares(self, record: Record) -> tuple[float, float] | None:
        """Of the bandwidth and of the rate."""
        found = group(record, "operators", self.key)
        if found is None:
            return None
        reached = [shares(record, found, label) for label in ("ours", "ours-graph")]
        return max((r for r in reached if r is not None), default=None)

    def measured(self, record: Record) -> str | None:
        """See :class:`Target`."""
        found = self.shares(record)
        if found is None:
            return None
        return f"{100 * found[0]:.0f} % of bandwidth, {100 * found[1]:.0f} % of rate"

    def met(self, record: Record) -> bool | None:
        """See :class:`Target`."""
        found = self.shares(record)
        return None if found is None else found[0] >= BANDWIDTH or found[1] >= RATE


def shares(record: Record, found: Mapping[str, Any], label: str) -> tuple[float, float] | None:
    """A variant's bytes and operations a second over the ceilings, by its time on the device."""
    taken, ceilings = entry(found, label), result(record, "ceilings")
    rate = unit_rate(ceilings, found["unit"])
    if taken is None or not taken["device"] or "bandwidth" not in ceilings or rate is None:
        return None
    seconds = taken["device"]["p50"]
    moved = found["bytes"] / seconds / ceilings["bandwidth"]["p50"]
    return moved, found["operations"] / seconds / rate


def targets() -> list[Target]:
    """Every line, in order."""
    lines: list[Target] = []
    for op in ATTENTION:
        for mode, bound in zip(MODES, (8.0, 6.0)):
            case = OperatorCase(op, SMALL, mode, "fp32")
            text = f"`{op}` {size(SMALL)}, {mode}: times as fast as eager"
            lines.append(Faster(text, "operators", case.key, "eager", ("ours",), bound))
    for op in ATTENTION:
        for mode in MODES:
            case = OperatorCase(op, LARGE, mode, "fp32")
            lines.append(Share(f"`{op}` {size(LARGE)}, {mode}: of the ceilings", case.key))
    overhead = "compile-overhead/fp32"
    plain = "plain DRAW: eager/fp32"
    return [
        *lines,
        Faster("DRAW step, batch 128: over eager", "steps", STEP, "eager/fp32", OURS, 12.0),
        Faster("the same: over torch.compile, reduce-overhead", "steps", STEP, overhead, OURS, 2.0),
        Faster("DRAW-GAN step, batch 64: over plain DRAW in eager", "steps", GAN, plain, OURS, 8.0),
    ]


def size(shape: AttentionShape) -> str:
    """As a table prints it."""
    return f"{shape.C}×{shape.H}×{shape.W}, N={shape.N}, batch {shape.B}"
