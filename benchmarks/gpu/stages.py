"""The stages and their coordinator: each in a process group of its own, on a time budget.

A stage that crashes, hangs or is killed costs only itself: what it had written so far is kept, and
why it ended stands beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.deadline import Deadline
from benchmarks.pool import ROOT

GRACE = 12.0  # seconds that a stage may go on after its time: it stops by itself between turns
LINES = 12  # of a crashed stage's output that are kept


@dataclass(frozen=True)
class Stage:
    """A part of a run.

    Args:
        name: under which it is filed.
        title: what a page calls it.
        share: of the time that is left, beside the shares of the stages after it.
        command: that runs it; None is this package's own. It gets the path of its result and its
            seconds as two more arguments.
        beside: a stage whose time it shares, running at the same time; without that stage it runs
            alone.
        asked: it runs only where it is named, since it takes all the time there is.
    """

    name: str
    title: str
    share: float
    command: tuple[str, ...] | None = None
    beside: str | None = None
    asked: bool = False

    def arguments(self, result: Path, seconds: float) -> list[str]:
        """The whole command."""
        own = (sys.executable, "-m", "benchmarks.gpu.stage", self.name)
        return [*(self.command or own), str(result), f"{seconds:.1f}"]


STAGES = (
    Stage("tests", "Tests on the device", 22),
    # No clock runs during the tests: time for compilers to fill their caches.
    Stage("compile", "Compilers' caches filled", 22, beside="tests"),
    Stage("ceilings", "Ceilings", 5),
    Stage("operators", "Operators", 30),
    Stage("steps", "Training steps", 40),
    Stage("sanitizer", "Sanitizer", 10),
    Stage("tune", "Tuned launches", 8),
    Stage("training", "DRAW trained on MNIST", 100, asked=True),
)


_running: set[subprocess.Popen[bytes]] = set()


def run_stage(stage: Stage, seconds: float) -> dict[str, Any]:
    """Run one stage to its end or to the end of its time.

    Returns:
        ``status`` (``done``, ``failed``, ``timed out``), ``reason`` where it is not done,
        ``seconds``, ``result``: what it had written by then, or None, and ``log``: all that it
        printed.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result, output = Path(folder) / "result.json", Path(folder) / "log"
        with output.open("wb") as to:
            process = subprocess.Popen(
                stage.arguments(result, seconds),
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            _running.add(process)
            try:
                code: int | None = process.wait(seconds + GRACE)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        found = json.loads(result.read_text()) if result.exists() else None
        log = output.read_text(errors="replace")
    record: dict[str, Any] = {"status": "done", "seconds": time.monotonic() - begin}
    if code is None:
        record |= {"status": "timed out", "reason": f"not done after {seconds + GRACE:.0f} s"}
    elif code != 0:
        record |= {
            "status": "failed",
            "reason": f"ended with code {code}",
            "output": log.splitlines()[-LINES:],
        }
    return {**record, "result": found, "log": log}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a stage and of the processes that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _running.discard(process)


def stop() -> None:
    """Kill every stage that is running; their threads then end."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_all(
    stages: Sequence[Stage],
    seconds: float,
    keep: Callable[[str, dict[str, Any]], None],
) -> None:
    """Run stages one after the other; what one does not use goes to those after it.

    Args:
        stages: in order.
        seconds: for all of them.
        keep: takes each stage's name and record as soon as it has ended.
    """
    deadline = Deadline(seconds)
    names = {stage.name for stage in stages}
    alone = [stage for stage in stages if stage.beside not in names]
    for number, stage in enumerate(alone):
        together = [stage, *(other for other in stages if other.beside == stage.name)]
        shares = sum(later.share for later in alone[number:])
        budget = deadline.left() * stage.share / shares - GRACE
        if budget < 1.0:
            for each in together:
                keep(each.name, {"status": "left out", "reason": "no time was left"})
            continue
        with ThreadPoolExecutor() as threads:
            running = [threads.submit(run_stage, each, budget) for each in together]
            try:
                for each, ran in zip(together, running):
                    keep(each.name, ran.result())
            except BaseException:
                stop()
                raise
