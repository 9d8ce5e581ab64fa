"""Data sets of a few files under the usual names, one of images for each split.

IDX files (MNIST's form: Fashion-MNIST, KMNIST, EMNIST, ...) and the text form of static binarised
MNIST.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drawgan_fast.data.arrays import channels_last, class_labels
from drawgan_fast.data.binary_text import read_binary_text
from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.frame import Size
from drawgan_fast.data.idx import looks_like_idx, read_idx
from drawgan_fast.data.pixels import Channels, Split, check_channels
from drawgan_fast.data.splits import Stored, assemble
from drawgan_fast.errors import UsageError

# Of canonical() names.
_IDX = re.compile(r"(?P<set>.*?)(?P<split>train|t10k|test)-images-idx3-ubyte")
_TEXT = re.compile(r"(?P<set>.*?)(?P<split>train|valid|test)\.amat")
_SET_FILE = re.compile(r"idx\d|\.amat$")
_SPLITS = {"t10k": "test"}
_UNPACKED = ("raw", "gzip")  # folders that say nothing about what they hold


@dataclass(frozen=True)
class FileSet:
    """A data set's files of images, and of labels.

    Attributes:
        name: what people call it.
        folder: where its files are.
        files: images by split, "train", "test" and "valid" as their names say; "all": the only one.
    """

    name: str
    folder: Path
    files: dict[str, Path]

    @property
    def upright(self) -> bool:
        """Whether the files hold the rows of images; EMNIST's hold their columns."""
        return not self.name.lower().startswith("emnist")


def canonical(name: str) -> str:
    """A file's name in lower case, without what differs from copy to copy.

    >>> canonical("Train-Images.idx3-ubyte.gz")
    'train-images-idx3-ubyte'
    """
    return re.sub(r"[._]idx(?=\d)", "-idx", name.lower().removesuffix(".gz"))


def files_in(folder: Path) -> dict[str, Path]:
    """IDX and .amat files of a folder by their canonical names; of two of a name the packed one.

    A folder that holds a file of its own name, as some archives unpack to, counts as that file.

    >>> files_in(Path(__file__).parent)
    {}
    """
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    named = [path for path in folder.iterdir() if _SET_FILE.search(canonical(path.name))]
    for path in sorted(named, key=lambda path: (path.suffix != ".gz", path.name)):
        file = path / path.name if path.is_dir() else path
        if file.is_file():
            found.setdefault(canonical(path.name), file)
    return dict(sorted(found.items()))


def find_set(folder: Path) -> FileSet | None:
    """The data set of files at the usual places in a folder; None where there is none.

    Places: the folder, ``raw/`` and ``gzip/`` in it, and ``raw/`` in any folder in it.

    Raises:
        UsageError: it holds several.
    """
    places = (folder, *(folder / name for name in _UNPACKED), *sorted(folder.glob("*/raw")))
    found = [files for place in places for files in _sets_in(place)]
    if len(found) > 1:
        images = [files.files.get("train", files.files.get("test")) for files in found]
        raise UsageError(
            f"{folder} holds {len(found)} data sets: give the file of one's training images, one "
            f"of {', '.join(map(str, images))}"
        )
    return found[0] if found else None


def set_of(path: Path) -> FileSet | None:
    """The data set that a file of images stands for; None where it is no such file.

    A file of training images stands for the set with the test images beside it, any other one for
    itself.
    """
    if not canonical(path.name).endswith(".amat") and not looks_like_idx(path):
        return None
    for files in _sets_in(path.parent):
        if files.files.get("train") == path:
            return files
    return FileSet(path.name.partition(".")[0], path.parent, {"all": path})


def load_set(
    files: FileSet,
    split: Split,
    *,
    size: Size | None = None,
    channels: Channels = "auto",
    notify: Callable[[str], None] = lambda line: None,
) -> ImageData:
    """Read the images of a split, and their labels where a file of them lies beside.

    Args:
        files: from :func:`find_set` or :func:`set_of`. Where only one file of images is there it
            is split 90/10 by a permutation that is always the same.
        split: ``"train"`` or ``"test"``.
        size: (H, W) that all are brought to, see :func:`~drawgan_fast.data.frame.placement`.
        channels: 1 for grey, 3 for colour, ``"auto"`` for what is stored.
        notify: takes one line for people for each: no labels, no test file, a validation file that
            is not used, EMNIST turned upright, levels decided by their range.

    Returns:
        uint8 images [n, C, H, W] and labels.

    Raises:
        DrawganError: a file is damaged, or labels do not fit.
    """
    check_channels(channels)
    is_split = {"train", "test"} <= files.files.keys()
    path = files.files[split] if is_split else next(iter(files.files.values()))
    images, labels = _read(files, path, notify)
    beside = None
    if is_split:
        beside = _images(files, files.files["test" if split == "train" else "train"])
        if "valid" in files.files:
            notify(f"{files.files['valid']} is left out: training and test images are used.")
    elif "all" not in files.files:
        notify(f"{path} is the only file of images: a tenth of it is kept for testing.")
    if not files.upright:
        notify(f"{files.folder}: EMNIST's files hold columns first; its images are turned upright.")
    return assemble(
        Stored(images, labels, str(path)),
        beside,
        split,
        size=size,
        channels=channels,
        title=files.name,
        notify=notify,
    )


def _sets_in(folder: Path) -> list[FileSet]:
    """Sets whose names say which file is which split, each with a file to train on."""
    grouped: dict[str, dict[str, Path]] = {}
    for name, path in files_in(folder).items():
        match = _IDX.fullmatch(name) or _TEXT.fullmatch(name)
        if match is not None:
            split = _SPLITS.get(match["split"], match["split"])
            grouped.setdefault(match["set"], {})[split] = path
    owner = folder.resolve()
    while owner.name in _UNPACKED:
        owner = owner.parent
    return [
        FileSet(prefix.strip("-_. ") or owner.name, folder, files)
        for prefix, files in grouped.items()
        if files.keys() & {"train", "test"}
    ]


def _read(
    files: FileSet, path: Path, notify: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray | None]:
    images = _images(files, path)
    name = canonical(path.name).replace("images", "labels").replace("idx3", "idx1")
    beside = files_in(files.folder).get(name)
    if beside is None or beside == path:
        if "idx3" in canonical(path.name):
            notify(f"{path} has no labels beside it (a file {name}).")
        return images, None
    return images, class_labels(read_idx(beside, 1), len(images), str(beside))


def _images(files: FileSet, path: Path) -> np.ndarray:  # [n, H, W, C]
    is_text = canonical(path.name).endswith(".amat")
    stored = read_binary_text(path) if is_text else read_idx(path, (3, 4))
    if not files.upright:
        stored = stored.swapaxes(1, 2)
    return channels_last(stored, str(path))
