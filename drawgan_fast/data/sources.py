"""One door to every data set: a name, a folder or a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from drawgan_fast.data.arrays import load_array
from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.folder import load_folder
from drawgan_fast.data.mnist import Split, load_mnist, on_stderr
from drawgan_fast.data.pixels import Channels, check_channels
from drawgan_fast.errors import UsageError

NAMES = ("mnist",)


def load(
    name_or_path: str | Path,
    split: Literal["train", "test"],
    *,
    data_dir: Path | None = None,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    channels: Channels = "auto",
    notify: Callable[[str], None] = on_stderr,
) -> ImageData:
    """Load a data set by name or path.

    Args:
        name_or_path: ``"mnist"``, a folder of images, or an ``.npy`` or ``.npz`` file.
        split: ``"train"`` or ``"test"``.
        data_dir: where the files of a named set are, as :func:`load_mnist` takes it.
        download: whether the network may be used.
        size: (H, W) in pixels, or one number for both; None keeps the images' own. By one rule for
            every kind of data, :func:`~drawgan_fast.data.frame.placement`: images of one size that
            fit are padded with zeros, others scaled.
        channels: 1 for grey, 3 for colour, ``"auto"`` for what is found.
        notify: takes one line for people, such as that the shipped subset is used.

    Returns:
        The data on the CPU.

    Raises:
        UsageError: there is no such name or path, or an option has a wrong value.
        DrawganError: the files are missing, damaged or do not fit.

    >>> data = load("mnist", "test", download=False, size=32, notify=lambda line: None)
    >>> data.image_size
    (32, 32)
    """
    if split not in get_args(Split):
        raise UsageError(f'split must be "train" or "test", got {split!r}')
    check_channels(channels)
    if isinstance(size, int):
        size = (size, size)
    if size is not None and min(size) < 1:
        raise UsageError(f"size must be at least 1 pixel on each side, got {size}")
    path = Path(name_or_path)
    if str(name_or_path).lower() in NAMES:
        data = load_mnist(split, data_dir=data_dir, download=download, notify=notify)
        if channels == 3:
            data = replace(data, images=data.images.expand(-1, 3, -1, -1).contiguous())
    elif path.is_dir():
        data = load_folder(path, split, size=size, channels=channels, notify=notify)
    elif path.is_file() and path.suffix.lower() in (".npy", ".npz"):
        data = load_array(path, split, channels=channels, notify=notify)
    elif path.exists():
        raise UsageError(f"{path} is no data set: give a folder of images, or an .npy or .npz file")
    else:
        raise UsageError(
            f"there is no data set or path {str(name_or_path)!r}: give {', '.join(NAMES)}, "
            "a folder of images, or an .npy or .npz file"
        )
    return data if size is None else data.resized(size)
