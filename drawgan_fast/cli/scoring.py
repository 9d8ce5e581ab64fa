"""What ``evaluate`` and ``compare`` share: data, the evaluator, the bound, the progress line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from drawgan_fast.cli.options import say
from drawgan_fast.errors import DrawganError

if TYPE_CHECKING:
    from drawgan_fast.data import ImageData
    from drawgan_fast.data.pixels import Channels
    from drawgan_fast.metrics import Evaluator, TestBound
    from drawgan_fast.models import GenerativeModel
    from drawgan_fast.training.config import DataSection

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


@dataclass(frozen=True)
class RealImages:
    """Both splits of a run's data, as its model sees them."""

    train: ImageData
    test: ImageData

    def facts(self) -> dict[str, Any]:
        """What the scores were taken on, for machines."""
        from drawgan_fast.training.run_data import fingerprint

        return {"train": fingerprint(self.train), "test": fingerprint(self.test)}


def load_images(
    section: DataSection, *, model: GenerativeModel | None = None, run: Path | None = None
) -> RealImages:
    """Training and test images of a configuration, of ``model``'s size where there is one.

    Raises:
        DrawganError: there are too few to be scored against.
    """
    from drawgan_fast.metrics import SMALLEST
    from drawgan_fast.training.run_data import load_data

    said: set[str] = set()

    def say_once(line: str) -> None:  # both splits have the same to say
        if line not in said:
            said.add(line)
            say(line)

    size = None if model is None else model.image_size
    channels: Channels = "auto" if model is None else cast("Channels", model.channels)
    train, test = (
        load_data(section, say_once, split=split, size=size, channels=channels, run=run)
        for split in SPLITS
    )
    if min(len(train), len(test)) < SMALLEST:
        raise DrawganError(
            f"{section.name} has {len(train)} training and {len(test)} test images, and scores "
            f"need {SMALLEST} of each: add images (a tenth is kept for testing, so 35 are enough), "
            "or put at least so many into train/ and test/"
        )
    return RealImages(train, test)


def make_evaluator(
    real: RealImages, *, n: int, seeds: int, progress: Callable[[str, int, int], None]
) -> Evaluator:
    """The real side of the scores."""
    from drawgan_fast.metrics import Evaluator

    return Evaluator(
        real.test.images,
        real.train.images,
        test_labels=real.test.labels,
        train_labels=real.train.labels,
        n_standard=n,
        seeds=range(seeds),
        progress=progress,
    )


def generator_of(model: GenerativeModel) -> Callable[[int, int], torch.Tensor]:
    """The callable that an evaluator draws images from: (n, seed) → [n, C, H, W]."""

    def generate(n: int, seed: int) -> torch.Tensor:
        return model.generate(n, generator=torch.Generator().manual_seed(seed))

    return generate


def bound_of(
    model: GenerativeModel,
    test: ImageData,
    *,
    images: int,
    samples: int,
    progress: Callable[[str, int, int], None],
) -> TestBound | None:
    """Test bound on binarised images in nats; None for a model that has no bound."""
    from drawgan_fast.metrics import test_bound

    # Fixed binarisation: the same pixels for every model and every call.
    pixels = next(test.batches(min(images, len(test)), epoch=0, seed=0, binarise="fixed"))
    torch.manual_seed(0)
    try:
        return test_bound(
            model.log_weight,
            pixels,
            samples=samples,
            progress=lambda done, total: progress("test bound", done, total),
        )
    except NotImplementedError:
        return None


@contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on a terminal, a line per change of task elsewhere; both on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        said: set[str] = set()

        def plain(what: str, done: int, total: int) -> None:
            key = f"{what}, {done} of {total}" if total <= 20 else what
            if key not in said:
                said.add(key)
                say(key)

        yield plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=done, total=total
        )
