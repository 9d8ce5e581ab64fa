"""The measurement of third-party code, on a stand-in written for this test."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import third_party
from benchmarks.third_party_models import IMPLEMENTATIONS, Implementation, last_of_cs, load
from tests.support.other_draws import Lists

SOURCE = "import torchvision.utils as vutils\nfrom tqdm import tqdm\nfrom config import T\n"


def test_what_is_not_installed_is_stubbed_while_a_file_is_imported(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text("T = 7\n")
    (tmp_path / "theirs.py").write_text(SOURCE)
    before = {name: sys.modules.get(name) for name in ("torchvision", "tqdm")}
    module = load(tmp_path / "theirs.py")
    assert module.T == 7
    assert {name: sys.modules.get(name) for name in before} == before
    if importlib.util.find_spec("tqdm") is None:
        assert "MagicMock" in type(module.tqdm).__name__


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Implementation:
    monkeypatch.setattr(third_party, "CURVE_STEPS", 12)
    # Its layers have nobody's names, so the checkpoint is another test's.
    monkeypatch.setattr(third_party, "checkpoint_error", lambda *_: 0.0)
    build = lambda folder, device: (Lists(A=8, B=8), lambda model, x: model.loss(x))  # noqa: E731
    return Implementation("us/stand-in", "8x8", (1, 8, 8), 4, build, 5.0, 3, last_of_cs)


def test_a_row_and_its_table(stand_in: Implementation, tmp_path: Path) -> None:
    (tmp_path / "COMMIT").write_text("0123456789abcdef\n")
    row = third_party.measure(stand_in, tmp_path, torch.device("cpu"), rounds=1, threads=1)
    for variant in ("replaced", "fused"):
        assert row[f"{variant} outputs"] < 1e-5
        assert row[f"{variant} gradients"] < 1e-5
        assert row[f"{variant} curve"] < 1e-4
        assert 0 < row["own curve"] < 1e-4
        assert row[f"{variant} speed-up"] > 0
        assert row[f"{variant} processor speed-up"] > 0
    found = {"environment": third_party.environment(), "threads": 1, "rows": [row]}
    json.dumps(found)
    page = f"before\n{third_party.BEGIN}\nold\n{third_party.END}\nafter\n"
    new = third_party.renewed(page, found)
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert "old" not in new
    assert "us/stand-in `0123456789ab`" in new
    assert third_party.renewed(new, found) == new


def test_an_error_is_seen() -> None:
    """The seeded bug: one tensor that is a ten-thousandth off."""
    theirs = {"a": torch.ones(4), "b": torch.arange(4.0)}
    assert third_party.largest_error(theirs, theirs) == 0
    ours = {**theirs, "b": theirs["b"] * 1.0001}
    assert third_party.largest_error(ours, theirs) == pytest.approx(1e-4, rel=1e-2)


def test_the_table_in_the_docs_is_of_the_numbers_beside_it() -> None:
    numbers = third_party.PAGE.with_name("third_party.json")
    found = json.loads(numbers.read_text())
    page = third_party.PAGE.read_text()
    assert third_party.renewed(page, found) == page
    measured = {row["repository"] for row in found["rows"]}
    assert measured <= {one.repository for one in IMPLEMENTATIONS}
    owners = {name.split("/")[0] for name in measured}
    assert owners >= {"Natsu6767", "dingwen07", "kamenbliznashki"}
    for row in found["rows"]:
        for variant in ("replaced", "fused"):
            assert row[f"{variant} outputs"] < 1e-5
            assert row[f"{variant} gradients"] < 1e-5
