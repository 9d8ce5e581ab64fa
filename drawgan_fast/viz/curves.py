"""How the losses went."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drawgan_fast._matplotlib import any_backend
from drawgan_fast.files import write_atomically

# One panel per unit or purpose; a record's keys that stand in none are not losses.
BOUND = ("loss", "total", "reconstruction", "kl", "mmd", "prior", "bound", "elbo")
ADVERSARIAL = ("generator", "discriminator", "adversarial", "gan")

_IMAGES_KEYS = ("images", "images_seen")
_LINES_SHOWN = 400  # of noisy points per curve; the rest is in their running mean


def loss_curves(records: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw every loss in a list of records against the step.

    A key's last part says what it is (``"loss"``, ``"test_kl"``, ``"train/reconstruction"``,
    ``"discriminator_loss"``): what belongs to the bound is drawn in one panel, what belongs to
    the two players of the GAN in a second one. Keys that begin with ``test`` or ``valid`` are
    drawn dashed with a point per value, others as a running mean over 2 % of their values upon
    the values themselves. Values that are not finite leave a gap.

    Args:
        records: each has a whole number ``"step"`` and any of the losses, in nats per image;
            ``"images"`` or ``"images_seen"``, where given, become a second axis on top.
        path: file to write or replace; its suffix (``.png``, ``.svg``, ``.pdf``) is the format.

    Raises:
        ValueError: no record has both a step and a loss.
        DrawganError: the file cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "loss.png"
    >>> loss_curves([{"step": step, "loss": 200 - step, "kl": step} for step in range(50)], path)
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    path = Path(path)
    panels = [(title, curves) for title, curves in group_curves(records).items() if curves]
    if not panels:
        raise ValueError(
            'records hold nothing to draw: expected dicts with "step" and a loss such as '
            f"{', '.join(BOUND[:4])}, got {len(records)} records"
        )
    with any_backend():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 3.6 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, curves) in zip(axes, panels):
        for number, (key, (steps, values)) in enumerate(curves.items()):
            _draw(axis, key, steps, values, f"C{number % 10}")
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_ylabel("nats per image")
        axis.set_ylim(*_view([values for _, values in curves.values()]))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=9)
    axes[-1].set_xlabel("step (one batch of training)")
    _images_axis(axes[0], records)

    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip(".") or "png", dpi=120)
    write_atomically(path, buffer.getvalue())


def group_curves(
    records: Iterable[Mapping[str, Any]],
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Sort the losses of many records into panels.

    Args:
        records: dicts with ``"step"`` and losses.

    Returns:
        panel title -> key -> (steps [m], values [m]), values not finite as NaN.

    >>> groups = group_curves([{"step": 3, "test/kl": 9.0, "discriminator_loss": 1.0, "lr": 0.1}])
    >>> {title: list(curves) for title, curves in groups.items()}
    {'Bound': ['test/kl'], 'Players of the GAN': ['discriminator_loss']}
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {
        "Bound": {},
        "Players of the GAN": {},
    }
    for record in records:
        if not _is_number(record.get("step")):
            continue
        for key, value in record.items():
            words = set(key.lower().replace("/", "_").replace(".", "_").split("_"))
            if not _is_number(value) or words & {"norm", "accuracy", "seconds"}:
                continue
            if words & set(ADVERSARIAL):
                panel = found["Players of the GAN"]
            elif words & set(BOUND):
                panel = found["Bound"]
            else:
                continue
            number = float(value) if math.isfinite(value) else math.nan
            panel.setdefault(key, []).append((float(record["step"]), number))
    return {
        title: {key: tuple(np.array(points).T) for key, points in panel.items()}
        for title, panel in found.items()
    }


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of each value with those around it, shorter at the ends; NaN is left out.

    Args:
        values: float [m].
        window: number of values, ≥ 1; an even one counts as the next odd one.

    >>> running_mean(np.array([0.0, 3.0, 6.0, np.nan]), 3).tolist()
    [1.5, 3.0, 4.5, nan]
    """
    half = window // 2
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    number = np.maximum(counts[last] - counts[first], 1)
    mean: np.ndarray = np.where(finite, (sums[last] - sums[first]) / number, np.nan)
    return mean


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _draw(axis: Any, key: str, steps: np.ndarray, values: np.ndarray, colour: str) -> None:
    label = key.replace("_", " ").replace("/", " ")
    if key.startswith(("test", "valid")):
        axis.plot(steps, values, "o--", color=colour, label=label, markersize=4, linewidth=1.2)
        return
    window = max(1, len(values) // 50)
    if window > 1:
        every = max(1, len(values) // _LINES_SHOWN)
        axis.plot(steps[::every], values[::every], color=colour, alpha=0.25, linewidth=0.8)
    marker = "o" if len(values) == 1 else None  # a line of one point is invisible
    axis.plot(
        steps, running_mean(values, window), color=colour, label=label, marker=marker, linewidth=1.6
    )


def _view(curves: Sequence[np.ndarray]) -> tuple[float, float]:
    """Vertical range of all but the first 2 % of values, which dwarf everything after."""
    kept = np.concatenate([curve[len(curve) // 50 :] for curve in curves])
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return 0.0, 1.0
    low, high = float(kept.min()), float(kept.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _images_axis(axis: Any, records: Sequence[Mapping[str, Any]]) -> None:
    points = sorted(
        (float(record["step"]), float(record[key]))
        for record in records
        for key in _IMAGES_KEYS
        if _is_number(record.get(key)) and _is_number(record.get("step"))
    )
    steps, images = np.array(points).T if points else (np.empty(0), np.empty(0))
    if len(points) < 2 or steps[-1] <= steps[0] or images[-1] <= images[0]:
        return
    # Images per step is constant (one batch), so the two axes are one straight line apart.
    slope = (images[-1] - images[0]) / (steps[-1] - steps[0])
    top = axis.secondary_xaxis(
        "top",
        functions=(
            lambda step: images[0] + (step - steps[0]) * slope,
            lambda image: steps[0] + (image - images[0]) / slope,
        ),
    )
    top.set_xlabel("images seen")
    top.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
