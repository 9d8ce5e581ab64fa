"""A pytest plug-in that writes each test's outcome when it is known, so that a kill loses none.

One line of JSON a test, to the file that REPORT names: ``{"name", "outcome", "reason"}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPORT = "DRAWGAN_TEST_REPORT"
OUTCOMES = ("passed", "failed", "error", "skipped")


class Outcomes:
    """Outcomes of the tests so far; a test is known when its last phase is over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worst: dict[str, tuple[str, str]] = {}

    def add(self, name: str, when: str, outcome: str, reason: str) -> None:
        """A phase of a test: ``setup``, ``call`` or ``teardown``."""
        if outcome == "failed" and when != "call":
            outcome = "error"
        if outcome != "passed" and name not in self.worst:
            self.worst[name] = outcome, reason
        if when == "teardown":
            outcome, reason = self.worst.pop(name, ("passed", ""))
            line = json.dumps({"name": name, "outcome": outcome, "reason": reason})
            with self.path.open("a") as file:
                file.write(line + "\n")


def pytest_configure(config: object) -> None:
    """Start the report."""
    global _outcomes
    _outcomes = Outcomes(Path(os.environ[REPORT]))


def pytest_runtest_logreport(report: object) -> None:
    """Note a phase."""
    reason = str(getattr(report, "longreprtext", "")).strip().splitlines()
    failed = [line for line in reason if line.startswith("E ")] or reason[-1:]
    first = failed[0].removeprefix("E").strip() if failed else ""
    _outcomes.add(
        str(getattr(report, "nodeid", "")),
        str(getattr(report, "when", "")),
        str(getattr(report, "outcome", "")),
        first[:200],
    )


def counts(reports: Iterable[Path]) -> dict[str, Any]:
    """Tests by outcome, and what each failure says."""
    # What a kill cut off in the middle of a line is left out.
    whole = [path.read_text().rpartition("\n")[0] for path in reports]
    tests = [json.loads(line) for text in whole for line in text.splitlines()]
    found: dict[str, Any] = {
        outcome: sum(test["outcome"] == outcome for test in tests) for outcome in OUTCOMES
    }
    failures = [t for t in tests if t["outcome"] in ("failed", "error")]
    found["failures"] = [f"{t['name']}: {t['reason']}" for t in failures]
    return found
