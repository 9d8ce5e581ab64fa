"""Any folder of images as a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.finding import Found, find_images, suffixes
from drawgan_fast.data.frame import Size
from drawgan_fast.data.image_file import read_picture
from drawgan_fast.data.pixels import Channels, Split, check_channels, split_mask
from drawgan_fast.data.stacking import stack
from drawgan_fast.errors import DrawganError

# Names of folders, in any case, that hold a part of a data set.
_TRAIN = frozenset(("train", "training"))
_TEST = frozenset(("test", "testing"))
_VALIDATION = frozenset(("val", "valid", "validation"))


def load_folder(
    folder: Path,
    split: Split,
    *,
    size: Size | None = None,
    channels: Channels = "auto",
    notify: Callable[[str], None] = lambda line: None,
) -> ImageData:
    """Read every image at or under a folder, in the order of their paths.

    Which files: :func:`~drawgan_fast.data.finding.find_images`. Split: what lies in ``train/`` and
    ``test/`` (or ``training/``, ``testing/``; without a test folder ``val/``, ``valid/`` or
    ``validation/``; in any case) where the folder has both, else 90/10 by a permutation that is
    always the same. Labels: where every image lies in a subfolder (of the split's folder, where
    these exist), the first subfolder is its class. Levels, sizes and channels:
    :func:`~drawgan_fast.data.stacking.stack`.

    Args:
        folder: searched recursively.
        split: ``"train"`` or ``"test"``.
        size: (H, W) that all are brought to, see :func:`~drawgan_fast.data.frame.placement`;
            needed where sizes differ.
        channels: 1 for grey, 3 for colour, ``"auto"`` for grey unless some pixel is coloured.
        notify: takes one line for people for each of: what was left out, what levels were taken
            for, how images came to size, EXIF data that cannot be read.

    Returns:
        uint8 images [n, C, H, W], labels by class in alphabetical order, or None.

    Raises:
        DrawganError: no image, an unreadable one, differing sizes without ``size``, levels that
            could mean several things, or a single image that cannot be split.
        UsageError: ``channels`` is none of the three.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for number in range(10):
    ...     Image.new("L", (6, 4), number).save(root / f"{number}.png")
    >>> data = load_folder(root, "train")
    >>> len(data), data.channels, data.image_size
    (9, 1, (4, 6))
    """
    check_channels(channels)
    found = find_images(folder)
    parts = _sort(found, folder, notify)
    left_out = found.left_out_line(folder)
    if not found.paths:
        raise DrawganError(
            f"{folder} holds no image: expected files that Pillow reads (.png, .jpg and "
            f"{len(suffixes()) - 2} other endings), there or in subfolders"
            f"{f'; {left_out}' if left_out else ''}."
        )
    if left_out:
        notify(left_out)
    if parts.splits is None:
        mask = split_mask(len(found.paths), split, str(folder))
    else:
        mask = np.array([name == split for name in parts.splits])

    # All images are read, whatever the split: size and channels must be the same for both.
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda path: read_picture(path, size), found.paths))
    images = stack(pictures, mask, size, channels, str(folder), notify)
    labels, classes = _labels(parts.within)
    return ImageData(
        torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        None if labels is None else torch.from_numpy(labels[mask]),
        folder.resolve().name,
        f"{len(images):,} of {len(found.paths):,} images in {folder} ({split})",
        classes,
    )


@dataclass(frozen=True)
class _Parts:
    """Of each image: its path within its split, and the split where the folders name it."""

    within: list[tuple[str, ...]]
    splits: list[str] | None


def _sort(found: Found, folder: Path, notify: Callable[[str], None]) -> _Parts:
    """What the folders' names say; an image of neither split is left out."""
    parts = [path.relative_to(folder).parts for path in found.paths]
    tops = [part[0].lower() if len(part) > 1 else "" for part in parts]
    present = set(tops)
    train, test = present & _TRAIN, present & _TEST or present & _VALIDATION
    if train and test:
        split_of = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
        reason = f"outside {'/, '.join(sorted(train))}/ and {'/, '.join(sorted(test))}/"
        for path, top in zip(found.paths, tops):
            if top not in split_of:
                found.leave_out(reason, path)
        kept = [i for i, top in enumerate(tops) if top in split_of]
        found.paths = [found.paths[i] for i in kept]
        return _Parts([parts[i][1:] for i in kept], [split_of[tops[i]] for i in kept])
    if len(present) == 1 and present <= _TRAIN | _TEST | _VALIDATION:
        notify(f"{folder} has only {parts[0][0]}/: a tenth of that is kept for testing.")
        parts = [part[1:] for part in parts]
    return _Parts(parts, None)


def _labels(
    parts: Sequence[tuple[str, ...]],
) -> tuple[np.ndarray, tuple[str, ...]] | tuple[None, None]:
    if any(len(part) == 1 for part in parts):
        return None, None
    classes = tuple(sorted({part[0] for part in parts}))
    return np.array([classes.index(part[0]) for part in parts], np.int64), classes
