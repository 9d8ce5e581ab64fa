"""What folders and arrays have in common: channels, range, and a train/test split of their own."""

from __future__ import annotations

from typing import Literal

import numpy as np

from drawgan_fast.errors import DrawganError, UsageError

Channels = Literal["auto", 1, 3]
Split = Literal["train", "test"]

TEST_SHARE = 0.1
_SPLIT_SEED = 20150216  # any constant: the split must be the same for everybody, for ever
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 1/65536, as Pillow rounds it


def split_mask(count: int, split: Split, name: str) -> np.ndarray:
    """Which of ``count`` images belong to ``split``: 90 % or 10 % by a fixed permutation.

    Args:
        count: number of images.
        split: ``"train"`` or ``"test"``; the two are disjoint and together everything.
        name: of the data, for the error message.

    Returns:
        bool [count].

    Raises:
        DrawganError: there is just one image, which cannot be in both.

    >>> int(split_mask(50, "test", "x").sum()), int(split_mask(50, "train", "x").sum())
    (5, 45)
    """
    if count < 2:
        raise DrawganError(
            f"{name} holds {count} image, too few to split into training and test images: "
            "add images."
        )
    order = np.random.Generator(np.random.PCG64(_SPLIT_SEED)).permutation(count)
    mask = np.zeros(count, bool)
    mask[order[: max(1, round(count * TEST_SHARE))]] = True
    return mask if split == "test" else ~mask


def check_channels(channels: object) -> None:
    """Refuse a value that is not one of :data:`Channels`.

    Raises:
        UsageError: naming the value.

    >>> check_channels("auto")
    """
    if channels not in ("auto", 1, 3):
        raise UsageError(f'channels must be "auto", 1 (grey) or 3 (colour), got {channels!r}')


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """An image, or many, with 1 or 3 channels, channels last.

    Colour becomes grey as 0.299 R + 0.587 G + 0.114 B; grey becomes colour by repeating.

    Args:
        image: uint8 [..., 1] or [..., 3].
        channels: 1 or 3.

    Returns:
        uint8 [..., channels].

    >>> with_channels(np.array([[255, 0, 0]], np.uint8), 1).tolist()
    [[76]]
    """
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    luma = (image.astype(np.uint32) @ _LUMA + 0x8000) >> 16
    return luma.astype(np.uint8)[..., None]


def is_grey(image: np.ndarray) -> bool:
    """Whether every pixel of uint8 [..., 1 or 3] has equal channels.

    >>> is_grey(np.array([[7, 7, 7], [9, 9, 9]], np.uint8))
    True
    """
    return image.shape[-1] == 1 or bool((image == image[..., :1]).all())
