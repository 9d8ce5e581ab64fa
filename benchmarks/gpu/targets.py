"""What the kernels are held to on one H100, line by line, and what came out."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.cases import CASES, AttentionShape
from benchmarks.gpu.ceilings import unit_rate
from benchmarks.gpu.operator_cases import LARGE, SAMPLES, SCANS, SMALL, OperatorCase
from benchmarks.gpu.record import entry, group, result, rounds
from benchmarks.operators import MODES
from benchmarks.timing import Quantiles, ratios

Record = Mapping[str, Any]
ATTENTION = ("attention_read", "attention_write")
BANDWIDTH, RATE = 0.6, 0.5  # of the measured ceilings
STEP = CASES["draw-paper"].key
GAN = CASES["draw-gan-authors"].key
TRITON, CUDA = ("ours", "ours-graph"), ("cuda", "cuda-graph")
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
        slow: variants, of which the fastest counts.
        fast: variants, of which the fastest counts.
        bound: times as fast.
    """

    text: str
    stage: str
    key: str
    slow: Sequence[str]
    fast: Sequence[str]
    bound: float

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return f"≥ {self.bound:g}×"

    def ratio(self, record: Record) -> Quantiles | None:
        """Times as fast."""
        found = group(record, self.stage, self.key)
        slow, fast = fastest(found, self.slow), fastest(found, self.fast)
        return Quantiles.of(ratios(slow, fast)) if slow and fast else None

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
        reached = [shares(record, found, label) for label in TRITON]
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
    rate = unit_rate(ceilings, (taken or {}).get("unit", found["unit"]))
    if taken is None or not taken["device"] or "bandwidth" not in ceilings or rate is None:
        return None
    seconds = taken["device"]["p50"]
    moved = found["bytes"] / seconds / ceilings["bandwidth"]["p50"]
    return moved, found["operations"] / seconds / rate


def fastest(found: Mapping[str, Any] | None, labels: Sequence[str]) -> list[float]:
    """Each round's time of the fastest of some variants; empty where none was measured."""
    measured = [times for times in (rounds(found, label) for label in labels) if times]
    return min(measured, key=lambda times: Quantiles.of(times).p50, default=[])


@dataclass(frozen=True)
class Within:
    """The time of the fastest of some variants, launching included.

    Args:
        text: what the line says.
        stage: whose group.
        key: of the group.
        labels: variants, of which the fastest counts.
        bound: milliseconds.
    """

    text: str
    stage: str
    key: str
    labels: Sequence[str]
    bound: float

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return f"≤ {self.bound:g} ms"

    def time(self, record: Record) -> float | None:
        """Milliseconds, the median over rounds."""
        times = fastest(group(record, self.stage, self.key), self.labels)
        return 1e3 * Quantiles.of(times).p50 if times else None

    def measured(self, record: Record) -> str | None:
        """See :class:`Target`."""
        time = self.time(record)
        return None if time is None else f"{time:.3g} ms"

    def met(self, record: Record) -> bool | None:
        """See :class:`Target`."""
        time = self.time(record)
        return None if time is None else time <= self.bound


@dataclass(frozen=True)
class Exact:
    """How far an operator of the CUDA core is from the reference in float64.

    Args:
        text: what the line says.
        key: of the operator's group.
        bound: of the error, or of its ratio to another variant's.
        over: that variant.
    """

    text: str
    key: str
    bound: float
    over: str | None = None

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return f"≤ {self.bound:g}{'×' if self.over else ''}"

    def error(self, record: Record) -> float | None:
        """The error, or the ratio."""
        found = group(record, "operators", self.key)
        gates = [(entry(found, label) or {}).get("gate") for label in (CUDA[0], self.over)]
        ours, theirs = gates
        if ours is None or (self.over and theirs is None):
            return None
        scale = theirs["error"] if theirs else 1.0
        return float(ours["error"] / scale)

    def measured(self, record: Record) -> str | None:
        """See :class:`Target`."""
        error = self.error(record)
        return None if error is None else f"{error:.2g}{'×' if self.over else ''}"

    def met(self, record: Record) -> bool | None:
        """See :class:`Target`."""
        error = self.error(record)
        return None if error is None else error <= self.bound


@dataclass(frozen=True)
class Trained:
    """What ten minutes of training come to: a figure to report, with no bound on it."""

    text: str
    stage: str = "training"

    @property
    def required(self) -> str:
        """See :class:`Target`."""
        return "reported"

    def measured(self, record: Record) -> str | None:
        """See :class:`Target`."""
        found = result(record, self.stage)
        if "nats" not in found:
            return None
        return f"{found['nats']:.2f} nats, {found['epochs']:.0f} epochs"

    def met(self, record: Record) -> bool | None:
        """See :class:`Target`."""
        return None if self.measured(record) is None else True


def targets() -> list[Target]:
    """Every line, in order."""
    lines: list[Target] = []
    for op in ATTENTION:
        for mode, bound in zip(MODES, (8.0, 6.0)):
            case = OperatorCase(op, SMALL, mode, "fp32")
            text = f"`{op}` {size(SMALL)}, {mode}: times as fast as eager"
            lines.append(Faster(text, "operators", case.key, ("eager",), ("ours",), bound))
    for op in ATTENTION:
        for mode in MODES:
            case = OperatorCase(op, LARGE, mode, "fp32")
            lines.append(Share(f"`{op}` {size(LARGE)}, {mode}: of the ceilings", case.key))
    overhead = ("compile-overhead/fp32",)
    plain, eager = ("plain DRAW: eager/fp32",), ("eager/fp32",)
    return [
        *lines,
        Faster("DRAW step, batch 128: over eager", "steps", STEP, eager, OURS, 12.0),
        Faster("the same: over torch.compile, reduce-overhead", "steps", STEP, overhead, OURS, 2.0),
        Faster("DRAW-GAN step, batch 64: over plain DRAW in eager", "steps", GAN, plain, OURS, 8.0),
        *_of_the_core(),
    ]


def _of_the_core() -> list[Target]:
    """What the CUDA C++ core must reach; the lines above are Triton's."""
    forward, both, exact = (
        OperatorCase("draw_scan", SCANS[0], mode, precision).key
        for mode, precision in ((MODES[0], "autocast"), (MODES[1], "autocast"), (MODES[1], "fp32"))
    )
    samples = OperatorCase("draw_generate", SAMPLES, MODES[0], "autocast").key
    core = tuple(f"{label}/bf16" for label in CUDA)
    eager = ("eager/bf16",)
    others = ("compile-overhead/bf16", "jax/fp32", "jax/tf32")
    large = f"{CASES['draw-paper'].scaled(batch=1024).key}/bf16"
    return [
        Within("CUDA C++: DRAW forward, batch 128, bf16", "operators", forward, CUDA, 0.5),
        Within("CUDA C++: DRAW step, batch 128, bf16", "steps", STEP, core, 2.5),
        Faster("the same: over eager, bf16", "steps", STEP, eager, core, 30.0),
        Faster("the same: over the best of compile and JAX", "steps", STEP, others, core, 4.0),
        Faster("CUDA C++: DRAW step, batch 1024, bf16: over eager", "steps", large, eager, core, 8),
        Within("CUDA C++: sampling 10,000 digits, bf16", "operators", samples, CUDA, 50.0),
        Exact("CUDA C++: DRAW and gradients, fp32: error", exact, 1e-5),
        Exact("the same, bf16: error over eager autocast's", both, 2.0, over="eager"),
        Trained("DRAW on MNIST, ten minutes of training (the paper's bound: 80.97 nats)"),
    ]


def size(shape: AttentionShape) -> str:
    """As a table prints it."""
    return f"{shape.C}×{shape.H}×{shape.W}, N={shape.N}, batch {shape.B}"
