"""The plots of a run: time per step against batch, T, image size and threads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from benchmarks.analysis import Run
from benchmarks.timing import Quantiles
from benchmarks.variants import VARIANTS
from drawgan_fast.files import write_atomically

AXES = {
    "batch": "batch size",
    "T": "time steps T",
    "size": "side of the image, pixels",
    "threads": "threads",
}
# The colours of Okabe and Ito, told apart by everyone.
STYLES = {
    "eager": ("#000000", "o-"),
    "jax": ("#E69F00", "s-"),
    "ours": ("#0072B2", "D-"),
    "ours-bf16": ("#56B4E9", "v-"),
    "floor": ("#999999", "--"),
}

Curve = dict[int, Quantiles]  # value on the axis → milliseconds of a step


def draw(run: Run, folder: Path) -> list[str]:
    """Write ``bench-<axis>.png`` for every axis that was measured.

    Returns:
        The names of the files written.
    """
    names = []
    for axis, title in AXES.items():
        curves = {label: curve(run, axis, label) for label in STYLES}
        curves = {label: points for label, points in curves.items() if points}
        if curves:
            name = f"bench-{axis}.png"
            write_atomically(folder / name, _picture(curves, title, run.quick))
            names.append(name)
    return names


def curve(run: Run, axis: str, label: str) -> Curve:
    """Milliseconds of a step at each value of an axis, where they were measured."""
    points: Curve = {}
    if axis == "threads":
        for entry in run.groups.get("threads/draw-paper", {"entries": []})["entries"]:
            variant, _, count = entry["label"].rpartition(", ")
            if variant == label:
                _add(points, int(count), run.samples("threads/draw-paper", entry["label"]))
        return points
    for key in run.groups:
        if key.startswith(f"sweep/{axis}/"):
            _add(points, int(key.rsplit("/", 1)[1]), run.samples(key, label))
    return dict(sorted(points.items()))


def _add(points: Curve, place: int, seconds: list[float]) -> None:
    if seconds:
        points[place] = Quantiles.of([1e3 * value for value in seconds])


def _picture(curves: dict[str, Curve], title: str, quick: bool) -> bytes:
    # No window system, and no global state that a test or a notebook could share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis: Any = figure.subplots()
    for label, points in curves.items():
        colour, line = STYLES[label]
        places = list(points)
        name = VARIANTS[label].title if label in VARIANTS else "matrix products alone"
        axis.plot(places, [q.p50 for q in points.values()], line, color=colour, label=name)
        low, high = ([getattr(q, p) for q in points.values()] for p in ("p20", "p80"))
        axis.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({place for points in curves.values() for place in points})
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel(title)
    axis.set_ylabel("ms per training step")
    axis.set_title(
        "DRAW, a quick run of small sizes" if quick else "DRAW, the paper's MNIST sizes", loc="left"
    )
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
