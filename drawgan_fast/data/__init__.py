"""Data sets as :class:`ImageData`: MNIST, folders of images and NumPy arrays."""

from __future__ import annotations

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.sources import load

__all__ = ["ImageData", "load"]
