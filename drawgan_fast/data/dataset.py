"""Images held whole in memory as bytes, and the batches that a training loop takes from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from drawgan_fast.data.frame import framed, placement
from drawgan_fast.errors import DrawganError

Binarise = Literal["none", "fixed", "epoch"]

# Streams of random numbers never overlap, because each is seeded by (purpose, ...).
_ORDER, _NOISE, _FIXED = 1, 2, 3


@dataclass(frozen=True, eq=False)
class ImageData:
    """A set of images of one size, stored as bytes on one device.

    A byte g stands for the grey level (or colour intensity) g/255 in [0, 1].

    Args:
        images: uint8 [n, C, H, W] on any device, n ≥ 1.
        labels: int64 [n], or None where the images have no classes.
        name: what people read in tables and figures.
        source: one sentence that says where the images came from.
        classes: name of each label, or None where labels are just numbers.

    Raises:
        TypeError: ``images`` is not uint8, or ``labels`` is not int64.
        ValueError: a shape does not fit, or there is no image.

    >>> import torch
    >>> data = ImageData(torch.zeros(10, 1, 4, 6, dtype=torch.uint8), None, "black", "made here")
    >>> len(data), data.channels, data.image_size
    (10, 1, (4, 6))
    """

    images: Tensor  # uint8 [n, C, H, W]
    labels: Tensor | None  # int64 [n]
    name: str
    source: str
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8:
            raise TypeError(f"images must be torch.uint8, got {self.images.dtype}")
        if self.images.ndim != 4 or min(self.images.shape) < 1:
            raise ValueError(
                f"images must be [n, C, H, W] with no empty side, got {list(self.images.shape)}"
            )
        if self.labels is None:
            return
        if self.labels.dtype != torch.int64:
            raise TypeError(f"labels must be torch.int64, got {self.labels.dtype}")
        if self.labels.shape != (len(self),):
            raise ValueError(f"labels must be [{len(self)}], got {list(self.labels.shape)}")

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def channels(self) -> int:
        """C: 1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def device(self) -> torch.device:
        """Where the bytes are, and where batches come out."""
        return self.images.device

    def to(self, device: torch.device | str) -> ImageData:
        """The same data with images and labels on ``device``.

        >>> import torch
        >>> images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
        >>> ImageData(images, None, "a", "b").to("cpu").device
        device(type='cpu')
        """
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), labels=labels)

    def subset(self, indices: Tensor) -> ImageData:
        """The images at ``indices``, in that order.

        Args:
            indices: int64 [m], each in [0, n).

        Returns:
            m images with their labels.

        >>> import torch
        >>> images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
        >>> ImageData(images, None, "a", "b").subset(torch.tensor([2, 0])).images.flatten()
        tensor([2, 0], dtype=torch.uint8)
        """
        indices = indices.to(self.device)
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, images=self.images[indices], labels=labels)

    def resized(self, size: int | tuple[int, int]) -> ImageData:
        """The same images at another size.

        Padded with zeros where they fit, else scaled: :func:`~drawgan_fast.data.frame.placement`.

        Args:
            size: (H, W) in pixels, or one number for both.

        Raises:
            ValueError: a side is below 1.

        >>> import torch
        >>> data = ImageData(torch.full((1, 1, 2, 2), 9, dtype=torch.uint8), None, "a", "b")
        >>> data.resized(4).images[0, 0].tolist()
        [[0, 0, 0, 0], [0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]]
        """
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError(f"size must be at least 1 pixel on each side, got {(height, width)}")
        frame = (height, width)
        how = placement({self.image_size}, frame)
        return self if how == "as is" else replace(self, images=framed(self.images, frame, how))

    def binarised(self, seed: int = 0) -> ImageData:
        """Every pixel drawn once as Bernoulli(g/255): bytes that are 0 or 255.

        The draw happens on the CPU, so it is the same whatever device holds the images.

        Args:
            seed: seed of the draw; 0 is the one that ``batches(binarise="fixed")`` uses.

        Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks",
        ICML 2008, the binarisation that DRAW's bounds in nats are stated on.

        >>> import torch
        >>> data = ImageData(torch.full((1, 1, 20, 20), 51, dtype=torch.uint8), None, "a", "b")
        >>> sorted(set(data.binarised().images.flatten().tolist()))
        [0, 255]
        """
        noise = _uniform_bytes(tuple(self.images.shape), _FIXED, seed)
        ones = noise.to(self.device) < self.images
        return replace(self, images=ones.to(torch.uint8).mul_(255))

    @cached_property
    def _fixed(self) -> Tensor:  # uint8 [n, C, H, W]
        return self.binarised(0).images

    def batch_count(self, batch_size: int, drop_last: bool = True) -> int:
        """How many batches :meth:`batches` gives in an epoch.

        >>> import torch
        >>> data = ImageData(torch.zeros(10, 1, 2, 2, dtype=torch.uint8), None, "a", "b")
        >>> data.batch_count(4), data.batch_count(4, drop_last=False)
        (2, 3)
        """
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        epoch: int,
        seed: int,
        binarise: Binarise = "none",
        shuffle: bool = True,
        drop_last: bool = True,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """One epoch of batches from batch ``start`` on.

        Order and noise are drawn on the CPU from (seed, epoch, batch number) alone: an epoch that
        is resumed at batch k goes on bit for bit as the uninterrupted one, on any device.

        Args:
            batch_size: images per batch, B ≥ 1.
            epoch: number of the epoch, ≥ 0; another one is another order.
            seed: seed of the run, ≥ 0.
            binarise: ``"none"`` gives grey levels; ``"fixed"`` pixels that were drawn once as
                Bernoulli(grey level), the same in every epoch and for every seed; ``"epoch"``
                pixels drawn anew in every epoch.
            shuffle: False keeps the stored order.
            drop_last: leave out the last batch where it would be smaller.
            start: first batch to give; 0 ≤ start ≤ :meth:`batch_count`.

        Returns:
            An iterator of float32 [B, C, H, W] in [0, 1] on the data's device.

        Raises:
            ValueError: an argument is out of its range.
            DrawganError: there are fewer images than one batch takes.

        >>> import torch
        >>> images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
        >>> data = ImageData(images, None, "ramp", "made here")
        >>> whole = list(data.batches(2, epoch=3, seed=7))
        >>> rest = list(data.batches(2, epoch=3, seed=7, start=3))
        >>> torch.equal(whole[3], rest[0])
        True
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be ≥ 1, got {batch_size}")
        if epoch < 0 or seed < 0:
            raise ValueError(f"epoch and seed must be ≥ 0, got epoch={epoch}, seed={seed}")
        if binarise not in get_args(Binarise):
            raise ValueError(f"binarise must be one of {get_args(Binarise)}, got {binarise!r}")
        count = self.batch_count(batch_size, drop_last)
        if count == 0:
            raise DrawganError(
                f"{self.name} has {len(self)} images, fewer than one batch of {batch_size}: "
                f"set the batch size to {len(self)} or less, or use more images."
            )
        if not 0 <= start <= count:
            raise ValueError(f"start must be in [0, {count}], got {start}")
        return self._batches(batch_size, range(start, count), epoch, seed, binarise, shuffle)

    def _batches(
        self,
        batch_size: int,
        numbers: range,
        epoch: int,
        seed: int,
        binarise: Binarise,
        shuffle: bool,
    ) -> Iterator[Tensor]:
        stored = self._fixed if binarise == "fixed" else self.images
        order = None
        if shuffle:
            permutation = _generator(_ORDER, seed, epoch).permutation(len(self))
            order = torch.from_numpy(permutation).to(self.device)
        for number in numbers:
            rows = slice(number * batch_size, (number + 1) * batch_size)
            grey = stored[rows] if order is None else stored.index_select(0, order[rows])
            if binarise == "epoch":
                noise = _uniform_bytes(tuple(grey.shape), _NOISE, seed, epoch, number)
                yield (noise.to(self.device) < grey).float()
            else:
                yield grey.float().div_(255)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def _uniform_bytes(shape: tuple[int, ...], *key: int) -> Tensor:
    """uint8 uniform on 0..254: ``u < g`` then has probability g/255 exactly, 0 and 1 included."""
    return torch.from_numpy(_generator(*key).integers(0, 255, shape, dtype=np.uint8))
