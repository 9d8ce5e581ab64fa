"""A process that runs one variant and does what the coordinator says, one line of JSON at a time.

Each variant lives in a process of its own, because what it needs is a process's own: the number of
threads, the instruction set, torch's precision of matrix products, the pool of XLA's threads, the
peak of memory. The processes stay, and the coordinator (:mod:`benchmarks.pool`) gives them turns,
so their times still come from one interleaved run.

Commands, each answered by one line::

    {"do": "load", "job": {...}}    build it and hold it to the truth
    {"do": "turn", "seconds": s}    one step untimed, then steps for about s seconds
    {"do": "peak", "steps": n}      bytes that n steps add to the process's peak
    {"do": "drop"}                  forget the job
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_SAMPLES = 20


class Worker:
    """The job at hand and how to time it."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.sample: Callable[[], dict[str, float]] | None = None

    def load(self, job: dict[str, Any]) -> dict[str, Any]:
        """Build a job; see :mod:`benchmarks.suites` for what it holds."""
        self.drop()
        kind = job["kind"]
        if kind == "train":
            return self._load_step(job)
        if kind == "operator":
            from benchmarks.operators import OperatorTimer

            timer = OperatorTimer(job["op"], job["shape"], job["mode"], job["backend"])
            self.sample = lambda: {"": timer()}
            return {"gate": {"gradient": timer.error}}
        if kind == "products":
            from benchmarks.floor import ProductTimer
            from benchmarks.products import Product

            self.sample = ProductTimer(job["libraries"], [Product(**p) for p in job["products"]])
            return {}
        raise ValueError(f"no job of kind {kind!r}")

    def _load_step(self, job: dict[str, Any]) -> dict[str, Any]:
        from benchmarks import gate, variants
        from benchmarks.cases import TrainCase

        case = TrainCase.from_json(job["case"])
        step = variants.make(job["variant"], case)
        verdict = None
        if job["truth"] is not None:
            expected = gate.truth(case, Path(job["truth"]))
            tolerance = variants.VARIANTS[job["variant"]].tolerance
            verdict = gate.check_step(step, case, tolerance, expected).to_json()

        def sample() -> dict[str, float]:
            begin = time.perf_counter()
            step()
            return {"": time.perf_counter() - begin}

        self.sample = sample
        return {"gate": verdict}

    def turn(self, seconds: float) -> dict[str, Any]:
        """Times of several samples, by part, and what the process used of the CPU meanwhile."""
        assert self.sample is not None
        cpu = time.process_time()
        self.sample()
        taken: dict[str, list[float]] = {}
        end = time.perf_counter() + seconds
        for _ in range(MAX_SAMPLES):
            for part, value in self.sample().items():
                taken.setdefault(part, []).append(value)
            if time.perf_counter() >= end:
                break
        return {"taken": taken, "cpu": time.process_time() - cpu}

    def peak(self, steps: int) -> dict[str, Any]:
        """Bytes that the first few steps add to the process's resident memory, at their peak."""
        from benchmarks.memory import PeakMemory

        assert self.sample is not None
        gc.collect()
        with PeakMemory() as memory:
            for _ in range(steps):
                self.sample()
        return {"bytes": memory.added}

    def drop(self) -> dict[str, Any]:
        """Forget the job."""
        self.sample = None
        gc.collect()
        return {}


def answer(worker: Worker, command: dict[str, Any]) -> dict[str, Any]:
    """Do one command; what goes wrong is part of the answer."""
    from benchmarks.variants.base import Unavailable

    do = command.pop("do")
    try:
        result: dict[str, Any] = getattr(worker, do)(**command)
        return result
    except Unavailable as reason:
        return {"unavailable": str(reason)}
    except Exception:  # the coordinator's to raise, in its own process
        return {"error": traceback.format_exc()}


def main(threads: int) -> None:
    """Serve until the coordinator closes the pipe."""
    # XLA makes as many threads as it may use processors, and asks nothing else.
    if hasattr(os, "sched_setaffinity") and threads < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    serve(lambda: Worker(threads))


def serve(make: Callable[[], Worker]) -> None:
    """Make the worker and answer commands from standard input until it is closed."""
    # Whatever else prints to standard output must not get between the answers.
    with os.fdopen(os.dup(1), "w") as replies:
        os.dup2(2, 1)
        worker = make()
        for line in sys.stdin:
            print(json.dumps(answer(worker, json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
