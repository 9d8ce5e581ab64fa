"""Interleaved rounds: every variant has its turn in every round, on a machine that is quiet.

What a group of variants is compared by is the ratio within a round, whose turns are seconds
apart, and over the rounds the median of these ratios with its 20th and 80th percentile.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pool import Pool, Process, Setting, WorkerFailed
from benchmarks.variants.base import Unavailable

PAUSE = 0.05  # seconds between turns, for the last one's spinning threads to go to sleep
BUSY = 0.05  # share of all processors that others may have
RETRIES = 2  # of a turn that other programs disturbed


@dataclass(frozen=True)
class Quantiles:
    """20th, 50th and 80th percentile."""

    p20: float
    p50: float
    p80: float

    @staticmethod
    def of(values: Sequence[float]) -> Quantiles:
        """Of at least one value, between the order statistics in a straight line.

        >>> Quantiles.of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        Quantiles(p20=2.0, p50=3.5, p80=5.0)
        """
        ordered = sorted(values)
        if not ordered:
            raise ValueError("values must hold at least one number, got none")

        def quantile(q: float) -> float:
            place = q * (len(ordered) - 1)
            low = int(place)
            high = min(low + 1, len(ordered) - 1)
            return ordered[low] + (place - low) * (ordered[high] - ordered[low])

        return Quantiles(quantile(0.2), quantile(0.5), quantile(0.8))


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Ratio within each round, of the rounds that both have.

    >>> ratios([4.0, 9.0], [2.0, 3.0])
    [2.0, 3.0]
    """
    return [a / b for a, b in zip(numerator, denominator)]


@dataclass(frozen=True)
class Entry:
    """One variant of a group: its name there, its process, its job."""

    label: str
    setting: Setting
    job: dict[str, Any]


@dataclass
class Patience:
    """What a run may spend in all on other programs: waiting for them, and turns done again."""

    seconds: float

    def wait_for_quiet(self) -> None:
        """Pause, and go on pausing while other programs are busy and there is patience left."""
        while True:
            busy, begin = busy_seconds(), time.perf_counter()
            time.sleep(PAUSE)
            elapsed = time.perf_counter() - begin
            quiet = busy_seconds() - busy <= BUSY * elapsed * (os.cpu_count() or 1) + 0.01
            if quiet or self.seconds <= 0:
                return
            self.seconds -= elapsed


@dataclass
class Taken:
    """What was measured of one entry; JSON-able by :meth:`to_json`."""

    label: str
    rounds: list[dict[str, list[float]]] = field(default_factory=list)  # part → samples
    gate: dict[str, Any] | None = None
    missing: str | None = None  # why there is nothing, or no more
    disturbed: int = 0  # rounds in which other programs took more than BUSY

    def to_json(self) -> dict[str, Any]:
        """Fields; samples to the nanosecond."""
        rounded = [
            {part: [round(v, 9) for v in values] for part, values in turn.items()}
            for turn in self.rounds
        ]
        return {**vars(self), "rounds": rounded}


def interleave(
    pool: Pool, entries: Sequence[Entry], rounds: int, seconds: float, patience: Patience
) -> list[Taken]:
    """Load every entry, then give each a turn per round; the order moves on by one each round.

    Args:
        pool: where the workers live.
        entries: variants, each with a setting of its own.
        rounds: how many.
        seconds: length of a turn, after one untimed step; at least one step is timed.
        patience: with other programs.
    """
    taken = {entry.label: Taken(entry.label) for entry in entries}
    # All at once: what takes long is compilers, and the clock is not running.
    for entry in entries:
        pool.get(entry.setting).send("load", job=entry.job)
    ready = [entry for entry in entries if _loaded(pool.get(entry.setting), taken[entry.label])]
    for number in range(rounds):
        start = number % max(len(ready), 1)
        for entry in ready[start:] + ready[:start]:
            result = taken[entry.label]
            if result.missing is not None:
                continue
            try:
                samples, disturbed = _turn(pool.get(entry.setting), seconds, patience)
            except (Unavailable, WorkerFailed) as reason:
                result.missing, result.rounds = _reason(reason), []
                continue
            result.rounds.append(samples)
            result.disturbed += disturbed
    for entry in ready:
        with contextlib.suppress(WorkerFailed):
            pool.get(entry.setting).call("drop")
    return list(taken.values())


def _loaded(process: Process, result: Taken) -> bool:
    """Wait for a worker to have built its job and passed the gate."""
    try:
        result.gate = process.receive().get("gate")
    except (Unavailable, WorkerFailed) as reason:
        result.missing = _reason(reason)
    return result.missing is None


def _turn(
    process: Process, seconds: float, patience: Patience
) -> tuple[dict[str, list[float]], bool]:
    """One turn, again while other programs took too much of it; and whether they still did."""
    for _ in range(RETRIES + 1):
        patience.wait_for_quiet()
        begin, busy = time.perf_counter(), busy_seconds()
        answer = process.call("turn", seconds=seconds)
        elapsed, busy = time.perf_counter() - begin, busy_seconds() - busy
        others = (busy - answer["cpu"]) / (elapsed * (os.cpu_count() or 1))
        # The kernel counts in hundredths of a second, on every processor.
        if others <= BUSY + 0.02 / elapsed:
            return answer["taken"], False
        if patience.seconds <= 0:
            break
        patience.seconds -= elapsed
    return answer["taken"], True


def busy_seconds() -> float:
    """Processor seconds that all programs have used since the machine started, stolen ones too.

    0 where the kernel does not say; then nothing counts as disturbed.
    """
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = (int(v) for v in first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _reason(error: Exception) -> str:
    """The last line of a traceback, or the whole of a reason."""
    return str(error).strip().splitlines()[-1]
