"""Argument checks shared by the operators: once, in Python, before any kernel sees a shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Shapes:
    """Checks tensors of one call against each other, by named dimensions.

    The first tensor to use a name binds it; the first tensor of all sets the device.

    >>> shapes = Shapes()
    >>> shapes.check("params", torch.zeros(4, 5), ("B", 5))
    >>> shapes.check("patch", torch.zeros(3, 2), ("B", "N"))
    Traceback (most recent call last):
    ValueError: patch must have shape [B, N] with B = 4, got [3, 2]
    """

    def __init__(self, **bound: int) -> None:
        self.bound = bound
        self._first = ""
        self._device: torch.device | None = None

    def check(self, name: str, value: Any, shape: tuple[str | int, ...]) -> None:
        """Raise TypeError or ValueError unless ``value`` is a float tensor of that shape."""
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
        if not value.is_floating_point():
            raise TypeError(f"{name} must have a floating-point dtype, got {value.dtype}")
        device = value.device
        if self._device is None:
            self._first, self._device = name, device
        elif device != self._device:
            raise ValueError(
                f"{name} must be on the device of {self._first}, {self._device}, got {device}"
            )
        sizes, bound = value.shape, self.bound
        if len(sizes) != len(shape):
            self._wrong_shape(name, value, shape)
        for size, expected in zip(sizes, shape):
            if isinstance(expected, str):
                expected = bound.setdefault(expected, size)
            if size != expected:
                self._wrong_shape(name, value, shape)

    def _wrong_shape(self, name: str, value: Tensor, shape: tuple[str | int, ...]) -> None:
        known = [f"{d} = {self.bound[d]}" for d in shape if isinstance(d, str) and d in self.bound]
        wanted = ", ".join(str(d) for d in shape)
        condition = f" with {', '.join(known)}" if known else ""
        raise ValueError(f"{name} must have shape [{wanted}]{condition}, got {list(value.shape)}")


def check_count(name: str, value: Any) -> None:
    """Raise unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Raise unless ``size`` is (H, W) in whole pixels; returns it as a tuple."""
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise TypeError(f"{name} must be (H, W), got {size!r}")
    check_count(f"{name}[0]", size[0])
    check_count(f"{name}[1]", size[1])
    return size[0], size[1]
