"""What the fused kernels are held to, line by line, and what came out."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.analysis import Run
from benchmarks.cases import ATTENTION_SHAPES
from benchmarks.suites import OPERATORS
from benchmarks.timing import Quantiles

COMPILED = ("compile-step", "compile-cell")
STEP = "step/draw-paper/b128"
STEP_64 = "step/draw-paper/b64"
GAN = "step/draw-gan-authors/b64"


@dataclass(frozen=True)
class Target:
    """A bound on a ratio of two times or sizes within one group, or on a time itself.

    ``numerator`` over ``denominator``, each the fastest of those named; without a denominator the
    numerator alone, in microseconds.
    """

    text: str
    group: str
    numerator: Sequence[str]
    denominator: Sequence[str] | None
    bound: float
    at_least: bool

    @property
    def required(self) -> str:
        """The bound as a table prints it."""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.bound:.3g}" + ("×" if self.denominator else " µs")

    def measured(self, run: Run) -> Quantiles | None:
        """The ratio over the rounds, or None where something was not measured."""
        above = run.fastest(self.group, self.numerator)
        if above is None:
            return None
        if self.denominator is None:
            return Quantiles.of([1e6 * v for v in run.series(self.group, above)])
        below = run.fastest(self.group, self.denominator)
        return None if below is None else run.ratio(self.group, above, below)

    def at_floor(self, run: Run) -> Quantiles | None:
        """What a speed-up would be for a step of matrix products alone; None for the others."""
        floors = {("ours",): "floor", ("ours-bf16",): "floor bf16"}
        floor = floors.get(tuple(self.denominator or ()))
        above = run.fastest(self.group, self.numerator)
        if floor is None or above is None or not self.group.startswith("step/"):
            return None
        return run.ratio(self.group, above, floor)

    def met(self, run: Run) -> bool | None:
        """Whether the median keeps the bound; None where it was not measured."""
        measured = self.measured(run)
        if measured is None:
            return None
        return measured.p50 >= self.bound if self.at_least else measured.p50 <= self.bound


def faster(text: str, group: str, slow: Sequence[str], fast: str, bound: float) -> Target:
    """``fast`` takes at most 1/bound of the time of the fastest of ``slow``."""
    return Target(text, group, slow, (fast,), bound, at_least=True)


def within(text: str, group: str, ours: str, of: str, bound: float) -> Target:
    """``ours`` takes at most ``bound`` times as much as ``of``."""
    return Target(text, group, (ours,), (of,), bound, at_least=False)


def targets(threads: int) -> list[Target]:
    """Every line, in order; ``threads`` is the number that the run had."""
    lines = [
        faster("DRAW, B=128: times as fast as eager", STEP, ("eager",), "ours", 4.5),
        faster("DRAW, B=128: times as fast as torch.compile", STEP, COMPILED, "ours", 4.0),
        faster("DRAW, B=128: times as fast as JAX/XLA", STEP, ("jax",), "ours", 3.0),
        within("DRAW, B=128: time over its matrix products", STEP, "ours", "floor", 1.1),
        faster("DRAW, B=64: times as fast as eager", STEP_64, ("eager",), "ours", 5.5),
        faster(
            "DRAW, B=128: bf16, times as fast as eager fp32", STEP, ("eager",), "ours-bf16", 7.5
        ),
        faster(
            "DRAW, B=64: bf16, times as fast as eager fp32", STEP_64, ("eager",), "ours-bf16", 9.0
        ),
    ]
    for case, name in (
        ("draw-authors", "DRAW, authors' sizes"),
        ("draw-cifar", "DRAW, CIFAR-10"),
        ("draw-svhn", "DRAW, SVHN"),
        ("draw-odd", "DRAW, odd sizes"),
    ):
        text = f"{name}: time over its matrix products"
        lines.append(within(text, f"step/{case}/b64", "ours", "floor", 1.25))
    lines += [
        within(
            "DRAW, B=128, AVX2 only: time over AVX2's matrix products",
            "isa/avx2/draw-paper",
            "ours",
            "floor",
            1.3,
        ),
        within("DRAW-GAN: time over plain DRAW in eager", GAN, "ours", "plain DRAW: eager", 0.5),
        within("DRAW-GAN: time over plain DRAW in ours", GAN, "ours", "plain DRAW: ours", 1.5),
    ]
    for op in ("attention_read", "attention_write"):
        for shape in ATTENTION_SHAPES:
            for mode in ("forward", "forward+backward"):
                lines.append(
                    faster(
                        f"{op} {shape.C}×{shape.H}×{shape.W}, N={shape.N}, {mode}: "
                        "times as fast as eager",
                        f"operator/{op}/{shape.key}/{mode}",
                        ("eager",),
                        "ours",
                        5.0,
                    )
                )
    memory = "memory/draw-paper"
    lines += [
        within("DRAW, B=128: peak memory over eager's", memory, "ours", "eager", 0.6),
        within("the same, memory recomputed", memory, "ours-recompute", "eager", 1 / 3),
    ]
    if threads >= 2:
        lines.append(
            faster(
                "DRAW, B=128: two threads, times as fast as one",
                "threads/draw-paper",
                ("ours, 1",),
                "ours, 2",
                1.85,
            )
        )
    for op in OPERATORS:
        for how in ("no gradients", "recorded"):
            text = f"{op}: host time of a call, {how}"
            lines.append(
                Target(text, f"overhead/{op}", (f"ours, {how}",), None, 15.0, at_least=False)
            )
    return lines
