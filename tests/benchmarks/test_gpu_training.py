"""The GPU benchmark's training, on what a CPU can do in seconds."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from benchmarks.gpu import training
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.render import render
from benchmarks.gpu.targets import Trained
from drawgan_fast.data import ImageData
from drawgan_fast.models.draw import DRAW


def few_digits(split: str) -> ImageData:
    """Bright squares on black: quick to learn."""
    images = torch.zeros(256 if split == "train" else 40, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 2:6, 2:6] = 255
    return ImageData(images, None, split, "Squares, made by a test.")


def small() -> DRAW:
    return DRAW((8, 8), steps=3, hidden_size=16, latent_size=4, write_size=3)


def test_it_learns_and_says_how_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_mnist", few_digits)
    kept: list[dict[str, Any]] = []
    untrained = training.bound(small(), few_digits("test"), "cpu")
    training.run(Deadline(4.0), kept.append, "cpu", small())
    before, found = kept
    assert "nats" not in before  # an evaluation that is killed leaves the training's facts
    assert found | before == found
    assert found["steps"] > 20
    assert found["epochs"] == pytest.approx(found["steps"] / 2)
    assert found["nats"] < 0.8 * untrained
    assert math.isfinite(found["loss"])
    assert found["backends"] == ["native"]
    record = {"environment": None, "stages": {"training": {"status": "done", "result": found}}}
    assert Trained("").measured(record).startswith(f"{found['nats']:.2f} nats")
    assert "Squares, made by a test." in render(record)


def test_a_loss_that_is_not_finite_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_mnist", few_digits)
    monkeypatch.setattr(training, "LOOK", 1)
    broken = small()
    with torch.no_grad():
        broken.core.patch.bias.fill_(math.nan)
    with pytest.raises(RuntimeError, match="the loss is nan after 1 steps"):
        training.run(Deadline(4.0), lambda found: None, "cpu", broken)
