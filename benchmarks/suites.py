"""What the report measures: groups of variants that are interleaved with each other.

A group's key says what was measured: ``step/draw-paper/b128``, ``overhead/lstm_cell``.
A job is what a worker is told to build: a training step, an operator, or a list of products.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cases import ATTENTION_SHAPES, CASES, LSTM_SHAPES, TrainCase
from benchmarks.environment import available_processors
from benchmarks.floor import AVX2, FLOOR, FLOOR_AVX2, FLOOR_BFLOAT16
from benchmarks.operators import MODES
from benchmarks.pool import Setting
from benchmarks.products import products
from benchmarks.timing import Entry

SECTIONS = ("step", "isa", "operator", "memory", "threads", "overhead", "sweep")
OPERATORS = ("attention_read", "attention_write", "lstm_cell", "draw_scan")

# What a network of the paper's time costs most in: T, B, and pixels. None of these recompiles a
# torch.compile graph for minutes, because torch.compile stays out of the sweeps.
SWEEPS: dict[str, Sequence[int]] = {
    "batch": (16, 32, 64, 128, 256),
    "T": (8, 16, 32, 64, 128),
    "size": (28, 40, 56, 80),
}
SWEPT = ("eager", "jax", "ours", "ours-bf16")


@dataclass
class Group:
    """Entries that are compared with each other, and how long to look at them."""

    key: str
    title: str
    entries: list[Entry]
    rounds: int
    seconds: float  # of a turn
    unit: str = "s"
    fresh: bool = False  # each round in new processes, each entry's peak memory
    cases: list[TrainCase] = field(default_factory=list)  # whose truth the gate needs


@dataclass(frozen=True)
class Plan:
    """A full run, or a quick one that shows that everything works."""

    quick: bool
    processors: int = field(default_factory=available_processors)

    @property
    def threads(self) -> int:
        """Of every variant but where threads are what is compared.

        One in a quick run: it has to be quick beside other programs too, whose turns on a
        processor two threads would spend waiting for each other.
        """
        return 1 if self.quick else self.processors

    @property
    def swept(self) -> Sequence[str]:
        """The variants in the plots."""
        return ("eager", "ours") if self.quick else SWEPT

    def rounds(self, full: int) -> int:
        """How many rounds, given those of a full run."""
        return 2 if self.quick else full

    def seconds(self, full: float) -> float:
        """Length of a turn, given that of a full run."""
        return 0.0 if self.quick else full

    def case(self, name: str, **changes: Any) -> TrainCase:
        """A named case with some sizes changed; in a quick run the others are small."""
        case = CASES[name]
        if self.quick:
            case = case.scaled(steps=4, hidden_size=64, batch=16)
        return case.scaled(**changes)

    # ------------------------------------------------------------------ entries

    def step(self, variant: str, case: TrainCase, label: str | None = None) -> Entry:
        """A variant's training step on all processors."""
        setting = Setting(label or variant, self.threads)
        return Entry(label or variant, setting, _train(variant, case))

    def floors(
        self,
        case: TrainCase,
        libraries: Mapping[str, tuple[str, ...]],
        variables: tuple[tuple[str, str], ...] = (),
    ) -> list[Entry]:
        """The case's products, an entry for each process of libraries."""
        listed = [product.to_json() for product in products(case)]
        return [
            Entry(
                label,
                Setting(label, self.threads, variables),
                {"kind": "products", "libraries": list(names), "products": listed},
            )
            for label, names in libraries.items()
        ]

    # ------------------------------------------------------------------- groups

    def groups(self, sections: Iterable[str] = SECTIONS) -> Iterable[Group]:
        """Every group of these sections, in order."""
        for section in sections:
            yield from getattr(self, f"_{section}")()

    def _steps_of(self, name: str, variants: Sequence[str], rounds: int, **changes: Any) -> Group:
        case = self.case(name, **changes)
        entries = [self.step(variant, case) for variant in variants]
        entries += self.floors(case, FLOOR)
        if "ours-bf16" in variants:
            entries += self.floors(case, FLOOR_BFLOAT16)
        key = f"step/{name}/b{changes.get('batch', CASES[name].batch)}"
        return Group(
            key, case.title, entries, self.rounds(rounds), self.seconds(0.25), cases=[case]
        )

    def _step(self) -> Iterable[Group]:
        compiled = ["compile-cell"]
        if not self.quick:  # the whole step alone keeps the compilers busy for minutes
            compiled += ["compile-cell-medium", "compile-step"]
        ours = ["ours", "ours-bf16", "ours-recompute"]
        yield self._steps_of("draw-paper", ["eager", *compiled, "jax", *ours], 9)
        if not self.quick:
            yield self._steps_of("draw-paper", ["eager", "jax", *ours], 9, batch=64)
            for name in ("draw-authors", "draw-cifar", "draw-svhn", "draw-odd"):
                yield self._steps_of(name, ["eager", "ours", "ours-bf16"], 7)
        yield self._draw_gan()

    def _draw_gan(self) -> Group:
        """DRAW-GAN beside plain DRAW of the same sizes, which is what it is measured by."""
        case, plain = self.case("draw-gan-authors"), self.case("draw-authors")
        variants = ["eager", "ours"]
        if not self.quick:
            variants += ["compile-cell", "compile-cell-medium", "jax", "ours-recompute"]
        entries = [self.step(variant, case) for variant in variants]
        entries += [self.step(v, plain, label=f"plain DRAW: {v}") for v in ("eager", "ours")]
        entries += self.floors(case, FLOOR)
        return Group(
            "step/draw-gan-authors/b64",
            case.title,
            entries,
            self.rounds(7),
            self.seconds(0.25),
            cases=[case, plain],
        )

    def _isa(self) -> Iterable[Group]:
        case, variables = self.case("draw-paper"), tuple(AVX2.items())
        entries = [Entry("ours", Setting("ours", self.threads, variables), _train("ours", case))]
        entries += self.floors(case, FLOOR_AVX2, variables)
        yield Group(
            "isa/avx2/draw-paper",
            f"{case.title}, AVX2 only",
            entries,
            self.rounds(7),
            self.seconds(0.25),
            cases=[case],
        )

    def _operator(self) -> Iterable[Group]:
        some = slice(1) if self.quick else slice(None)
        shapes = [("attention_read", s.key) for s in ATTENTION_SHAPES[some]]
        shapes += [("attention_write", s.key) for s in ATTENTION_SHAPES[some]]
        shapes += [("lstm_cell", s.key) for s in LSTM_SHAPES[some]]
        if not self.quick:
            shapes.append(("draw_scan", "paper"))
        for op, shape in shapes:
            for mode in MODES:
                yield Group(
                    f"operator/{op}/{shape}/{mode}",
                    f"{op} {shape}, {mode}",
                    [
                        self._operator_entry("eager", op, shape, mode, "reference"),
                        self._operator_entry("ours", op, shape, mode, "native"),
                    ],
                    self.rounds(7),
                    self.seconds(0.1),
                )

    def _operator_entry(self, label: str, op: str, shape: str, mode: str, backend: str) -> Entry:
        job = {"kind": "operator", "op": op, "shape": shape, "mode": mode, "backend": backend}
        return Entry(label, Setting(label, self.threads), job)

    def _overhead(self) -> Iterable[Group]:
        for op in OPERATORS:
            entries = [
                self._operator_entry(
                    f"{name}, {'recorded' if mode == 'recorded' else 'no gradients'}",
                    op,
                    "smallest",
                    mode,
                    backend,
                )
                for name, backend in (("eager", "reference"), ("ours", "native"))
                for mode in ("forward", "recorded")
            ]
            yield Group(f"overhead/{op}", f"{op}, one call", entries, self.rounds(5), 0.05)

    def _memory(self) -> Iterable[Group]:
        case = self.case("draw-paper")
        variants = ["eager", "ours"]
        if not self.quick:
            variants += ["jax", "ours-recompute"]
        # No truth: the gate would raise the peak, and has been passed in the steps' group.
        entries = [
            Entry(v, Setting(v, self.threads), {**_train(v, case), "truth": None}) for v in variants
        ]
        title = f"Peak memory, {case.title}"
        yield Group(
            "memory/draw-paper",
            title,
            entries,
            1 if self.quick else 3,
            0.0,
            unit="bytes",
            fresh=True,
        )

    def _threads(self) -> Iterable[Group]:
        case = self.case("draw-paper")
        most = self.processors
        counts = sorted({1, most} | {2**k for k in range(1, 8) if 2**k < most})
        entries = [
            Entry(f"{variant}, {n}", Setting(variant, n), _train(variant, case))
            for variant in self.swept
            for n in counts
        ]
        yield Group(
            "threads/draw-paper",
            f"{case.title}, by threads",
            entries,
            self.rounds(7),
            self.seconds(0.25),
            cases=[case],
        )

    def _sweep(self) -> Iterable[Group]:
        for axis, values in SWEEPS.items():
            for value in values[:2] if self.quick else values:
                changes: dict[str, dict[str, Any]] = {
                    "batch": {"batch": value},
                    "T": {"steps": value},
                    "size": {"image_size": (value, value)},
                }
                case = self.case("draw-paper", **changes[axis])
                entries = [self.step(variant, case) for variant in self.swept]
                entries += self.floors(case, {k: v for k, v in FLOOR.items() if "torch" in k})
                yield Group(
                    f"sweep/{axis}/{value}",
                    f"{case.title}, {axis} {value}",
                    entries,
                    self.rounds(3),
                    self.seconds(0.1),
                    cases=[case],
                )


def _train(variant: str, case: TrainCase) -> dict[str, Any]:
    # The folder of the truth is put in when the group is run.
    return {"kind": "train", "variant": variant, "case": case.to_json(), "truth": ""}
