"""The command line as a stranger meets it: a small run, and one sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import TINY

COMMANDS = ["train", "evaluate", "sample", "compare", "info"]


def test_train_says_where_the_digits_come_from(drawgan, tmp_path: Path) -> None:
    outcome = drawgan("train", *TINY, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "shipped" in outcome.err
    assert outcome.out.strip() == str(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.toml", "environment.json", "metrics.jsonl", "checkpoints", "samples"} <= names


def test_sample_writes_a_grid_and_a_drawing(drawgan, run_folder: Path, tmp_path: Path) -> None:
    outcome = drawgan("sample", run_folder, "--n", "9", "--out", tmp_path / "pictures")
    assert outcome.code == 0, outcome.err
    grid, painting = (Path(line) for line in outcome.out.splitlines())
    assert np.asarray(Image.open(grid)).std() > 0
    assert Image.open(painting).n_frames >= 2
    again = drawgan("sample", run_folder, "--n", "9", "--out", tmp_path / "again")
    assert Path(again.out.splitlines()[0]).read_bytes() == grid.read_bytes()
    other = drawgan("sample", run_folder, "--n", "9", "--seed", "1", "--out", tmp_path / "other")
    assert Path(other.out.splitlines()[0]).read_bytes() != grid.read_bytes()


def test_evaluate_prints_both_columns_and_the_bound(drawgan, run_folder: Path) -> None:
    small = ["--n", "60", "--seeds", "2", "--bound-images", "20", "--bound-samples", "3"]
    outcome = drawgan("evaluate", run_folder, *small, "--no-download")
    assert outcome.code == 0, outcome.err
    for word in ("paper's", "standard", "real vs real", "nats", "3 samples", "K-NN", "Bayes"):
        assert word.lower() in outcome.out.lower(), word
    result = json.loads(drawgan("evaluate", run_folder, *small, "--no-download", "--json").out)
    assert result["bound"]["n"] == 20
    assert -result["bound"]["elbo"] > 100  # an untrained network is far from any digit
    assert result["bound"]["importance_weighted"] >= result["bound"]["elbo"]
    assert {row["column"] for row in result["rows"]} == {"paper", "standard"}


def test_info_gives_reasons(drawgan) -> None:
    facts = json.loads(drawgan("info", "--json").out)
    assert facts["backends"]["reference"] is None
    assert "torch" in facts["versions"]
    assert "reference: available" in drawgan("info").out


def test_compare_trains_all_four_and_prints_the_papers_table(drawgan, tmp_path: Path) -> None:
    budget = ["--steps", "2", "--n", "40", "--seeds", "1", "--no-download"]
    quick = ["--set", "train.batch_size=8", "--set", "train.tensorboard=false"]
    outcome = drawgan("compare", *budget, *quick, "--out", tmp_path / "all")
    assert outcome.code == 0, outcome.err
    for name in ("vae", "info-vae", "draw", "draw-gan"):
        assert (tmp_path / "all" / name / "metrics.jsonl").exists()
    for printed in ("0.0963", "701.55", "training time"):
        assert printed in outcome.out
    assert set(json.loads((tmp_path / "all" / "comparison.json").read_text())["seconds"]) == {
        "vae",
        "info-vae",
        "draw",
        "draw-gan",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(drawgan, command: str) -> None:
    outcome = drawgan(command, "--help")
    assert outcome.code == 0
    assert "Usage" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--preset", "quik"], 2, ["'quik'", "quick"]),
        (["train", "--model", "drwa"], 2, ["'drwa'", "draw"]),
        (["train", "--set", "train.step=3"], 2, ["train.step", "steps"]),
        (["train", "--set", "train.steps=many"], 2, ["train.steps", "many"]),
        (["train", "--set", "model.spec=papr"], 2, ["papr", "paper"]),
        (["train", "--config", "absent.toml"], 2, ["absent.toml"]),
        (["train", "--data", "no/such/folder"], 2, ["no/such/folder"]),
        (["train", "--data-dir", "absent"], 1, ["absent"]),
        (["train", "--resume", "absent"], 2, ["absent"]),
        (["train", "--resume", "absent", "--preset", "quick"], 2, ["--resume", "--preset"]),
        (["evaluate", "absent"], 2, ["absent"]),
        (["sample", "absent"], 2, ["absent"]),
        (["compare", "--data", "absent"], 2, ["absent"]),
        (["paint"], 2, ["paint"]),
        (["train", "--colour"], 2, ["--colour"]),
    ],
)
def test_mistakes_get_one_sentence(
    drawgan, arguments: list[str], code: int, says: list[str], tmp_path: Path
) -> None:
    outcome = drawgan(*arguments)
    assert outcome.code == code, outcome.err
    assert "Traceback" not in outcome.err
    for word in says:
        assert word in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(drawgan, run_folder: Path) -> None:
    before = (run_folder / "metrics.jsonl").read_bytes()
    outcome = drawgan("train", *TINY, "--out", run_folder)
    assert outcome.code == 2
    assert "--resume" in outcome.err
    assert (run_folder / "metrics.jsonl").read_bytes() == before
    assert drawgan("compare", "--out", run_folder).code == 2


def test_a_damaged_checkpoint_is_named(drawgan, run_folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    newest = sorted((copy / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    outcome = drawgan("sample", newest)
    assert outcome.code == 1
    assert newest.name in outcome.err
    assert "Traceback" not in outcome.err
