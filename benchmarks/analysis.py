"""From raw samples to numbers: a round's time, the floor, ratios. Reads only the run's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.floor import FLOOR, FLOOR_BFLOAT16
from benchmarks.timing import Quantiles, ratios

FLOORS = {"floor": tuple(FLOOR), "floor bf16": tuple(FLOOR_BFLOAT16)}


class Run:
    """A run's record, as ``docs/benchmarks.json`` holds it.

    Args:
        record: ``environment``, ``quick`` and ``groups``; see :mod:`benchmarks.report`.
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.groups: dict[str, dict[str, Any]] = {g["key"]: g for g in record["groups"]}

    @property
    def quick(self) -> bool:
        """Whether sizes and rounds were cut down."""
        return bool(self.record["quick"])

    def entry(self, group: str, label: str) -> dict[str, Any] | None:
        """What was taken of an entry, or None."""
        found = self.groups.get(group)
        entries = found["entries"] if found else []
        return next((entry for entry in entries if entry["label"] == label), None)

    def series(self, group: str, label: str) -> list[float]:
        """One number for each round, the median of its samples; empty if not measured.

        ``floor`` and ``floor bf16`` are put together from the libraries' entries.
        """
        if label in FLOORS:
            return self.floor(group, label)
        entry = self.entry(group, label)
        if entry is None:
            return []
        return [Quantiles.of(turn[""]).p50 for turn in entry["rounds"]]

    def samples(self, group: str, label: str) -> list[float]:
        """Every sample, all rounds together; of a floor one for each round."""
        if label in FLOORS:
            return self.floor(group, label)
        entry = self.entry(group, label)
        return [] if entry is None else [v for turn in entry["rounds"] for v in turn[""]]

    def products(self, group: str, label: str = "floor") -> dict[str, dict[str, list[float]]]:
        """Product → library → one number for each round."""
        found: dict[str, dict[str, list[float]]] = {}
        for process in FLOORS[label]:
            entry = self.entry(group, process)
            for turn in entry["rounds"] if entry else []:
                for part, values in turn.items():
                    product, library = part.split("|")
                    found.setdefault(product, {}).setdefault(library, []).append(
                        Quantiles.of(values).p50
                    )
        return found

    def floor(self, group: str, label: str = "floor") -> list[float]:
        """Per round, the sum over products of the time of each product's best library.

        The best is the one whose median over all rounds is the least: the least of each round
        would also pick what was lucky in it.
        """
        best = [
            min(libraries.values(), key=lambda rounds: Quantiles.of(rounds).p50)
            for libraries in self.products(group, label).values()
        ]
        return [sum(turns) for turns in zip(*best)]

    def fastest(self, group: str, labels: Sequence[str]) -> str | None:
        """The label of the least median, or None if none was measured."""
        medians = {label: self.series(group, label) for label in labels}
        measured = {k: Quantiles.of(v).p50 for k, v in medians.items() if v}
        return min(measured, key=lambda k: measured[k]) if measured else None

    def ratio(self, group: str, numerator: str, denominator: str) -> Quantiles | None:
        """Of the ratios within each round, or None if either was not measured."""
        found = ratios(self.series(group, numerator), self.series(group, denominator))
        return Quantiles.of(found) if found else None
