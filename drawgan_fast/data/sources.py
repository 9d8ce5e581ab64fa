"""One door to every data set: a name, a folder or a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from drawgan_fast.data.arrays import load_array
from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.file_sets import find_set, load_set, set_of
from drawgan_fast.data.folder import load_folder
from drawgan_fast.data.mnist import load_mnist, on_stderr
from drawgan_fast.data.pixels import Channels, Split, check_channels
from drawgan_fast.errors import UsageError

NAMES = ("mnist",)
FORMS = (
    "a folder of images, a folder of IDX files (as Fashion-MNIST, KMNIST, EMNIST) or .amat files, "
    "one such file, or an .npy or .npz file"
)


def load(
    name_or_path: str | Path,
    split: Split,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    size: int | tuple[int, int] | None = None,
    channels: Channels = "auto",
    notify: Callable[[str], None] = on_stderr,
) -> ImageData:
    """Load a data set by name or path.

    Args:
        name_or_path: ``"mnist"``; or a folder of images, of IDX files or of ``.amat`` files of
            static binarised MNIST; or one IDX, ``.amat``, ``.npy`` or ``.npz`` file.
        split: ``"train"`` or ``"test"``.
        data_dir: where the files of a named set are, as :func:`load_mnist` takes it.
        download: whether the network may be used.
        size: (H, W) in pixels, or one number for both; None keeps the images' own. By one rule for
            every kind of data, :func:`~drawgan_fast.data.frame.placement`: images of one size that
            fit are padded with zeros, others scaled.
        channels: 1 for grey, 3 for colour, ``"auto"`` for what is found.
        notify: takes lines for people: what was left out, what the numbers were taken for, that
            the shipped subset is used.

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
    if is_name(name_or_path):
        data = load_mnist(split, data_dir=data_dir, download=download, notify=notify)
        if channels == 3:
            data = replace(data, images=data.images.expand(-1, 3, -1, -1).contiguous())
    else:
        data = _load_path(Path(name_or_path).expanduser(), split, size, channels, notify)
    return data if size is None else data.resized(size)


def is_name(name_or_path: str | Path) -> bool:
    """Whether this names a data set; everything else is a path.

    >>> is_name("MNIST"), is_name("./mnist")
    (True, False)
    """
    return str(name_or_path).lower() in NAMES


def absolute(name_or_path: str | Path) -> str:
    """The same data from wherever it is asked for: a name, or an absolute path.

    >>> absolute("MNIST"), Path(absolute("x.npy")).is_absolute()
    ('mnist', True)
    """
    if is_name(name_or_path):
        return str(name_or_path).lower()
    return os.path.abspath(Path(name_or_path).expanduser())


def _load_path(
    path: Path,
    split: Split,
    size: tuple[int, int] | None,
    channels: Channels,
    notify: Callable[[str], None],
) -> ImageData:
    if os.path.isdir(path):
        files = find_set(path)
        if files is None:
            return load_folder(path, split, size=size, channels=channels, notify=notify)
        return load_set(files, split, size=size, channels=channels, notify=notify)
    if not os.path.exists(path):
        raise UsageError(
            f"there is no data set or path {str(path)!r}: give {', '.join(NAMES)}, {FORMS}"
        )
    if path.suffix.lower() in (".npy", ".npz"):
        return load_array(path, split, size=size, channels=channels, notify=notify)
    files = set_of(path)
    if files is None:
        raise UsageError(f"{path} is no data set: give {FORMS}")
    return load_set(files, split, size=size, channels=channels, notify=notify)
