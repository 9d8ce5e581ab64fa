"""Data sets as :class:`ImageData`: MNIST and its kin, folders of images, NumPy arrays, text."""

from __future__ import annotations

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.sources import absolute, is_name, load

__all__ = ["ImageData", "absolute", "is_name", "load"]
