"""What a run needs before its first step: device, backend, threads and length, each checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from drawgan_fast.errors import UsageError
from drawgan_fast.training.config import Config

if TYPE_CHECKING:
    from drawgan_fast.data import ImageData


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is the first CUDA device, or else the CPU.

    Raises:
        UsageError: torch knows no such device, or it is not there.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # one that holds no numbers, such as meta, raises
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"train.device = {name!r} cannot be used here: {reason}; give 'auto' or 'cpu'"
        ) from None
    return device


@contextlib.contextmanager
def backend_in_use(name: str) -> Iterator[None]:
    """The operators' backend within the block; "auto" leaves the choice as it is.

    Raises:
        UsageError: there is no such backend, or it cannot run here; the reason is given.
    """
    if name == "auto":
        yield
        return
    from drawgan_fast.backends import BackendError, use_backend

    try:
        forced = use_backend(name)
    except (ValueError, BackendError) as error:
        raise UsageError(f"train.backend = {name!r} cannot be used here: {error}") from None
    with forced:
        yield


@contextlib.contextmanager
def threads_in_use(count: int) -> Iterator[None]:
    """Torch's CPU threads within the block; 0 leaves them as they are."""
    before = torch.get_num_threads()
    if count > 0:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_length(config: Config, data: ImageData) -> tuple[int, int]:
    """Steps of an epoch and of the whole run.

    Raises:
        UsageError: there are fewer images than one batch.
    """
    per_epoch = data.batch_count(config.train.batch_size)
    if per_epoch == 0:
        raise UsageError(
            f"train.batch_size = {config.train.batch_size} is more than the {len(data)} images of "
            f"{data.name!r}; give at most {len(data)}"
        )
    if config.train.steps is not None:
        return per_epoch, config.train.steps
    assert config.train.epochs is not None
    return per_epoch, max(1, round(config.train.epochs * per_epoch))
