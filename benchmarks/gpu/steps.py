"""The steps' stage: each variant in a process of its own, past the gate, taking turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import gate
from benchmarks.cases import CASES, TrainCase, build, noise
from benchmarks.gpu import step_variants
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.operators import one_line
from benchmarks.gpu.step_variants import PRECISIONS, TITLES
from benchmarks.pool import Pool, Setting, WorkerFailed
from benchmarks.timing import Quantiles
from benchmarks.variants import SINGLE
from benchmarks.variants.base import Unavailable
from benchmarks.variants.torch_step import TorchStep

ROUNDS = 5
TURN = 0.15  # seconds
LOAD = 120.0  # seconds at most that a group may take to be built
LEAST = 30.0  # seconds without which no group is begun


@dataclass(frozen=True)
class Entry:
    """One variant of a group."""

    variant: str
    precision: str
    case: TrainCase

    @property
    def label(self) -> str:
        """Its name in the group."""
        plain = "plain DRAW: " if self.case.name == "draw-authors" else ""
        return f"{plain}{self.variant}/{self.precision}"


@dataclass(frozen=True)
class Group:
    """Entries that are compared with each other."""

    key: str
    case: TrainCase
    entries: tuple[Entry, ...]


def groups() -> list[Group]:
    """In order of importance; a large batch's precisions apart, for the sake of memory."""
    paper, gan = CASES["draw-paper"], CASES["draw-gan-authors"]
    large = paper.scaled(batch=1024)
    plain = Entry("eager", "fp32", CASES["draw-authors"])
    return [
        Group(paper.key, paper, _entries(paper, PRECISIONS)),
        Group(gan.key, gan, (plain, *_entries(gan, PRECISIONS))),
        *(Group(f"{large.key}/{p}", large, _entries(large, (p,))) for p in PRECISIONS),
    ]


def _entries(case: TrainCase, precisions: Sequence[str]) -> tuple[Entry, ...]:
    return tuple(Entry(variant, p, case) for p in precisions for variant in TITLES)


def tolerances(
    case: TrainCase, folder: Path, device: str, precisions: set[str]
) -> dict[str, float]:
    """Write the case's truth into the folder; what the gate allows in each precision.

    Twice the error of the reference in that precision on this device, or float32's tolerance.
    """
    expected = gate.truth(case, folder, device)
    eps = noise(case, build(case))
    allowed = {"bf16": max(SINGLE, 2 * expected.bfloat16)}
    for precision in precisions - {"bf16"}:
        setting = "high" if precision == "tf32" else "highest"
        step = TorchStep(case, "reference", precision=setting, device=device)
        _, found = step.gradients(eps)
        worst = max(gate.error(found[name], expected.gradients[name]) for name in found)
        allowed[precision] = max(SINGLE, 2 * worst)
    if device != "cpu":
        torch.cuda.empty_cache()
    return allowed


def run(
    groups: Sequence[Group],
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    *,
    device: str = "cuda",
    ours: str | None = None,
    rounds: int = ROUNDS,
    least: float = LEAST,
) -> None:
    """Measure group after group.

    Args:
        groups: in order of importance.
        deadline: after which nothing new is begun.
        save: takes what there is, after every group.
        device: where the steps run.
        ours: the backend in place of every tier's own.
        rounds: at most, in each group.
        least: seconds without which no group is begun.
    """
    found: dict[str, Any] = {"groups": [], "left_out": []}
    for group in groups:
        if deadline.left() < least:
            found["left_out"].append(f"{group.key}: no time was left")
            continue
        with tempfile.TemporaryDirectory() as folder, Pool() as pool:
            try:
                runner = Runner(pool, group, Path(folder), device, ours)
                found["groups"].append(runner.run(deadline, rounds))
            except Exception as failure:  # no truth, no memory: the other groups are still measured
                found["groups"].append({"key": group.key, "failed": one_line(failure)})
        save(found)
    save(found)


class Runner:
    """One group: its processes, its truths, its rounds.

    Args:
        pool: where the processes live.
        group: what is measured.
        folder: for the truths.
        device: where the steps run.
        ours: the backend in place of every tier's own.
    """

    def __init__(
        self, pool: Pool, group: Group, folder: Path, device: str, ours: str | None
    ) -> None:
        self.pool, self.group, self.device = pool, group, device
        self.taken: dict[str, list[list[float]]] = {e.label: [] for e in group.entries}
        self.gates: dict[str, dict[str, Any] | None] = {}
        self.missing: dict[str, str] = {}
        self._settings = {e.label: setting(e, device) for e in group.entries}
        allowed = {
            case.key: tolerances(
                case, folder, device, {e.precision for e in group.entries if e.case == case}
            )
            for case in {e.case for e in group.entries}
        }
        for e in group.entries:
            job = {
                **job_of(e, device, ours),
                "truth": str(folder),
                "tolerance": allowed[e.case.key][e.precision],
            }
            pool.get(self._settings[e.label]).send("load", job=job)

    def run(self, deadline: Deadline, rounds: int) -> dict[str, Any]:
        """Wait for the processes, give each a turn a round, and say what came of it."""
        loading = Deadline(min(LOAD, 0.7 * deadline.left()))
        # All at once: what takes long is compilers, and no clock is running.
        ready = [e.label for e in self.group.entries if self._loaded(e.label, loading)]
        for number in range(rounds):
            if number and deadline.passed():
                break
            start = number % max(len(ready), 1)
            for label in ready[start:] + ready[:start]:
                self._turn(label, deadline)
        return {
            "key": self.group.key,
            "case": self.group.case.to_json(),
            "entries": [self._entry(e) for e in self.group.entries],
        }

    def _loaded(self, label: str, loading: Deadline) -> bool:
        process = self.pool.get(self._settings[label])
        try:
            self.gates[label] = process.receive(max(1.0, loading.left())).get("gate")
        except (Unavailable, WorkerFailed) as reason:
            self.missing[label] = _last_line(reason)
            self.pool.end(self._settings[label])  # what it holds of the device is free again
        return label not in self.missing

    def _turn(self, label: str, deadline: Deadline) -> None:
        if label in self.missing:
            return
        process = self.pool.get(self._settings[label])
        try:
            samples = process.call("turn", max(10.0, deadline.left()), seconds=TURN)["taken"]
        except (Unavailable, WorkerFailed) as reason:
            self.missing[label], self.taken[label] = _last_line(reason), []
            self.pool.end(self._settings[label])
            return
        self.taken[label].append(samples)

    def _entry(self, e: Entry) -> dict[str, Any]:
        turns = self.taken[e.label]
        samples = [value for turn in turns for value in turn]
        return {
            "label": e.label,
            "variant": e.variant,
            "precision": e.precision,
            "gate": self.gates.get(e.label),
            "missing": self.missing.get(e.label),
            "samples": len(samples),
            "rounds": [Quantiles.of(turn).p50 for turn in turns],
            "step": vars(Quantiles.of(samples)) if samples else None,
        }


def setting(e: Entry, device: str) -> Setting:
    """The entry's process."""
    variables = step_variants.variables(e.variant, e.precision, device)
    return Setting(e.label, 1, variables, "benchmarks.gpu.step_worker")


def job_of(e: Entry, device: str, ours: str | None) -> dict[str, Any]:
    """What its worker is told to build, without a truth to be held to."""
    return {
        "variant": e.variant,
        "precision": e.precision,
        "case": e.case.to_json(),
        "device": device,
        "ours": ours,
        "truth": None,
    }


def _last_line(error: Exception) -> str:
    """The last line of a traceback, or the whole of a reason."""
    return str(error).strip().splitlines()[-1][:300]
