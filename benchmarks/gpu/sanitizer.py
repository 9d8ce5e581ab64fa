"""The sanitizer's stage: compute-sanitizer over every kernel, where the tool is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.deadline import Deadline
from benchmarks.pool import ROOT

FOLDER = Path("/usr/local/cuda/bin")
TOOLS = ("memcheck", "racecheck", "synccheck")
ENVIRONMENT = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
FOUND = 77  # the exit code that says that the tool found something
SUMMARY = re.compile(r"(?:ERROR|RACECHECK|SYNCCHECK) SUMMARY: .*")


def program() -> str | None:
    """Path of compute-sanitizer, or None."""
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=str(FOLDER))


def run(
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    sanitizer: str | None = None,
    checked: Sequence[str] = (sys.executable, "-m", "benchmarks.gpu.sanitized"),
) -> None:
    """Each tool over one small program; the time that is left is shared out.

    Args:
        deadline: at which a tool is killed.
        save: takes the verdicts.
        sanitizer: the program; looked for if None.
        checked: what is run under it.
    """
    sanitizer = sanitizer or program()
    if sanitizer is None:
        save({"left_out": "compute-sanitizer is not available"})
        return
    found: dict[str, Any] = {}
    # Alone first: the kernels are compiled, and what fails by itself is no finding.
    found["alone"] = _verdict(checked, deadline.left())
    save(found)
    for number, tool in enumerate(TOOLS):
        command = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND), *checked]
        found[tool] = _verdict(command, deadline.left() / (len(TOOLS) - number))
        save(found)


def _verdict(command: Sequence[str], seconds: float) -> dict[str, Any]:
    """What a command said: ``clean``, ``found``, ``failed`` or ``timed out``, and its summary."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=max(1.0, seconds),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"verdict": "timed out", "summary": f"not done after {seconds:.0f} s"}
    output = done.stdout + done.stderr
    summary = SUMMARY.search(output)
    verdict = {0: "clean", FOUND: "found"}.get(done.returncode, "failed")
    last = (output.strip().splitlines() or [""])[-1]
    said = {"verdict": verdict, "summary": summary.group(0) if summary else last[:300]}
    return said if verdict == "clean" else {**said, "output": output.splitlines()[:40]}
