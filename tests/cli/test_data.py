"""One door to the data: the same pixels for every command, named again where they have moved."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawgan_fast.training import find_checkpoint, load_checkpoint, load_model, read_config

SCORES = ["--n", "4", "--seeds", "1", "--bound-images", "4"]
VAE = [
    *("--model", "vae", "--set", "train.steps=2", "--set", "train.batch_size=4"),
    *("--set", "train.tensorboard=false", "--no-download"),
]


def images(folder: Path, sizes: list[tuple[int, int]], seed: int = 0) -> Path:
    """A folder of one grey PNG for each size (H, W)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{number:02}.png")
    return folder


def header(run: Path) -> dict[str, Any]:
    return load_checkpoint(find_checkpoint(run)).header


@pytest.fixture
def run(drawgan, tmp_path: Path) -> Path:
    """A run on a folder that was named by a relative path."""
    images(tmp_path / "data", [(8, 8)] * 40)
    outcome = drawgan("train", *VAE, "--data", "data", "--out", "run")
    assert outcome.code == 0, outcome.err
    return tmp_path / "run"


@pytest.mark.parametrize("sizes", ["small", "differing"])
def test_train_evaluate_and_compare_see_the_same_bytes(drawgan, tmp_path: Path, sizes: str) -> None:
    """Padded by one and scaled by the other, and refused by the first, they were."""
    data = images(
        tmp_path / "data", [(10, 10)] * 40 if sizes == "small" else [(5, 20), (25, 11)] * 20
    )
    given = ["--data", data, "--set", "data.size=13"]
    assert (outcome := drawgan("train", *VAE, *given, "--out", "run")).code == 0, outcome.err
    trained_on = header(tmp_path / "run")["data"]
    outcome = drawgan("evaluate", "run", *SCORES, "--json")
    assert outcome.code == 0, outcome.err
    scored_on = json.loads(outcome.out)["data"]
    assert scored_on["train"] == trained_on
    outcome = drawgan(
        *("compare", *given, "--steps", "2", "--out", "all", "--no-download"),
        *(*SCORES[:4], "--set", "train.batch_size=4", "--set", "train.tensorboard=false"),
        *("--set", "train.animation=false", "--set", "model.draw.steps=2"),
        *("--set", "model.draw-gan.steps=2", "--set", "model.info-vae.hidden_size=16"),
    )
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "all" / "comparison.json").read_text())["data"] == scored_on
    for model in ("vae", "info-vae", "draw", "draw-gan"):
        assert header(tmp_path / "all" / model)["data"] == trained_on


class TestMovedData:
    def test_a_run_is_used_from_anywhere(
        self, drawgan, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert read_config(run).data.name == str(tmp_path / "data")
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        assert (outcome := drawgan("evaluate", run, *SCORES)).code == 0, outcome.err
        outcome = drawgan("train", "--resume", run, "--set", "train.steps=3")
        assert outcome.code == 0, outcome.err

    def test_a_run_of_before_with_a_relative_path(self, drawgan, run: Path, tmp_path: Path) -> None:
        text = (run / "config.toml").read_text().replace(f'"{tmp_path / "data"}"', '"data"')
        (run / "config.toml").write_text(text)
        assert read_config(run).data.name == "data"
        assert (outcome := drawgan("evaluate", run, *SCORES)).code == 0, outcome.err
        outcome = drawgan("train", "--resume", run, "--set", "train.steps=3")
        assert outcome.code == 0, outcome.err
        assert read_config(run).data.name == str(tmp_path / "data")

    def test_moved_data_is_named_again_and_resumes_bit_for_bit(
        self, drawgan, run: Path, tmp_path: Path
    ) -> None:
        still = tmp_path / "still"
        shutil.copytree(run, still)
        assert drawgan("train", "--resume", still, "--set", "train.steps=4").code == 0
        (tmp_path / "data").rename(tmp_path / "moved")
        for command in (["evaluate", run, *SCORES], ["train", "--resume", run]):
            outcome = drawgan(*command)
            assert outcome.code == 2
            assert str(tmp_path / "data") in outcome.err
            assert "--data" in outcome.err
        assert (outcome := drawgan("evaluate", run, *SCORES, "--data", "moved")).code == 0
        outcome = drawgan("train", "--resume", run, "--data", "moved", "--set", "train.steps=4")
        assert outcome.code == 0, outcome.err
        one, other = (load_checkpoint(find_checkpoint(folder)) for folder in (run, still))
        assert one.step == other.step == 4
        assert all(tensor.equal(other.tensors[name]) for name, tensor in one.tensors.items())
        # The run remembers.
        assert read_config(run).data.name == str(tmp_path / "moved")
        assert (outcome := drawgan("evaluate", run, *SCORES)).code == 0, outcome.err

    def test_other_images_are_refused(self, drawgan, run: Path, tmp_path: Path) -> None:
        images(tmp_path / "other", [(8, 8)] * 40, seed=1)
        outcome = drawgan("train", "--resume", run, "--data", "other", "--set", "train.steps=3")
        assert outcome.code == 1
        assert "trained on other images" in outcome.err
        assert read_config(run).data.name == str(tmp_path / "data")
        outcome = drawgan("evaluate", run, *SCORES, "--data", "other")
        assert outcome.code == 1
        assert "--other-data" in outcome.err
        outcome = drawgan("evaluate", run, *SCORES, "--data", "other", "--other-data")
        assert outcome.code == 0, outcome.err
        assert "The model was trained on other images: 36 of 'data' then" in outcome.out

    def test_other_images_are_brought_to_the_models_size(
        self, drawgan, run: Path, tmp_path: Path
    ) -> None:
        images(tmp_path / "other", [(20, 12)] * 40)
        outcome = drawgan("evaluate", run, *SCORES, "--data", "other", "--other-data")
        assert outcome.code == 0, outcome.err

    def test_options_that_contradict_each_other(self, drawgan, run: Path) -> None:
        for command in (["train"], ["evaluate", run], ["compare"], ["train", "--resume", run]):
            outcome = drawgan(*command, "--data", "data", "--data-dir", "data")
            assert outcome.code == 2
            assert "leave one away" in outcome.err

    def test_a_path_that_is_no_utf8(
        self, drawgan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It cannot stand in the run's config.toml."""
        folder = images(tmp_path / os.fsdecode(b"caf\xe9"), [(8, 8)] * 40)
        monkeypatch.chdir(folder)
        for data in (".", folder):
            outcome = drawgan("train", *VAE, "--data", data, "--out", "run")
            assert outcome.code == 2
            assert "caf\\udce9" in outcome.err
            assert "is no UTF-8" in outcome.err
        assert not (folder / "run").exists()

    def test_resume_takes_the_folder_of_the_digits(
        self, drawgan, run_folder: Path, tmp_path: Path
    ) -> None:
        """It was ignored without a word."""
        outcome = drawgan("train", "--resume", run_folder, "--data-dir", tmp_path / "nowhere")
        assert outcome.code == 1
        assert "nowhere" in outcome.err


class TestCopiedCheckpoint:
    def test_from_its_own_folder(self, drawgan, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(run / "checkpoints")
        name = find_checkpoint(run).name
        assert (outcome := drawgan("evaluate", name, *SCORES)).code == 0, outcome.err
        outcome = drawgan("sample", name, "--n", "4")
        assert outcome.code == 0, outcome.err
        assert (run / "samples" / "grid.png").is_file()
        assert read_config(Path(name)) == read_config(run)
        assert load_model(name).image_size == (8, 8)
        outcome = drawgan("train", "--resume", name, "--set", "train.steps=4")
        assert outcome.code == 0, outcome.err

    def test_copied_away_it_says_itself_what_it_is(
        self, drawgan, run: Path, tmp_path: Path
    ) -> None:
        lone = tmp_path / "deep" / "lone.safetensors"
        lone.parent.mkdir()
        shutil.copy(find_checkpoint(run), lone)
        assert (outcome := drawgan("evaluate", lone, *SCORES)).code == 0, outcome.err
        outcome = drawgan("sample", lone, "--n", "4")
        assert outcome.code == 0, outcome.err
        assert (lone.parent / "samples" / "grid.png").is_file()
        assert {path.name for path in tmp_path.iterdir()} == {"deep", "data", "run"}
        assert read_config(lone) == read_config(run)
        outcome = drawgan("train", "--resume", lone)
        assert outcome.code == 2
        assert "outside of its run folder" in outcome.err


class TestSmallAndOdd:
    """A sentence or scores, never a traceback."""

    @pytest.mark.parametrize("count", [2, 5, 34])
    def test_too_few_images_to_score(self, drawgan, tmp_path: Path, count: int) -> None:
        images(tmp_path / "data", [(8, 8)] * count)
        few = ["--data", "data", "--set", "train.batch_size=1"]
        assert (outcome := drawgan("train", *VAE, *few, "--out", "run")).code == 0, outcome.err
        for command in (["evaluate", "run", *SCORES], ["compare", *few, "--no-download"]):
            outcome = drawgan(*command)
            assert outcome.code == 1, outcome.err
            assert "scores need 4 of each" in outcome.err
            assert "Traceback" not in outcome.err
        assert not (tmp_path / "runs").exists()

    def test_a_batch_larger_than_the_data(self, drawgan, tmp_path: Path) -> None:
        images(tmp_path / "data", [(8, 8)] * 40)
        outcome = drawgan("compare", "--data", "data", "--no-download", *SCORES[:4])
        assert outcome.code == 2
        assert "train.batch_size = 64 is more than the 36 images" in outcome.err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize("labels", ["negative", "huge"])
    def test_labels_that_are_no_classes(self, drawgan, tmp_path: Path, labels: str) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
        marks = np.arange(40) % 2 * 2 - 1 if labels == "negative" else np.arange(40) * 10**9
        np.savez(tmp_path / "data.npz", images=pixels, labels=marks)
        for command in (["train", *VAE], ["compare", "--no-download"]):
            outcome = drawgan(*command, "--data", "data.npz")
            assert outcome.code == 1
            assert "expected classes counted from 0" in outcome.err
            assert "Traceback" not in outcome.err

    def test_one_class_teaches_a_classifier_nothing(self, drawgan, tmp_path: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
        np.savez(tmp_path / "data.npz", images=pixels, labels=np.zeros(40, int))
        outcome = drawgan("train", *VAE, "--data", "data.npz", "--out", "run")
        assert outcome.code == 0, outcome.err
        outcome = drawgan("evaluate", "run", *SCORES)
        assert outcome.code == 0, outcome.err
        assert "one class only" in outcome.out
        assert "KID" not in outcome.out

    @pytest.mark.parametrize("kind", ["black", "one pixel", "alike", "line"])
    def test_odd_images_are_trained_on_and_scored(self, drawgan, tmp_path: Path, kind: str) -> None:
        rng = np.random.default_rng(0)
        pixels = {
            "black": np.zeros((40, 8, 8), np.uint8),
            "one pixel": rng.integers(0, 256, (40, 1, 1), np.uint8),
            "alike": np.tile(rng.integers(0, 256, (1, 8, 8), np.uint8), (40, 1, 1)),
            "line": rng.integers(0, 256, (40, 1, 9), np.uint8),
        }[kind]
        np.save(tmp_path / "data.npy", pixels)
        outcome = drawgan("train", *VAE, "--data", "data.npy", "--out", "run")
        assert outcome.code == 0, outcome.err
        outcome = drawgan("evaluate", "run", *SCORES)
        assert outcome.code == 0, outcome.err
