"""Arrays of images that come in splits, or are split here, as one data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.frame import Placement, Size, framed, placement
from drawgan_fast.data.levels import Range, find_levels
from drawgan_fast.data.pixels import Channels, Split, split_mask, with_channels
from drawgan_fast.errors import DrawganError


@dataclass(frozen=True)
class Stored:
    """Images of one split as they are stored.

    Attributes:
        images: [n, H, W, 1 or 3], any type of number.
        labels: int64 [n], or None.
        name: file and array, for sentences.
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str


def assemble(
    chosen: Stored,
    beside: np.ndarray | None,
    split: Split,
    *,
    size: Size | None,
    channels: Channels,
    title: str,
    notify: Callable[[str], None],
) -> ImageData:
    """One split of a data set, its levels, size and channels decided on both.

    Args:
        chosen: the images of the split; of the whole set where ``beside`` is None, which is then
            split 90/10 by a permutation that is always the same.
        beside: the images of the other split, channels last; none of them where it is elsewhere.
        split: ``"train"`` or ``"test"``.
        size: (H, W), see :func:`~drawgan_fast.data.frame.placement`; needed where splits differ.
        channels: 1 for grey, 3 for colour, ``"auto"`` for colour where a split has colours.
        title: what people call the set.
        notify: takes one line where the range decided what the levels are.

    Raises:
        DrawganError: the splits differ in size and none is given, or the levels could mean several
            things.

    >>> images = np.zeros((20, 3, 4, 1), np.uint8)
    >>> assemble(Stored(images, None, "a"), None, "test", size=None, channels=3, title="black",
    ...          notify=print).images.shape
    torch.Size([2, 3, 3, 4])
    """
    images, labels, name = chosen.images, chosen.labels, chosen.name
    both = [images] if beside is None or not len(beside) else [images, beside]
    how: Placement = "as is"
    sizes = {(array.shape[1], array.shape[2]) for array in both}
    if size is not None:
        how = placement(sizes, size)
    elif len(sizes) > 1:
        (h, w), (other_h, other_w) = (array.shape[1:3] for array in both)
        raise DrawganError(
            f"images differ in size: {name} has {h} by {w}, the other split {other_h} by {other_w} "
            f"(height by width): give the size that all should be scaled to, data.size = {h} for "
            "example."
        )
    # One scale for both splits, be one of them darker; but bytes and floats have each their own.
    alike = [array for array in both if array.dtype == images.dtype]
    levels, line = find_levels(Range.of(alike, name), name)
    if line:
        notify(line)
    if beside is None:
        mask = split_mask(len(images), split, name)
        images, labels = images[mask], None if labels is None else labels[mask]
    if channels == "auto":
        channels = 3 if any(array.shape[3] == 3 for array in both) else 1
    pixels = with_channels(levels.to_bytes(images), channels).transpose(0, 3, 1, 2)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels))
    return ImageData(
        tensor if size is None else framed(tensor, size, how),
        None if labels is None else torch.from_numpy(labels),
        title,
        f"{len(images):,} images in {name} ({split})",
    )
