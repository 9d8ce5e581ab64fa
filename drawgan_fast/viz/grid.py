"""Many images as one picture."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from drawgan_fast.files import write_atomically

if TYPE_CHECKING:
    from PIL import Image

GAP = 64  # grey level between the images: neither ink nor paper

# Rounding may carry a mean of probabilities a hair out of [0, 1]; more than that is a mistake.
_SLACK = 1e-4


def image_grid(
    images: Tensor,  # [n, C, H, W]
    columns: int | None = None,
    *,
    scale: int | None = None,
    padding: int | None = None,
) -> Image.Image:
    """Lay images out row by row, each pixel a square of ``scale`` screen pixels.

    Args:
        images: float [n, C, H, W] in [0, 1], n ≥ 1, C 1 (grey) or 3 (colour), on any device.
        columns: images in a row; None gives a grid as square as it can be.
        scale: screen pixels per image pixel and side; None chooses a size that can be seen.
        padding: screen pixels between and around the images; None gives ``scale``.

    Returns:
        A Pillow image of mode ``L`` or ``RGB``, the space between the images grey.

    Raises:
        TypeError: ``images`` is not floating point.
        ValueError: the shape or the range is another, or a value is NaN.

    >>> import torch
    >>> image_grid(torch.rand(6, 1, 28, 28), columns=3, scale=2, padding=4).size
    (184, 124)
    """
    pixels = to_bytes(images)
    count, height, width, channels = pixels.shape
    columns = default_columns(count) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be ≥ 1, got {columns}")
    columns = min(columns, count)
    scale = default_scale(columns, (height, width)) if scale is None else scale
    padding = scale if padding is None else padding
    if scale < 1 or padding < 0:
        raise ValueError(f"scale must be ≥ 1 and padding ≥ 0, got {scale} and {padding}")
    sheet = compose(pixels.repeat(scale, 1).repeat(scale, 2), columns, padding, GAP)

    from PIL import Image

    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def save_png(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG; the file appears whole or not at all.

    Args:
        image: any Pillow image.
        path: file to write or replace.

    Raises:
        DrawganError: the file cannot be written.

    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "grid.png"
    >>> save_png(image_grid(torch.rand(4, 1, 8, 8)), path)
    >>> path.read_bytes()[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    write_atomically(Path(path), buffer.getvalue())


def to_bytes(images: Tensor) -> np.ndarray:
    """Images for the screen.

    Args:
        images: float [n, C, H, W] in [0, 1].

    Returns:
        uint8 [n, H, W, C].

    Raises:
        TypeError: ``images`` is not floating point.
        ValueError: the shape or the range is another, or a value is NaN.

    >>> import torch
    >>> to_bytes(torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)).tolist()
    [[[[0], [128], [255]]]]
    """
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point in [0, 1], got {images.dtype}")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
        raise ValueError(
            f"images must be [n, C, H, W] with C 1 or 3 and n ≥ 1, got {list(images.shape)}"
        )
    images = images.detach().to("cpu", torch.float32)
    low, high = float(images.min()), float(images.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # NaN fails both
        raise ValueError(f"images must be in [0, 1], got values from {low:g} to {high:g}")
    array: np.ndarray = images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    return array


def compose(
    cells: np.ndarray,  # uint8 [n, H, W, C]
    columns: int,
    padding: int,
    background: int,
) -> np.ndarray:
    """Put cells on one sheet, row by row, with ``padding`` around each.

    Returns:
        uint8 [rows · (H + padding) + padding, columns · (W + padding) + padding, C].

    >>> compose(np.ones((2, 1, 1, 1), np.uint8), 2, 1, 0)[..., 0].tolist()
    [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]]
    """
    count, height, width, channels = cells.shape
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + padding) + padding, columns * (width + padding) + padding, channels),
        background,
        np.uint8,
    )
    for i, cell in enumerate(cells):
        top = padding + (i // columns) * (height + padding)
        left = padding + (i % columns) * (width + padding)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def default_columns(count: int) -> int:
    """The number of columns that makes a grid of ``count`` as square as it can be.

    >>> [default_columns(n) for n in (1, 2, 9, 10, 64)]
    [1, 2, 3, 4, 8]
    """
    return math.ceil(math.sqrt(count))


def default_scale(columns: int, size: tuple[int, int]) -> int:
    """Screen pixels per image pixel, so that a row is about 640 wide and no image is tiny.

    >>> default_scale(8, (28, 28)), default_scale(1, (28, 28)), default_scale(2, (512, 512))
    (3, 8, 1)
    """
    return max(1, min(8, round(640 / (columns * size[1]))))
