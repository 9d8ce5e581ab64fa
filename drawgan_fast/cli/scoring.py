"""What ``evaluate`` and ``compare`` share: data, the evaluator, the bound, the progress line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drawgan_fast.cli.options import say

if TYPE_CHECKING:
    from drawgan_fast.metrics import Evaluator, TestBound
    from drawgan_fast.models import GenerativeModel
    from drawgan_fast.training import Config


def make_evaluator(
    config: Config,
    *,
    data_dir: Path | None,
    download: bool,
    n: int,
    seeds: int,
    progress: Callable[[str, int, int], None],
) -> Evaluator:
    """The real side of the scores, from the data that a run was trained on."""
    from drawgan_fast.metrics import Evaluator

    test, train = (
        load_split(config, split, data_dir=data_dir, download=download)
        for split in ("test", "train")
    )
    return Evaluator(
        test.images,
        train.images,
        test_labels=test.labels,
        train_labels=train.labels,
        n_standard=n,
        seeds=range(seeds),
        progress=progress,
    )


def load_split(config: Config, split: Any, *, data_dir: Path | None, download: bool) -> Any:
    """A split of the run's data at the run's size; ``data_dir`` wins over the run's own."""
    from drawgan_fast.data import load

    folder = data_dir if data_dir is not None else config.data.data_dir
    return load(
        config.data.name,
        split,
        data_dir=None if folder is None else Path(folder),
        download=download and config.data.download,
        size=config.data.size,
        notify=say,
    )


def generator_of(model: GenerativeModel) -> Callable[[int, int], torch.Tensor]:
    """The callable that an evaluator draws images from: (n, seed) → [n, C, H, W]."""

    def generate(n: int, seed: int) -> torch.Tensor:
        return model.generate(n, generator=torch.Generator().manual_seed(seed))

    return generate


def bound_of(
    model: GenerativeModel,
    config: Config,
    *,
    data_dir: Path | None,
    download: bool,
    images: int,
    samples: int,
    progress: Callable[[str, int, int], None],
) -> TestBound | None:
    """Test bound on binarised images in nats; None for a model that has no bound."""
    from drawgan_fast.metrics import test_bound

    test = load_split(config, "test", data_dir=data_dir, download=download)
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
