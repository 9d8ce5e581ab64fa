"""Pictures of a run: sample grids, loss curves and the canvas being painted."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drawgan_fast.training.files import write_atomically
from drawgan_fast.training.metrics_log import read_metrics
from drawgan_fast.training.optimizers import AveragedWeights
from drawgan_fast.training.seeds import SAMPLE_STREAM, mix

if TYPE_CHECKING:
    from drawgan_fast.models import GenerativeModel

#: Canvases in the animation.
ANIMATED = 16


def sample_generator(seed: int) -> torch.Generator:
    """The noise of a run's pictures: the same in each, so that one sees the same digits form.

    On the CPU, so that the pictures of a run do not depend on its device's generator.
    """
    return torch.Generator().manual_seed(mix(seed, SAMPLE_STREAM))


def _weights(average: AveragedWeights | None) -> AbstractContextManager[None]:
    return average.applied() if average is not None else nullcontext()


def write_samples(
    model: GenerativeModel, average: AveragedWeights | None, path: Path, *, n: int, seed: int
) -> None:
    """Write a grid of ``n`` samples as PNG.

    Raises:
        DrawganError: the disk refuses.
    """
    from drawgan_fast.viz import image_grid

    with _weights(average):
        images = model.generate(n, generator=sample_generator(seed))  # [n, C, H, W]
    buffer = io.BytesIO()
    image_grid(images.cpu()).save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())


def write_curves(metrics: Path, path: Path) -> None:
    """Write the loss curves of a metrics file as PNG."""
    from drawgan_fast.viz import loss_curves

    records = read_metrics(metrics)
    if records:
        loss_curves(records, path)


def write_animation(
    model: GenerativeModel, average: AveragedWeights | None, path: Path, *, seed: int
) -> bool:
    """Write the canvas being painted, with its windows, as GIF; False for models without canvas."""
    trace_of: Any = getattr(model, "generate_trace", None)
    if trace_of is None:
        return False
    from drawgan_fast.viz import canvas_animation

    with _weights(average), torch.no_grad():
        _, trace = trace_of(ANIMATED, generator=sample_generator(seed))
    arguments = model.config()
    canvas_animation(
        trace.canvases,
        path,
        write_windows=trace.write_windows,
        write_size=arguments["write_size"],
    )
    return True
