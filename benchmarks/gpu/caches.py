"""The compile stage: what compiles for long is compiled once before the clocks start.

``torch.compile`` and Triton keep what they made on disk, for every later process on this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu import steps
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.operator_cases import COMPILED, OperatorCase, turns
from benchmarks.gpu.operators import Variant, one_line
from benchmarks.gpu.steps import Entry, Group, job_of, setting
from benchmarks.pool import Pool, Setting, WorkerFailed
from benchmarks.variants.base import Unavailable


def run(
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    *,
    groups: Sequence[Group] | None = None,
    cases: Iterable[OperatorCase] | None = None,
    device: str = "cuda",
    ours: str | None = None,
) -> None:
    """Build the compiled steps, a process each, and meanwhile the compiled operators here.

    Args:
        deadline: at which it stops, whatever is left.
        save: takes the names of what was compiled and of what was not.
        groups: of steps; those of the steps' stage if None.
        cases: operators; those of the operators' stage if None.
        device: what is compiled for.
        ours: the backend in place of every tier's own.
    """
    found: dict[str, Any] = {"compiled": [], "left_out": []}
    if cases is None:
        cases = [case for case, compiled in turns() if compiled]
    with Pool() as pool:
        entries = [
            entry
            for group in (steps.groups() if groups is None else groups)
            for entry in group.entries
            if entry.variant in (*COMPILED, "ours")
        ]
        waiting = _Steps(pool, entries, device, ours, found)
        for case in cases:
            waiting.go_on()
            if deadline.passed():
                break
            _operator(case, device, found)
            save(found)
        waiting.finish(deadline)
    save(found)


class _Steps:
    """Workers that build steps, a few at a time."""

    AT_ONCE = 6

    def __init__(
        self,
        pool: Pool,
        entries: Sequence[Entry],
        device: str,
        ours: str | None,
        found: dict[str, Any],
    ) -> None:
        self.pool, self.device, self.ours, self.found = pool, device, ours, found
        self.left = list(entries)
        self.running: list[Entry] = []

    def go_on(self) -> None:
        """Take what is done and start as many as there is room for, without waiting."""
        for entry in [e for e in self.running if self.pool.get(self._setting(e)).answered()]:
            self._take(entry, 1.0)
        while self.left and len(self.running) < self.AT_ONCE:
            entry = self.left.pop(0)
            self.running.append(entry)
            job = job_of(entry, self.device, self.ours)
            self.pool.get(self._setting(entry)).send("load", job=job)

    def finish(self, deadline: Deadline) -> None:
        """Wait for all of them, or until the time is over."""
        self.go_on()
        while self.running:
            self._take(self.running[0], max(0.1, deadline.left()))
            if not deadline.passed():
                self.go_on()
        self.found["left_out"] += [f"{e.case.key}/{e.label}: no time was left" for e in self.left]

    def _take(self, entry: Entry, timeout: float) -> None:
        self.running.remove(entry)
        name = f"{entry.case.key}/{entry.label}"
        try:
            self.pool.get(self._setting(entry)).receive(timeout)
            self.found["compiled"].append(name)
        except (Unavailable, WorkerFailed) as reason:
            self.found["left_out"].append(f"{name}: {str(reason).strip().splitlines()[-1]}")
        self.pool.end(self._setting(entry))

    def _setting(self, entry: Entry) -> Setting:
        made = setting(entry, self.device)
        return replace(made, name=f"{entry.case.key}/{made.name}")


def _operator(case: OperatorCase, device: str, found: dict[str, Any]) -> None:
    torch.compiler.reset()
    for label in COMPILED:
        try:
            variant = Variant(label, case, device)
            with variant.settings():
                variant.call()
        except Exception as failure:
            found["left_out"].append(f"{case.key}/{label}: {one_line(failure)}")
            continue
        found["compiled"].append(f"{case.key}/{label}")
