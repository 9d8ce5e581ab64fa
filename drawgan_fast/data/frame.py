"""Images of any size in one frame: the only place that pads or scales them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Placement = Literal["as is", "padded", "scaled"]
Size = tuple[int, int]


def placement(sizes: Collection[Size], frame: Size) -> Placement:
    """How a set of images comes into a frame; all of them the same way.

    Images of one size are padded where the frame is at least as large on both sides (28×28 digits
    on 32×32), so that no pixel changes. Otherwise, and wherever sizes differ, each is scaled,
    whatever that does to its proportions.

    Args:
        sizes: (H, W) of the images, each at least once.
        frame: (H, W) in pixels.

    >>> placement({(28, 28)}, (32, 32)), placement({(28, 28), (32, 32)}, (32, 32))
    ('padded', 'scaled')
    """
    if set(sizes) == {frame}:
        return "as is"
    return "padded" if len(set(sizes)) == 1 and fits(next(iter(sizes)), frame) else "scaled"


def fits(size: Size, frame: Size) -> bool:
    """Whether a frame is at least as large on both sides.

    >>> fits((2, 3), (3, 3)), fits((2, 4), (3, 3))
    (True, False)
    """
    return size[0] <= frame[0] and size[1] <= frame[1]


def framed(
    images: Tensor,  # uint8 [n, C, H, W]
    frame: Size,
    how: Placement,
) -> Tensor:  # uint8 [n, C, *frame]
    """Bytes of one size brought into a frame.

    >>> import torch
    >>> framed(torch.full((1, 1, 2, 2), 9, dtype=torch.uint8), (1, 1), "scaled").item()
    9
    """
    if how == "padded":
        return padded(images, frame)
    if how == "as is" or images.shape[-2:] == frame:
        return images
    # In pieces: floats of the whole set would take four times its memory.
    return torch.cat([rounded(scaled(piece, frame)) for piece in images.split(4096)])


def padded(
    images: Tensor,  # [..., H, W], not larger than the frame
    frame: Size,
) -> Tensor:
    """The images in the middle of zeros.

    >>> import torch
    >>> padded(torch.ones(1, 1), (3, 2)).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    """
    rows, columns = frame[0] - images.shape[-2], frame[1] - images.shape[-1]
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def scaled(
    images: Tensor,  # [n, C, H, W]
    frame: Size,
) -> Tensor:  # float32 [n, C, *frame]
    """The images scaled with an antialiased triangle filter, not rounded.

    >>> import torch
    >>> scaled(torch.tensor([[[[0, 2, 4, 6]]]]), (1, 1)).item()
    3.0
    """
    if images.shape[-2:] == frame:
        return images.float()
    return F.interpolate(images.float(), frame, mode="bilinear", antialias=True)


def rounded(
    images: Tensor,  # float
) -> Tensor:  # uint8
    """Levels of 0 to 255 as bytes.

    >>> import torch
    >>> rounded(torch.tensor([-0.3, 254.7])).tolist()
    [0, 255]
    """
    return images.round().clamp(0, 255).byte()
