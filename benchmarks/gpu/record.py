"""The record of a run: one JSON file, written anew after every stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drawgan_fast.files import write_atomically

EMPTY: dict[str, Any] = {"environment": None, "stages": {}}


def load(path: Path) -> dict[str, Any]:
    """A record as :func:`save` wrote it."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def joined(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of several: the first's environment, and of a stage the last that ran it.

    >>> joined([]) == EMPTY
    True
    """
    found: dict[str, Any] = {"environment": None, "stages": {}}
    for each in records:
        found["environment"] = found["environment"] or each["environment"]
        found["stages"] |= each["stages"]
    return found


def save(path: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all; numbers to six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(record), indent=1, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def result(record: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What a stage measured, or an empty dict."""
    found: dict[str, Any] = record["stages"].get(stage, {}).get("result") or {}
    return found


def group(record: Mapping[str, Any], stage: str, key: str) -> dict[str, Any] | None:
    """A stage's group by its key, or None."""
    groups = result(record, stage).get("groups", [])
    return next((g for g in groups if g["key"] == key and "entries" in g), None)


def entry(group: Mapping[str, Any] | None, label: str) -> dict[str, Any] | None:
    """What was taken of a variant, or None."""
    entries = group["entries"] if group else []
    return next((e for e in entries if e["label"] == label), None)


def rounds(group: Mapping[str, Any] | None, label: str) -> list[float]:
    """A variant's time in each round, seconds; empty if it was not measured."""
    found = entry(group, label)
    return list(found["rounds"]) if found else []
