"""Measure everything and write the page: ``python -m benchmarks.report``.

Writes the raw record ``docs/benchmarks.json``, the page ``docs/benchmarks.md`` and the plots
``docs/images/bench-*.png``. A quick run writes to ``build/benchmarks/`` instead, so that nobody
takes its numbers for the real ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import gate, plots
from benchmarks.analysis import Run
from benchmarks.environment import environment
from benchmarks.pool import ROOT, Pool, WorkerFailed
from benchmarks.render import render
from benchmarks.suites import SECTIONS, Group, Plan
from benchmarks.timing import Entry, Patience, Quantiles, Taken, interleave
from benchmarks.variants.base import Unavailable
from drawgan_fast.files import write_atomically

PEAK_STEPS = 3
PATIENCE = 300.0  # seconds of a full run that other programs may cost


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; see ``--help``."""
    options = _parser().parse_args(arguments)
    folder = ROOT / ("build/benchmarks" if options.quick else "docs")
    path: Path = options.json or options.source or folder / "benchmarks.json"
    if options.source is None:
        only = tuple(options.only.split(",")) if options.only else SECTIONS
        plan = Plan(quick=options.quick)
        for prefix in only:
            if not any(group.key.startswith(prefix) for group in plan.groups()):
                sys.exit(f"--only: no group's key begins with {prefix!r}")
        before = json.loads(path.read_text()) if options.update else None
        record = measure(plan, only, before)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_text(record).encode())
        print(f"wrote {path}")
    run = Run(json.loads(path.read_text()))
    page = path.with_suffix(".md")
    images = page.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    write_atomically(page, render(run, plots.draw(run, images)).encode())
    print(f"wrote {page}")


def measure(plan: Plan, only: tuple[str, ...], before: dict[str, Any] | None) -> dict[str, Any]:
    """Run the groups that are asked for.

    Args:
        plan: quick or full.
        only: beginnings of the groups' keys.
        before: an earlier record whose other groups are kept; its machine and versions must be
            this run's.

    Returns:
        The record: ``environment``, ``quick``, ``groups``.
    """
    here = environment()
    kept = [] if before is None else _kept(before, here, plan, only)
    groups = []
    begin, patience = time.monotonic(), Patience(0.0 if plan.quick else PATIENCE)
    with tempfile.TemporaryDirectory() as truths, Pool() as pool:
        for section in SECTIONS:
            wanted = [group for group in plan.groups([section]) if group.key.startswith(only)]
            for group in wanted:
                taken = _run(pool, group, Path(truths), patience)
                groups.append(_group_record(group, taken, here))
                print(_line(group, taken, time.monotonic() - begin), flush=True)
            if not plan.quick:
                # The next section has workers of its own; these would only take up memory.
                pool.end_all()
    order = {section: number for number, section in enumerate(SECTIONS)}
    groups = sorted([*kept, *groups], key=lambda g: order[g["key"].split("/")[0]])
    return {"environment": here, "quick": plan.quick, "groups": groups}


def to_text(record: dict[str, Any]) -> str:
    """The record as JSON, one line for each entry, so that a difference can be read."""
    groups = []
    for group in record["groups"]:
        entries = ",\n  ".join(json.dumps(entry, ensure_ascii=False) for entry in group["entries"])
        rest = {k: v for k, v in group.items() if k != "entries"}
        head = json.dumps(rest, ensure_ascii=False)[:-1]
        groups.append(f' {head}, "entries": [\n  {entries}]}}')
    rest = {k: v for k, v in record.items() if k != "groups"}
    head = json.dumps(rest, ensure_ascii=False)[:-1]
    return f'{head}, "groups": [\n' + ",\n".join(groups) + "\n]}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds")
    parser.add_argument(
        "--only", metavar="A,B", help="groups whose keys begin so: " + ", ".join(SECTIONS)
    )
    parser.add_argument("--update", action="store_true", help="keep the record's other groups")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the record; page beside it")
    parser.add_argument(
        "--from", type=Path, dest="source", metavar="FILE", help="page and plots of a record again"
    )
    return parser


def _kept(
    before: dict[str, Any], here: dict[str, Any], plan: Plan, only: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Groups of an earlier record that stay as they are."""
    for name in ("machine", "versions"):
        if before["environment"][name] != here[name]:
            sys.exit(f"--update: the record's {name} are not this run's; measure everything anew")
    if before["quick"] != plan.quick:
        sys.exit("--update: a quick record and a full one do not mix")
    return [g for g in before["groups"] if not g["key"].startswith(only)]


def _run(pool: Pool, group: Group, truths: Path, patience: Patience) -> list[Taken]:
    for case in group.cases:
        gate.truth(case, truths)
    entries = [Entry(e.label, e.setting, _with_truth(e.job, truths)) for e in group.entries]
    if group.fresh:
        return _peaks(pool, entries, group.rounds)
    return interleave(pool, entries, group.rounds, group.seconds, patience)


def _with_truth(job: dict[str, Any], truths: Path) -> dict[str, Any]:
    return {**job, "truth": str(truths)} if job.get("truth") == "" else job


def _peaks(pool: Pool, entries: Sequence[Entry], rounds: int) -> list[Taken]:
    """Peak memory of each entry, each time in a process that has done nothing else."""
    taken = [Taken(entry.label) for entry in entries]
    for _ in range(rounds):
        for entry, result in zip(entries, taken):
            if result.missing is not None:
                continue
            pool.end(entry.setting)
            process = pool.get(entry.setting)
            try:
                process.call("load", job=entry.job)
                added = process.call("peak", steps=PEAK_STEPS)["bytes"]
            except (Unavailable, WorkerFailed) as reason:
                result.missing = str(reason).strip().splitlines()[-1]
            else:
                result.rounds.append({"": [added]})
            pool.end(entry.setting)
    return taken


def _group_record(group: Group, taken: Sequence[Taken], here: dict[str, Any]) -> dict[str, Any]:
    case = group.cases[0] if group.cases else None
    return {
        "key": group.key,
        "title": group.title,
        "unit": group.unit,
        "date": here["date"],
        "commit": here["commit"],
        "case": case.to_json() if case else None,
        "batch": case.batch if case else None,
        "entries": [entry.to_json() for entry in taken],
    }


def _line(group: Group, taken: Sequence[Taken], elapsed: float) -> str:
    """Progress for who waits: medians in milliseconds, or why there is none."""
    cells = []
    for entry in taken:
        samples = [v for turn in entry.rounds for v in turn.get("", [])]
        if samples and group.unit == "s":
            cells.append(f"{entry.label} {1e3 * Quantiles.of(samples).p50:.3g} ms")
        elif samples:
            cells.append(f"{entry.label} {Quantiles.of(samples).p50 / 2**20:.0f} MiB")
        elif entry.missing:
            cells.append(f"{entry.label} ({entry.missing})")
    return f"[{elapsed:5.0f} s] {group.key}: " + ", ".join(cells)


if __name__ == "__main__":
    main()
