"""Pictures of a run: sample grids, loss curves and the canvas being painted."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from drawgan_fast.errors import DrawganError, first_line
from drawgan_fast.files import write_atomically
from drawgan_fast.training.metrics_log import read_metrics
from drawgan_fast.training.optimizers import AveragedWeights
from drawgan_fast.training.seeds import SAMPLE_STREAM, mix

if TYPE_CHECKING:
    from drawgan_fast.models import DRAW, DRAWGAN, GenerativeModel

#: Canvases in an animation.
ANIMATED = 16


def sample_generator(seed: int) -> torch.Generator:
    """The noise of a run's pictures: the same in each, so that one sees the same digits form.

    On the CPU, so that the pictures of a run do not depend on its device's generator.
    """
    return torch.Generator().manual_seed(mix(seed, SAMPLE_STREAM))


@contextmanager
def for_looking_at(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """A picture is made in the block; if it cannot be, that is said, and the run goes on.

    What a run is for is its weights and numbers: neither a full disk nor a library for pictures
    that does not work ends it here. A disk that takes no checkpoint does, at the checkpoint.

    >>> with for_looking_at(Path("losses.png"), print):
    ...     raise ImportError("no FreeType")
    losses.png was not made: no FreeType
    """
    try:
        yield
    except Exception as error:
        reason = first_line(error)
        said = f"{path} was not made: {reason}"
        say(reason if isinstance(error, DrawganError) and str(path) in reason else said)


def averaged(average: AveragedWeights | None) -> AbstractContextManager[None]:
    """The averaged weights within the block, where a run has them."""
    return average.applied() if average is not None else nullcontext()


def write_samples(
    model: GenerativeModel, average: AveragedWeights | None, path: Path, *, n: int, seed: int
) -> None:
    """Write a grid of ``n`` samples as PNG.

    Raises:
        DrawganError: the disk refuses.
    """
    from drawgan_fast.viz import image_grid

    with averaged(average):
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


def write_generation(
    model: GenerativeModel, path: Path, *, n: int, generator: torch.Generator
) -> bool:
    """Write n prior samples being painted, with the write windows, as GIF.

    Returns:
        False, and writes nothing, for a model that has no canvas.
    """
    if not _paints(model):
        return False
    from drawgan_fast.viz import canvas_animation

    _, trace = model.generate_trace(n, generator=generator)
    canvas_animation(
        trace.canvases,
        path,
        write_windows=trace.write_windows,
        write_size=model.config()["write_size"],
    )
    return True


def write_reconstruction(
    model: GenerativeModel,
    path: Path,
    x: Tensor,  # [n, C, H, W]
    *,
    generator: torch.Generator,
) -> bool:
    """Write images being read and painted again, with both windows, as GIF; like the other."""
    if not _paints(model):
        return False
    from drawgan_fast.viz import canvas_animation

    _, trace = model.reconstruct_trace(x, model.noise(x.shape[0], generator))
    arguments = model.config()
    canvas_animation(
        trace.canvases,
        path,
        read_windows=trace.read_windows,
        write_windows=trace.write_windows,
        read_size=arguments["read_size"],
        write_size=arguments["write_size"],
    )
    return True


def _paints(model: GenerativeModel) -> TypeGuard[DRAW | DRAWGAN]:
    from drawgan_fast.models import DRAW, DRAWGAN

    return isinstance(model, (DRAW, DRAWGAN))
