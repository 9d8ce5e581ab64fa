"""The tests' stage: the kernels' own tests on the device, shared out among processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import available_processors
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.reporter import OUTCOMES, REPORT, counts
from benchmarks.pool import ROOT, python_path

FOLDERS = ("tests/device", "tests/triton", "tests/cuda")
# They need no device.
IGNORED = (
    "tests/cuda/test_emulation.py",
    "tests/cuda/test_in_emulation.py",
    "tests/cuda/test_lstm_cell.py",
    "tests/triton/test_ahead_of_time.py",
    "tests/triton/test_in_the_interpreter.py",
)
MOST = 10  # processes: each waits for a compiler most of the time
NEEDED = ("pytest",)


def pytest_command(root: Path, *arguments: str) -> list[str]:
    """Pytest without the plugins that may not be there, and without its cache."""
    command = [sys.executable, "-m", "pytest", f"--rootdir={root}", "-o", "addopts="]
    command += ["-p", "no:cacheprovider"]
    # The tests' own marks stand in for plugins that are missing.
    command += ["-o", "markers=gpu\nslow\ntimeout"]
    return [*command, *arguments]


def run(
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    folders: Sequence[str] = FOLDERS,
    root: Path = ROOT,
) -> dict[str, Any]:
    """Collect, run in shards, count; what did not finish in time is counted as not run.

    Args:
        deadline: at which the shards are killed.
        save: takes the counts.
        folders: of the tests, in ``root``.
        root: where pytest runs.
    """
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        found: dict[str, Any] = {"left_out": f"{', '.join(absent)} not installed"}
        save(found)
        return found
    names = collect(folders, root)
    shards = [names[i :: _processes()] for i in range(_processes())]
    with tempfile.TemporaryDirectory() as reports:
        processes = [
            _start(shard, Path(reports) / f"{number}.jsonl", root)
            for number, shard in enumerate(shards)
            if shard
        ]
        cut = _wait(processes, deadline)
        found = counts(sorted(Path(reports).glob("*.jsonl")))
    found["not run"] = len(names) - sum(found[outcome] for outcome in OUTCOMES)
    if cut:
        found["left_out"] = f"{cut} of {len(processes)} processes were not done in time"
    save(found)
    return found


def collect(folders: Sequence[str], root: Path) -> list[str]:
    """Every test's id."""
    ignored = [f"--ignore={name}" for name in IGNORED]
    done = subprocess.run(
        pytest_command(root, "--collect-only", "-q", *ignored, *folders),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    names = [line for line in done.stdout.splitlines() if "::" in line and " " not in line[:20]]
    if not names:
        raise RuntimeError(f"no test was collected:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return names


def _processes() -> int:
    return max(1, min(MOST, available_processors() - 2))


def _start(names: Sequence[str], report: Path, root: Path) -> subprocess.Popen[bytes]:
    variables = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": python_path(os.environ),
        REPORT: str(report),
    }
    return subprocess.Popen(
        pytest_command(root, "-q", "-p", "benchmarks.gpu.reporter", *names),
        cwd=root,
        env={**os.environ, **variables},
    )


def _wait(processes: Sequence[subprocess.Popen[bytes]], deadline: Deadline) -> int:
    """Until all are done or the time is over; how many were cut off."""
    while not deadline.passed() and any(process.poll() is None for process in processes):
        time.sleep(0.2)
    late = [process for process in processes if process.poll() is None]
    for process in late:
        process.kill()
        process.wait()
    return len(late)
