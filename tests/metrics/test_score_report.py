from __future__ import annotations

import dataclasses
import json
import math

import pytest

from drawgan_fast.metrics import PAPER_TABLES, Report, Row, TestBound, comparison_table
from drawgan_fast.metrics.report import comparison_cells, comparison_text, number


def report(fid: float = 718.4, floor: float = 548.2) -> Report:
    rows = (
        Row("mmd", "MMD", "paper", "lower", 0.1075, 0.0010, 0.0366, 0.0017, 640),
        Row("fid", "FID", "paper", "lower", fid, 10.2, floor, 7.5, 640),
        Row("kid", "KID", "standard", "lower", math.nan, None, 0.02, None, 10_000),
    )
    return Report("VAE", rows, seeds=(0, 1, 2), notes=("Features: shipped.",), seconds={"MMD": 1.5})


def test_text_has_values_spread_floor_and_the_papers_figure() -> None:
    lines = report().text(data="mnist", model="vae").splitlines()
    fid = next(line for line in lines if line.startswith("FID"))
    assert fid.split() == ["FID", "lower", "718", "±", "10", "548.2", "±", "7.5", "640", "799.68"]
    kid = next(line for line in lines if line.startswith("KID"))
    assert kid.split() == ["KID", "lower", "—", "0.02000", "10,000", "—"]
    assert lines[-1] == "Features: shipped."
    assert "799.68" not in report().text()


def test_rich_table_has_the_same_cells() -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report().table(data="mnist", model="draw-gan"))
    console.print(comparison_table({"vae": report()}))
    text = console.export_text()
    for cell in ("718 ± 10", "548.2 ± 7.5", "701.55", "10,000", "Features: shipped.", "799.68"):
        assert cell in text, cell


def test_json_has_no_nan_and_comes_back() -> None:
    bound = TestBound(-90.5, 0.4, -88.0, 0.4, samples=10, n=10_000)
    original = dataclasses.replace(report(), bound=bound)
    values = json.loads(original.to_json(), parse_constant=pytest.fail)
    assert values["rows"][2]["value"] is None
    back = Report.from_json(original.to_json())
    assert back.bound == bound
    assert math.isnan(back["standard/kid"].value)
    assert back.rows[:2] == original.rows[:2]
    assert "ELBO -90.50 ± 0.40 nats" in back.text()
    assert "10 samples: -88.00 ± 0.40 nats" in back.text()


def test_comparison_is_table_one_beside_the_measured() -> None:
    head, lines = comparison_cells({"vae": report(), "draw-gan": report(690.0)})
    assert head == ("model", "MMD", "paper", "FID", "paper")
    assert lines[0] == ("vae", "0.1075 ± 0.0010", "0.1464", "718 ± 10", "799.68")
    assert lines[1][3:] == ("690 ± 10", "701.55")
    assert lines[2] == ("real vs real", "0.0366 ± 0.0017", "—", "548.2 ± 7.5", "—")
    telugu = comparison_text({"draw": report()}, data="telugu")
    assert "1889.25" in telugu
    assert "1889.25" not in comparison_text({"draw": report()}, data="letters")


def test_paper_tables_have_the_printed_order() -> None:
    for table in PAPER_TABLES.values():
        order = ["info-vae", "vae", "draw", "draw-gan"]
        assert sorted(table, key=lambda model: -table[model].fid) == order
        assert sorted(table, key=lambda model: table[model].knn) == order


def test_unknown_score_names_what_there_is() -> None:
    with pytest.raises(KeyError, match="paper/fid, standard/kid"):
        report()["paper/inception"]
    assert "paper/fid" in report()


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (552.04, 5.1, "552.0 ± 5.1"),
        (0.227, 0.0, "0.2270 ± 0.0000"),
        (1e-9, 2e-9, "0.000000 ± 0.000000"),
        (0.0, None, "0.000"),
        (1857.3, None, "1857"),
        (math.inf, 1.0, "—"),
    ],
)
def test_numbers_have_the_digits_their_spread_leaves(
    value: float, spread: float | None, text: str
) -> None:
    assert number(value, spread) == text
