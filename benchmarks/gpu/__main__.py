"""Measure one GPU: ``python -m benchmarks.gpu``; or make the page of a record: ``--render``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import machine, record
from benchmarks.gpu.render import render, targets_table
from benchmarks.gpu.stages import STAGES, Stage, run_all
from benchmarks.pool import ROOT
from drawgan_fast.files import write_atomically

PAGE = ROOT / "docs" / "gpu.md"
NO_GPU = 2  # the exit code


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; see ``--help``. Returns the exit code: 1 if a stage is not done."""
    begin = time.monotonic()
    options = _parser().parse_args(arguments)
    if options.render is not None:
        _write(options.page, record.joined([record.load(path) for path in options.render]))
        return 0
    unasked = [stage.name for stage in STAGES if not stage.asked]
    names = options.only.split(",") if options.only else unasked
    stages = [stage for stage in STAGES if stage.name in names]
    unknown = sorted(set(names) - {stage.name for stage in STAGES})
    if unknown:
        _parser().error(f"--only: no stage is called {', '.join(unknown)}")
    reason = machine.missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return NO_GPU
    # A coordinator that is told to end must not leave its stages behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return measure(stages, options.out, 60 * options.minutes - (time.monotonic() - begin))


def measure(stages: Sequence[Stage], out: Path, seconds: float) -> int:
    """Run the stages; ``gpu.json``, ``gpu.md`` and ``gpu.log`` are there after each."""
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"environment": machine.describe(), "stages": {}}
    (out / "gpu.log").write_text("")

    def keep(name: str, stage: dict[str, Any]) -> None:
        log = stage.pop("log", "")
        found["stages"][name] = stage
        record.save(out / "gpu.json", found)
        _write(out / "gpu.md", found)
        with (out / "gpu.log").open("a") as file:
            file.write(f"==== {name}\n{log}\n")
        reason = f": {stage['reason']}" if "reason" in stage else ""
        print(f"{name}: {stage['status']}{reason}, {stage.get('seconds', 0):.0f} s", flush=True)
        for line in stage.get("output", []) + _tests(name, stage):
            print(f"    {line}", flush=True)

    run_all(stages, seconds, keep)
    launches = record.result(found, "tune").get("table")
    if launches:
        (out / "tuned.json").write_text(json.dumps(launches, indent=1, sort_keys=True) + "\n")
    print(targets_table(found))
    print(f"wrote {out / 'gpu.json'}, {out / 'gpu.md'} and {out / 'gpu.log'}")
    return 0 if all(s["status"] == "done" for s in found["stages"].values()) else 1


def _tests(name: str, stage: dict[str, Any]) -> list[str]:
    """What the tests' stage has to say at once: counts, and the first failures."""
    found = stage.get("result") or {}
    if name != "tests" or "passed" not in found:
        return []
    outcomes = ("passed", "failed", "error", "skipped", "not run")
    return [", ".join(f"{found[o]} {o}" for o in outcomes), *found["failures"][:10]]


def _write(page: Path, found: dict[str, Any]) -> None:
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, render(found).encode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    names = ", ".join(stage.name for stage in STAGES)
    parser.add_argument("--only", metavar="A,B", help=f"these stages: {names}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu", metavar="DIR")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all stages together")
    parser.add_argument(
        "--render",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="the page of records, later ones adding stages; without one, of nothing measured",
    )
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="of --render")
    return parser


if __name__ == "__main__":
    sys.exit(main())
