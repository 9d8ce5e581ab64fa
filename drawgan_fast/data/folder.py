"""Any folder of images as a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.pixels import Channels, check_channels, is_grey, split_mask, with_channels
from drawgan_fast.errors import DrawganError

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm")
)


def load_folder(
    folder: Path,
    split: Literal["train", "test"],
    *,
    size: tuple[int, int] | None = None,
    channels: Channels = "auto",
) -> ImageData:
    """Read every image at or under a folder, in the order of their paths.

    Split: what lies in ``train/`` and ``test/`` where the folder has both, else 90/10 by a
    permutation that is always the same. Labels: where every image lies in a subfolder (of
    ``train/`` and ``test/``, where these exist), the first subfolder is its class. Transparent
    pixels are laid on white, and of an animation the first frame is taken.

    Args:
        folder: searched recursively; files and folders whose name begins with a dot are left out.
        split: ``"train"`` or ``"test"``.
        size: (H, W) that images of another size are scaled to; needed where sizes differ.
        channels: 1 for grey, 3 for colour, ``"auto"`` for grey unless some pixel is coloured.

    Returns:
        uint8 images [n, C, H, W], labels by class in alphabetical order, or None.

    Raises:
        DrawganError: no image, an unreadable one, differing sizes without ``size``, or a single
            image that cannot be split.
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
    paths = find_images(folder)
    if not paths:
        raise DrawganError(
            f"{folder} holds no image: expected files ending in {', '.join(sorted(SUFFIXES))}, "
            "there or in subfolders."
        )
    parts = [path.relative_to(folder).parts for path in paths]
    if {part[0] for part in parts if len(part) > 1} >= {"train", "test"}:
        mask = np.array([part[0] == split and len(part) > 1 for part in parts])
        parts = [part[1:] if part[0] in ("train", "test") else part for part in parts]
    else:
        mask = split_mask(len(paths), split, str(folder))

    # All images are read, whatever the split: size and channels must be the same for both.
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda path: read_image(path, size), paths))
    _check_sizes(images, paths)
    if channels == "auto":
        channels = 1 if all(is_grey(image) for image in images) else 3
    stacked = np.stack([with_channels(images[i], channels) for i in np.flatnonzero(mask)])

    labels, classes = _labels(parts)
    count = len(stacked)
    return ImageData(
        torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))),
        None if labels is None else torch.from_numpy(labels[mask]),
        folder.resolve().name,
        f"{count:,} of {len(paths):,} images in {folder} ({split})",
        classes,
    )


def find_images(folder: Path) -> list[Path]:
    """Image files at or under ``folder``, ordered by path, hidden ones left out.

    Raises:
        DrawganError: a folder cannot be listed.

    >>> find_images(Path(__file__).parent)
    []
    """

    def refuse(error: OSError) -> None:
        raise DrawganError(f"cannot list {error.filename} ({error.strerror}).") from error

    found = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name)
            for name in files
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """One image file as bytes, turned upright as its EXIF data says.

    Args:
        path: any file that Pillow reads; 16-bit grey is brought to 8 bits.
        size: (H, W) to scale to where the image differs, antialiased; None keeps its size.

    Returns:
        uint8 [H, W, 1] where the file is grey, else [H, W, 3].

    Raises:
        DrawganError: the file is unreadable, truncated, or of a kind that has no byte levels.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DrawganError(
            f"cannot read the image {path} ({error}): replace it or take it out of the folder."
        ) from error
    if image.mode == "F":
        raise DrawganError(f"{path} holds floating-point pixels: save it with 8 bits a channel.")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.clip(np.rint(levels / 257), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("1", "L", "LA"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _check_sizes(images: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    for image, path in zip(images, paths):
        if image.shape[:2] != images[0].shape[:2]:
            (h, w), (other_h, other_w) = images[0].shape[:2], image.shape[:2]
            raise DrawganError(
                f"images differ in size: {paths[0]} is {h} by {w}, {path} is {other_h} by "
                f"{other_w} (height by width): give the size that all should be scaled to."
            )


def _labels(
    parts: Sequence[tuple[str, ...]],
) -> tuple[np.ndarray, tuple[str, ...]] | tuple[None, None]:
    if any(len(part) == 1 for part in parts):
        return None, None
    classes = tuple(sorted({part[0] for part in parts}))
    return np.array([classes.index(part[0]) for part in parts], np.int64), classes
