"""Images in ``.npy`` and ``.npz`` files as a data set."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.frame import Size
from drawgan_fast.data.pixels import Channels, Split, check_channels
from drawgan_fast.data.splits import Stored, assemble
from drawgan_fast.errors import DrawganError

_IMAGE_KEYS = ("images", "x", "arr_0")
_LABEL_KEYS = ("labels", "y")
_MOST_CLASSES = 1 << 16  # a classifier has an output for each number up to the largest


def load_array(
    path: Path,
    split: Split,
    *,
    size: Size | None = None,
    channels: Channels = "auto",
    notify: Callable[[str], None] = lambda line: None,
) -> ImageData:
    """Read images, and labels where there are any, from a NumPy file.

    An ``.npy`` file is the images. An ``.npz`` file holds them under ``images``, ``x`` or
    ``arr_0`` and labels under ``labels`` or ``y``; or, already split, under ``train_images`` or
    ``x_train`` and ``train_labels`` or ``y_train``, and so on for ``test``. What is not split is
    split 90/10 by a permutation that is always the same.

    Args:
        path: images are bool, integers or floats whose range says what is black and what is white,
            :func:`~drawgan_fast.data.levels.find_levels`; [n, H, W], [n, H, W, C] or [n, C, H, W]
            with C 1 or 3. Labels are whole numbers [n] from 0.
        split: ``"train"`` or ``"test"``.
        size: (H, W) that all are brought to, see :func:`~drawgan_fast.data.frame.placement`;
            needed where the splits differ.
        channels: 1 for grey, 3 for colour, ``"auto"`` for what is stored.
        notify: takes one line for people for arrays that are left out, and where the range decided
            what the levels are.

    Returns:
        uint8 images [n, C, H, W] (rounded to 1/255) and labels.

    Raises:
        DrawganError: the file is missing or damaged, holds pickled objects, or its arrays do not
            have the shapes, types and ranges above.
        UsageError: ``channels`` is none of the three.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "ramp.npy"
    >>> np.save(path, np.linspace(0, 1, 20 * 12).reshape(20, 3, 4))
    >>> data = load_array(path, "test")
    >>> len(data), data.channels, data.image_size
    (2, 1, (3, 4))
    """
    check_channels(channels)
    arrays = _read(path)
    own, other = (_keys(name) for name in (split, "test" if split == "train" else "train"))
    key, label_key = _first(arrays, own[0]), _first(arrays, own[1])
    is_split = key is not None
    beside_key = _first(arrays, other[0]) if is_split else None
    if key is None:
        key, label_key = _first(arrays, _IMAGE_KEYS), _first(arrays, _LABEL_KEYS)
    if key is None:
        raise DrawganError(
            f"{path} has no {split} images: expected one of the arrays "
            f"{', '.join((*_IMAGE_KEYS, *own[0][:2]))}, found {', '.join(arrays) or 'none'}."
        )
    used = {key, label_key, beside_key, _first(arrays, other[1]) if is_split else None}
    unused = [stored for stored in arrays if stored not in used]
    if unused:
        notify(f"{path}: left out {len(unused)} (other arrays: {', '.join(unused)})")
    name = f"{path} ({key})"
    images = channels_last(arrays[key], name)
    labels = None
    if label_key is not None:
        labels = class_labels(arrays[label_key], len(images), f"{path} ({label_key})")
    beside = None
    if beside_key is not None:
        beside = channels_last(arrays[beside_key], f"{path} ({beside_key})")
    elif is_split:
        beside = images[:0]  # split already, and the other part is elsewhere
    return assemble(
        Stored(images, labels, name),
        beside,
        split,
        size=size,
        channels=channels,
        title=path.stem,
        notify=notify,
    )


def channels_last(array: np.ndarray, name: str) -> np.ndarray:
    """Images with the channels last.

    Args:
        array: [n, H, W], [n, H, W, C] or [n, C, H, W] with C 1 or 3.
        name: for error messages.

    Returns:
        [n, H, W, C], a view.

    Raises:
        DrawganError: the shape is another.

    >>> channels_last(np.zeros((2, 3, 5, 6)), "x").shape
    (2, 5, 6, 3)
    """
    if array.ndim not in (3, 4) or min(array.shape) < 1:
        raise DrawganError(
            f"{name} has the shape {array.shape}: expected [n, H, W], [n, H, W, C] or "
            "[n, C, H, W] with at least one image."
        )
    if array.ndim == 3:
        return array[..., None]
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if first and last:
        raise DrawganError(
            f"{name} has the shape {array.shape}, where the channels may be second or last: "
            "save it as [n, H, W] or with sides other than 1 and 3."
        )
    if not first and not last:
        raise DrawganError(
            f"{name} has the shape {array.shape}: expected 1 or 3 channels, second or last."
        )
    return array.transpose(0, 2, 3, 1) if first else array


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"images": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        pickle.UnpicklingError,
    ) as error:
        if "pickle" in str(error).lower():
            raise DrawganError(
                f"{path} holds pickled Python objects, which can run code when they are loaded: "
                "save the images as one plain array, np.save(path, np.stack(images))."
            ) from error
        raise DrawganError(
            f"cannot read {path} ({error}): it is damaged or no NumPy file; save it again."
        ) from error


def _first(arrays: Mapping[str, np.ndarray], keys: Iterable[str]) -> str | None:
    return next((key for key in keys if key in arrays), None)


def _keys(split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names under which images and labels of a split are stored."""
    return (
        (f"{split}_images", f"x_{split}", f"{split}_x", f"images_{split}", split),
        (f"{split}_labels", f"y_{split}", f"{split}_y", f"labels_{split}"),
    )


def class_labels(array: np.ndarray, count: int, name: str) -> np.ndarray:
    """Labels as int64 [count], each in 0 to 65,535.

    Args:
        array: whole numbers [count] or [count, 1].
        count: of images.
        name: for error messages.

    Raises:
        DrawganError: the shape, the type or the range is another.

    >>> class_labels(np.array([[3], [0]], np.uint8), 2, "x").tolist()
    [3, 0]
    """
    if array.shape == (count, 1):
        array = array[:, 0]
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DrawganError(
            f"{name} has the shape {array.shape} and the type {array.dtype}: expected one whole "
            f"number for each of the {count} images."
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise DrawganError(
            f"{name} holds labels from {low} to {high}: expected classes counted from 0, below "
            f"{_MOST_CLASSES:,}; number them so (np.unique(labels, return_inverse=True)[1]), or "
            "save the images without labels."
        )
    return array.astype(np.int64)
