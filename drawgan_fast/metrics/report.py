"""Scores as rows, for people (Rich table, plain text) and for machines (JSON)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from drawgan_fast.metrics.bound import TestBound
from drawgan_fast.metrics.paper_tables import paper_score

if TYPE_CHECKING:
    from rich.table import Table

Column = Literal["paper", "standard"]
Direction = Literal["lower", "higher", "0.5"]

_TITLES: dict[Column, str] = {"paper": "Paper's convention", "standard": "Standard convention"}


@dataclass(frozen=True)
class Row:
    """One score of one model, beside the same score of real images against real images.

    Args:
        key: for machines, unique within its column: "fid", "mmd", "knn", ...
        name: for people, unit included.
        column: "paper" or "standard".
        direction: which way is better, "0.5" where one half is perfect.
        value: mean over the seeds.
        spread: standard deviation over the seeds (n - 1), None for a single seed.
        floor: the mean of real against real under the same protocol: what a perfect model gets.
        floor_spread: its standard deviation over the seeds.
        n: images on each side, as used.
    """

    key: str
    name: str
    column: Column
    direction: Direction
    value: float
    spread: float | None
    floor: float
    floor_spread: float | None
    n: int


@dataclass(frozen=True)
class Report:
    """All scores of one model.

    ``rows`` in printing order; ``notes`` say in sentences what was chosen or left out; ``seconds``
    is the time of each part; ``bound`` is for models that have one (``dataclasses.replace``).

    >>> row = Row("fid", "FID", "paper", "lower", 701.0, 11.0, 552.0, None, 640)
    >>> report = Report("DRAW-GAN", (row,), seeds=(0, 1, 2))
    >>> report["paper/fid"].value, Report.from_json(report.to_json()) == report
    (701.0, True)
    """

    name: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    bound: TestBound | None = None

    def __getitem__(self, key: str) -> Row:
        for row in self.rows:
            if f"{row.column}/{row.key}" == key:
                return row
        known = ", ".join(f"{row.column}/{row.key}" for row in self.rows)
        raise KeyError(f"no score {key!r}; this report has {known}")

    def __contains__(self, key: object) -> bool:
        return any(f"{row.column}/{row.key}" == key for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; a figure that is not finite becomes None."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        bound = values.pop("bound")
        return cls(
            name=values["name"],
            rows=tuple(Row(**{**row, "value": _nan(row["value"])}) for row in values["rows"]),
            seeds=tuple(values["seeds"]),
            notes=tuple(values["notes"]),
            seconds=values["seconds"],
            bound=None if bound is None else TestBound(**bound),
        )

    def table(self, *, data: str | None = None, model: str | None = None) -> Table:
        """A Rich table; with ``data`` ("mnist", "telugu") and ``model`` the paper's figures too."""
        from rich.table import Table

        head, sections = self._cells(data, model)
        table = Table(*head, title=self.name, caption="\n".join(self._footer()))
        for column in table.columns[1:]:
            column.justify = "right"
        for title, lines in sections:
            table.add_row(f"[bold]{title}[/bold]")
            for line in lines:
                table.add_row(*line)
            table.add_section()
        return table

    def text(self, *, data: str | None = None, model: str | None = None) -> str:
        """The same as plain lines."""
        head, sections = self._cells(data, model)
        lines = [head]
        for title, cells in sections:
            lines += [(title, *[""] * (len(head) - 1)), *cells]
        return "\n".join([self.name, aligned(lines), *self._footer()])

    def _cells(
        self, data: str | None, model: str | None
    ) -> tuple[tuple[str, ...], list[tuple[str, list[tuple[str, ...]]]]]:
        with_paper = data is not None and model is not None
        head: tuple[str, ...] = ("score", "better", "value", "real vs real", "n")
        head += ("paper",) if with_paper else ()
        sections: list[tuple[str, list[tuple[str, ...]]]] = []
        for column, title in _TITLES.items():
            lines = []
            for row in (r for r in self.rows if r.column == column):
                line: tuple[str, ...] = (
                    row.name,
                    row.direction,
                    number(row.value, row.spread),
                    number(row.floor, row.floor_spread),
                    f"{row.n:,}",
                )
                if with_paper:
                    line += (_printed(row, data or "", model or ""),)
                lines.append(line)
            if lines:
                sections.append((title, lines))
        return head, sections

    def _footer(self) -> list[str]:
        many = len(self.seeds) > 1
        lines = [f"mean ± standard deviation over {len(self.seeds)} seeds" if many else "one seed"]
        if self.bound is not None:
            b = self.bound
            lines.append(f"ELBO {b.elbo:.2f} ± {b.elbo_error:.2f} nats ({b.n:,} images)")
            if b.samples > 1:
                lines.append(
                    f"importance-weighted bound, {b.samples} samples: "
                    f"{b.importance_weighted:.2f} ± {b.importance_weighted_error:.2f} nats"
                )
        return [*lines, *self.notes]


def comparison_cells(
    reports: Mapping[str, Report], data: str = "mnist"
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and lines of Table I (or II): each model's paper-convention scores beside the printed.

    Args:
        reports: by the name of the model, "draw-gan" for instance.
        data: "mnist" or "telugu"; for any other the paper's column is a dash.
    """
    keys = list(
        dict.fromkeys(r.key for report in reports.values() for r in report.rows if _paper(r))
    )
    names = {r.key: r.name for report in reports.values() for r in report.rows if _paper(r)}
    head = ["model"]
    for key in keys:
        head += [names[key], "paper"]
    lines = []
    floors: dict[str, str] = {}
    for model, report in reports.items():
        line = [model]
        for key in keys:
            if f"paper/{key}" not in report:
                line += ["—", "—"]
                continue
            row = report[f"paper/{key}"]
            floors[key] = number(row.floor, row.floor_spread)
            line += [number(row.value, row.spread), _printed(row, data, model)]
        lines.append(tuple(line))
    last = ["real vs real"]
    for key in keys:
        last += [floors.get(key, "—"), "—"]
    return tuple(head), [*lines, tuple(last)]


def comparison_table(reports: Mapping[str, Report], data: str = "mnist") -> Table:
    """:func:`comparison_cells` as a Rich table."""
    from rich.table import Table

    head, lines = comparison_cells(reports, data)
    table = Table(*head, title="Measured beside the paper's printed figures")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines:
        table.add_row(*line)
    return table


def comparison_text(reports: Mapping[str, Report], data: str = "mnist") -> str:
    """:func:`comparison_cells` as plain lines."""
    head, lines = comparison_cells(reports, data)
    return aligned([head, *lines])


def number(value: float, spread: float | None = None) -> str:
    """Digits that the spread (or the size of the value) leaves meaning in.

    >>> number(701.553, 11.21), number(0.0963, 0.0042), number(0.5), number(math.nan)
    ('702 ± 11', '0.0963 ± 0.0042', '0.5000', '—')
    """
    if value is None or not math.isfinite(value):
        return "—"
    known = spread is not None and math.isfinite(spread)
    scale = spread if known and spread else abs(value) / 100
    if not scale:
        return f"{value:.3f}" + (" ± 0" if known else "")
    digits = min(6, max(0, 1 - math.floor(math.log10(scale))))
    return f"{value:.{digits}f}" + (f" ± {spread:.{digits}f}" if known else "")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as columns: the first to the left, the others to the right.

    >>> print(aligned([("a", "value"), ("long", "1")]))
    a     value
    long      1
    """
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    rows = [
        [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(row).rstrip() for row in rows)


def _paper(row: Row) -> bool:
    return row.column == "paper"


def _printed(row: Row, data: str, model: str) -> str:
    printed = paper_score(data, model, row.key) if _paper(row) else None
    return "—" if printed is None else f"{printed:g}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
