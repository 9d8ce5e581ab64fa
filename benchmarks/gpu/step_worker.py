"""A process that runs one variant of a training step on a device; see :mod:`benchmarks.worker`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.worker import Worker, serve

REGION = 0.02  # seconds of steps between two events
MOST = 50  # steps between two events
WARM = 3


class StepWorker(Worker):
    """The step at hand and its clock."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.step: Any = None

    def load(self, job: dict[str, Any]) -> dict[str, Any]:
        """Build the step, hold it to the truth, and run it until nothing is new."""
        from benchmarks import gate
        from benchmarks.cases import TrainCase
        from benchmarks.gpu import clock, step_variants

        case = TrainCase.from_json(job["case"])
        step = step_variants.make(
            job["variant"], case, job["precision"], job["device"], job["ours"]
        )
        verdict = None
        if job["truth"] is not None:
            expected = gate.truth(case, Path(job["truth"]))
            verdict = gate.check_step(step, case, job["tolerance"], expected).to_json()
        for _ in range(WARM):
            step()
        # A step of JAX's returns when it is done.
        on_host = job["variant"] == "jax"
        self.clock = clock.HostClock() if on_host else clock.clock(job["device"])
        self.step = step
        return {"gate": verdict}

    def turn(self, seconds: float) -> dict[str, Any]:
        """Seconds of a step, the mean of each region."""
        calls = max(1, min(MOST, round(REGION / self.clock.region(self.step, 1))))
        samples = []
        end = time.monotonic() + seconds
        while not samples or time.monotonic() < end:
            samples.append(self.clock.region(self.step, calls))
        return {"taken": samples}

    def drop(self) -> dict[str, Any]:
        """Forget the step."""
        self.step = None
        return super().drop()


if __name__ == "__main__":
    serve(StepWorker)
