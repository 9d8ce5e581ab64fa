"""Images in ``.npy`` and ``.npz`` files as a data set."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.pixels import Channels, check_channels, split_mask, with_channels
from drawgan_fast.errors import DrawganError

_IMAGE_KEYS = ("images", "x", "arr_0")
_LABEL_KEYS = ("labels", "y")


def load_array(
    path: Path, split: Literal["train", "test"], *, channels: Channels = "auto"
) -> ImageData:
    """Read images, and labels where there are any, from a NumPy file.

    An ``.npy`` file is the images. An ``.npz`` file holds them under ``images``, ``x`` or
    ``arr_0`` and labels under ``labels`` or ``y``; or, already split, under ``train_images`` or
    ``x_train`` and ``train_labels`` or ``y_train``, and so on for ``test``. What is not split is
    split 90/10 by a permutation that is always the same.

    Args:
        path: images are uint8, bool, or float in [0, 1]; [n, H, W], [n, H, W, C] or [n, C, H, W]
            with C 1 or 3. Labels are whole numbers [n].
        split: ``"train"`` or ``"test"``.
        channels: 1 for grey, 3 for colour, ``"auto"`` for what is stored.

    Returns:
        uint8 images [n, C, H, W] (floats rounded to 1/255) and labels.

    Raises:
        DrawganError: the file is missing or damaged, holds pickled objects, or its arrays do not
            have the shapes, types and range above.
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
    own = (
        (f"{split}_images", f"x_{split}", f"{split}_x", f"images_{split}", split),
        (f"{split}_labels", f"y_{split}", f"{split}_y", f"labels_{split}"),
    )
    key, label_key = _first(arrays, own[0]), _first(arrays, own[1])
    is_split = key is not None
    if key is None:
        key, label_key = _first(arrays, _IMAGE_KEYS), _first(arrays, _LABEL_KEYS)
    if key is None:
        raise DrawganError(
            f"{path} has no {split} images: expected one of the arrays "
            f"{', '.join((*_IMAGE_KEYS, *own[0][:2]))}, found {', '.join(arrays) or 'none'}."
        )
    images = to_bytes(arrays[key], f"{path} ({key})")
    labels = None
    if label_key is not None:
        labels = _labels(arrays[label_key], len(images), f"{path} ({label_key})")
    if not is_split:
        mask = split_mask(len(images), split, str(path))
        images, labels = images[mask], None if labels is None else labels[mask]
    if channels != "auto":
        images = with_channels(images, channels)
    return ImageData(
        torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
        None if labels is None else torch.from_numpy(labels),
        path.stem,
        f"{len(images):,} images in {path} ({split})",
    )


def to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """Images as bytes, channels last.

    Args:
        array: uint8, bool, or float in [0, 1]; [n, H, W], [n, H, W, C] or [n, C, H, W].
        name: for error messages.

    Returns:
        uint8 [n, H, W, C].

    Raises:
        DrawganError: the type, shape or range is another, or a value is NaN.

    >>> to_bytes(np.array([[[0.0, 0.5, 1.0]]]), "x").tolist()
    [[[[0], [128], [255]]]]
    """
    if array.ndim not in (3, 4) or min(array.shape) < 1:
        raise DrawganError(
            f"{name} has the shape {array.shape}: expected [n, H, W], [n, H, W, C] or "
            "[n, C, H, W] with at least one image."
        )
    if array.ndim == 3:
        array = array[..., None]
    else:
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
        array = array.transpose(0, 2, 3, 1) if first else array
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise DrawganError(
            f"{name} has the type {array.dtype}: expected uint8 (0 to 255), bool, or float in "
            "[0, 1]; convert it, for example with .astype('uint8')."
        )
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DrawganError(f"{name} holds NaN or infinity: clean it and save it again.")
    if low < 0 or high > 1:
        raise DrawganError(
            f"{name} holds values from {low:g} to {high:g}: floats must be in [0, 1]; scale it, "
            "or save bytes as uint8."
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


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


def _labels(array: np.ndarray, count: int, name: str) -> np.ndarray:
    if array.shape == (count, 1):
        array = array[:, 0]
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DrawganError(
            f"{name} has the shape {array.shape} and the type {array.dtype}: expected one whole "
            f"number for each of the {count} images."
        )
    return array.astype(np.int64)
