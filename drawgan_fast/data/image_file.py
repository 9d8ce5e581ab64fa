"""One image file as pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from drawgan_fast.data.frame import Size, fits, rounded, scaled
from drawgan_fast.data.pixels import is_grey
from drawgan_fast.errors import DrawganError

if TYPE_CHECKING:
    from PIL import Image

#: How a file stores a level: one bit, a byte (or a palette, or four), or more than 8 bits.
Depth = Literal["bit", "byte", "wide"]


@dataclass(frozen=True)
class Picture:
    """What was read of an image file.

    Attributes:
        pixels: [H, W, 1] or, where the file has colours, [H, W, 3]; uint8, or numbers that become
            bytes once the range of the whole data set is known.
        size: (H, W) of the file, upright.
        depth: how the file stores its levels.
        low, high: its least and its largest level.
        grey: whether no pixel of the file has a colour.
        unreadable_exif: the file has EXIF data that do not say how it lies.
        more: whether the file holds further pictures (an animation, pages).
    """

    path: Path
    pixels: np.ndarray
    size: Size
    depth: Depth
    low: int
    high: int
    grey: bool
    unreadable_exif: bool
    more: bool

    def scaled(self, frame: Size) -> np.ndarray:
        """The pixels scaled to a frame, [*frame, 1 or 3].

        Rounded only where the numbers are bytes whatever the range of the data set is.
        """
        if self.pixels.shape[:2] == frame:
            return self.pixels
        channels_first = torch.from_numpy(np.array(self.pixels.transpose(2, 0, 1)))
        image = scaled(channels_first.unsqueeze(0), frame)
        if self.depth != "wide" and self.high > 1:
            image = rounded(image)
        return image[0].numpy().transpose(1, 2, 0)


def read_picture(path: Path, frame: Size | None = None) -> Picture:
    """Read one image file, turned upright as its EXIF data says.

    Transparent pixels are laid on white, and of several frames or pages the first is taken.

    Args:
        path: any file that Pillow reads.
        frame: (H, W): an image that does not fit into it is scaled to it at once, so that a folder
            of photographs needs no more memory than its frames.

    Raises:
        DrawganError: the file is unreadable, truncated, or holds floating-point pixels.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            more = bool(getattr(file, "is_animated", False))
            file.load()
            image, unreadable_exif = _upright(file)
    except Exception as error:  # Pillow's readers pass on whatever damaged bytes lead them to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DrawganError(
            f"cannot read the image {path} ({reason}): replace it or take it out of the folder."
        ) from error
    if image.mode == "F":
        raise DrawganError(f"{path} holds floating-point pixels: save it with 8 bits a channel.")
    depth: Depth = "bit" if image.mode == "1" else "byte"
    if image.mode.startswith("I"):
        depth, array = "wide", np.asarray(image).astype(np.int32)
    else:
        array = np.asarray(_grey_or_colour(image))
    pixels = array[..., None] if array.ndim == 2 else array
    picture = Picture(
        path,
        pixels,
        (pixels.shape[0], pixels.shape[1]),
        depth,
        int(pixels.min()),
        int(pixels.max()),
        is_grey(pixels),
        unreadable_exif,
        more,
    )
    if frame is not None and not fits(picture.size, frame):
        return replace(picture, pixels=picture.scaled(frame))
    return picture


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image turned as its EXIF data says, and whether these cannot be read.

    Not ``ImageOps.exif_transpose``: that writes the other fields anew, and fails where one of them
    is broken.
    """
    from PIL import ExifTags, Image

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above; the pixels are whole
        return image, True
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return (image if turn is None else image.transpose(turn)), False


def _grey_or_colour(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB, transparency laid on white."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
