"""Loss curves draw the losses, all of them and nothing else, with their units."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from drawgan_fast.viz import loss_curves
from drawgan_fast.viz.curves import group_curves, running_mean


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures as they are saved."""
    saved: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args, **kwargs) -> None:
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def records(count: int = 200) -> list[dict[str, float]]:
    return [
        {
            "step": step,
            "images": 64 * step,
            "loss": 500 / (1 + step) + 90,
            "kl": 20.0,
            "discriminator_loss": 1.4,
            "images_per_second": 300.0,
            "grad_norm": 4.0,
        }
        for step in range(1, count + 1)
    ]


def test_labels_units_and_panels(tmp_path: Path, figures: list[Figure]) -> None:
    loss_curves(records(), tmp_path / "loss.png")
    top, bottom = figures[0].axes[:2]
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["loss", "kl"]
    assert [text.get_text() for text in bottom.get_legend().get_texts()] == ["discriminator loss"]
    assert top.get_ylabel() == bottom.get_ylabel() == "nats per image"
    assert "step" in bottom.get_xlabel()
    (images,) = top.child_axes
    assert images.get_xlabel() == "images seen"
    low, high = images.get_xlim()
    assert (low, high) == pytest.approx(tuple(64 * side for side in top.get_xlim()))
    width, height = Image.open(tmp_path / "loss.png").size
    assert min(width, height) > 700


def test_lines_carry_the_values(tmp_path: Path, figures: list[Figure]) -> None:
    rows = [{"step": step, "loss": float(step % 7), "test_loss": 3.0} for step in (1, 2, 5, 9)]
    loss_curves(rows, tmp_path / "loss.png")
    lines = {line.get_label(): line for line in figures[0].axes[0].lines}
    assert lines["loss"].get_xdata().tolist() == [1, 2, 5, 9]
    assert lines["loss"].get_ydata().tolist() == [1, 2, 5, 2]
    assert lines["test loss"].get_linestyle() == "--"


def test_early_values_do_not_flatten_the_rest(tmp_path: Path, figures: list[Figure]) -> None:
    loss_curves(records(), tmp_path / "loss.png")
    assert figures[0].axes[0].get_ylim()[1] < 250  # the first loss is 340


def test_what_is_not_finite_leaves_a_gap(tmp_path: Path) -> None:
    rows = records(50)
    rows[10]["loss"] = math.nan
    rows[20]["loss"] = math.inf
    loss_curves(rows, tmp_path / "loss.svg")
    assert b"<svg" in (tmp_path / "loss.svg").read_bytes()
    _, values = group_curves(rows)["Bound"]["loss"]
    assert np.flatnonzero(np.isnan(values)).tolist() == [10, 20]


@pytest.mark.parametrize("rows", [[{"step": 4, "loss": 1.0}], [{"step": 4, "loss": math.nan}]])
def test_one_value_is_enough(tmp_path: Path, rows) -> None:
    loss_curves(rows, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 5000


@pytest.mark.parametrize("rows", [[], [{"step": 1, "lr": 0.1}], [{"loss": 1.0}]])
def test_nothing_to_draw(tmp_path: Path, rows) -> None:
    with pytest.raises(ValueError, match=f"got {len(rows)} records"):
        loss_curves(rows, tmp_path / "loss.png")
    assert not list(tmp_path.iterdir())


def test_running_mean_against_a_loop() -> None:
    values = np.random.default_rng(0).normal(size=40)
    values[[3, 17]] = np.nan
    for window in (1, 2, 5, 39, 100):
        half = window // 2
        expected = [
            np.nanmean(values[max(0, i - half) : i + half + 1])
            if np.isfinite(values[i])
            else np.nan
            for i in range(40)
        ]
        np.testing.assert_allclose(running_mean(values, window), expected, atol=1e-12)


def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    """A library that opens figures in pyplot leaks them, and may pick a screen backend."""
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    loss_curves(records(), tmp_path / "loss.png")
    assert plt.get_fignums() == before
