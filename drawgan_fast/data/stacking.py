"""Many pictures as one array: their sizes, their levels and their channels, decided for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from drawgan_fast.data.frame import Size, padded, placement
from drawgan_fast.data.image_file import Depth, Picture
from drawgan_fast.data.levels import Levels, Range, find_levels
from drawgan_fast.data.pixels import Channels, with_channels
from drawgan_fast.errors import DrawganError

_DARK = 128  # byte images without one level so bright are worth a word


def stack(
    pictures: Sequence[Picture],
    chosen: np.ndarray,  # bool [n]
    frame: Size | None,
    channels: Channels,
    name: str,
    notify: Callable[[str], None],
) -> np.ndarray:
    """The chosen ones of a folder's pictures as bytes of one size.

    Everything is decided on all pictures, so that training and test images are treated alike.
    Size: :func:`~drawgan_fast.data.frame.placement`. Levels are what the files say; where all files
    of 8 bits hold only 0 and 1, these are black and white, and files of more bits are taken by
    their range, :func:`~drawgan_fast.data.levels.find_levels`.

    Args:
        pictures: all of the folder, read for this frame; at least one.
        chosen: which of them; at least one.
        frame: (H, W), or None where all have one size already.
        channels: 1 for grey, 3 for colour, ``"auto"`` for grey unless some pixel is coloured.
        name: of the folder, for the sentences.
        notify: takes one line for each thing that people should know.

    Returns:
        uint8 [n, H, W, C].

    Raises:
        DrawganError: sizes differ and there is no frame, or levels could mean several things.
    """
    sizes = {picture.size for picture in pictures}
    if frame is None:
        _check_sizes(pictures)
        frame = pictures[0].size
    how = placement(sizes, frame)
    if len(sizes) > 1:
        notify(f"{name}: images of {len(sizes):,} sizes, each scaled to {frame[0]} by {frame[1]}.")
    levels = _levels(pictures, name, notify)
    if channels == "auto":
        channels = 1 if all(picture.grey for picture in pictures) else 3
    _tell(
        [p for p in pictures if p.unreadable_exif],
        "EXIF data that cannot be read, images taken as they lie",
        name,
        notify,
    )
    _tell(
        [p for p in pictures if p.more], "files of several pictures, the first taken", name, notify
    )
    images = []
    for picture, wanted in zip(pictures, chosen.tolist()):
        if not wanted:
            continue
        pixels = picture.scaled(frame) if how == "scaled" else picture.pixels
        pixels = levels[picture.depth].to_bytes(pixels)
        images.append(with_channels(pixels, channels))
    stacked = np.stack(images)
    if how == "padded":
        channels_first = torch.from_numpy(stacked.transpose(0, 3, 1, 2))
        stacked = padded(channels_first, frame).numpy().transpose(0, 2, 3, 1)
    return stacked


def _tell(group: list[Picture], what: str, name: str, notify: Callable[[str], None]) -> None:
    if group:
        such = f"{group[0].path.name}{', ...' if len(group) > 1 else ''}"
        notify(f"{name}: {what}: {len(group):,} ({such})")


def _check_sizes(pictures: Sequence[Picture]) -> None:
    first = pictures[0]
    for picture in pictures:
        if picture.size != first.size:
            (h, w), (other_h, other_w) = first.size, picture.size
            raise DrawganError(
                f"images differ in size: {first.path} is {h} by {w}, {picture.path} is {other_h} "
                f"by {other_w} (height by width): give the size that all should be scaled to, "
                f"data.size = {min(h, w)} for example."
            )


def _levels(
    pictures: Sequence[Picture], name: str, notify: Callable[[str], None]
) -> dict[Depth, Levels]:
    levels: dict[Depth, Levels] = {"bit": Levels(0, 255), "byte": Levels(0, 255)}
    for depth in ("byte", "wide"):
        group = [picture for picture in pictures if picture.depth == depth]
        if not group:
            continue
        low, high = min(p.low for p in group), max(p.high for p in group)
        line = None
        if depth == "wide":
            found = Range(low, high, np.dtype(np.uint16))
            what = f"{name}, {len(group):,} images of more than 8 bits"
            levels[depth], line = find_levels(found, what)
            if levels[depth].white == 65_535:  # what the files say
                line = None
        elif high == 1:
            found = Range(low, high, np.dtype(np.uint8))
            levels[depth], line = find_levels(found, f"{name}, 8-bit images")
        elif 0 < high < _DARK:
            line = (
                f"{name}: the brightest level of all 8-bit images is {high} of 255; they are "
                "taken as they are, dark."
            )
        if line:
            notify(line)
    return levels
