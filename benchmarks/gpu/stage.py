"""One stage in this process: ``python -m benchmarks.gpu.stage NAME RESULT SECONDS``.

Its result is written whenever there is more of it, so that a process killed keeps what it had.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import record
from benchmarks.gpu.deadline import Deadline

Save = Callable[[dict[str, Any]], None]


def _tests(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import device_tests

    device_tests.run(deadline, save)


def _compile(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import caches

    caches.run(deadline, save)


def _sanitizer(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import sanitizer

    sanitizer.run(deadline, save)


def _ceilings(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import ceilings
    from benchmarks.gpu.clock import clock

    ceilings.run(clock("cuda"), deadline, save)


def _operators(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import operators
    from benchmarks.gpu.clock import clock
    from benchmarks.gpu.operator_cases import turns

    operators.run(clock("cuda"), turns(), deadline, save)


def _steps(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import steps

    steps.run(steps.groups(), deadline, save)


def _tune(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import tune
    from benchmarks.gpu.clock import clock

    tune.run(clock("cuda"), deadline, save, tune.TABLE)


def _training(save: Save, deadline: Deadline) -> None:
    from benchmarks.gpu import training

    training.run(deadline, save)


RUN: dict[str, Callable[[Save, Deadline], None]] = {
    "tests": _tests,
    "compile": _compile,
    "ceilings": _ceilings,
    "operators": _operators,
    "steps": _steps,
    "sanitizer": _sanitizer,
    "tune": _tune,
    "training": _training,
}


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    name, result, seconds = arguments
    RUN[name](lambda found: record.save(Path(result), found), Deadline(float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
