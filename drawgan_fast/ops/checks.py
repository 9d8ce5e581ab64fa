"""Argument checks shared by the operators: once, in Python, before any kernel sees a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from drawgan_fast._native import NativeUnavailable, load_cpu

Shape = tuple[str | int, ...]
_DLPACK_DEVICES = {1: "cpu", 2: "cuda"}


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

    def check(self, name: str, value: Any, shape: Shape) -> None:
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

    def _wrong_shape(self, name: str, value: Tensor, shape: Shape) -> None:
        known = [f"{d} = {self.bound[d]}" for d in shape if isinstance(d, str) and d in self.bound]
        wanted = ", ".join(str(d) for d in shape)
        condition = f" with {', '.join(known)}" if known else ""
        raise ValueError(f"{name} must have shape [{wanted}]{condition}, got {list(value.shape)}")


class Signature:
    """The arguments of a call that are tensors, and the shapes that they must have together.

    To ask each tensor for its type, dtype, device, layout and shape takes Python longer than a
    small kernel takes. So the compiled core looks at all of them in one go, and those that it does
    not accept, exotic or wrong, are looked at one by one.

    Args:
        arguments: their shapes by their names, in order, as for :meth:`Shapes.check`; None for
            one that is not given.
        bound: sizes of dimensions that are known.

    >>> pair = Signature({"params": ("B", 5), "patch": ("B", "N"), "canvas": None})
    >>> pair.check((torch.zeros(4, 5), torch.zeros(3, 2), None))
    Traceback (most recent call last):
    ValueError: patch must have shape [B, N] with B = 4, got [3, 2]
    """

    def __init__(self, arguments: Mapping[str, Shape | None], **bound: int) -> None:
        self._arguments, self._bound = arguments, bound
        self._device: Callable[[tuple[Tensor | None, ...]], int] | None = None

    def check(self, tensors: tuple[Tensor | None, ...]) -> str | None:
        """Check the tensors.

        Returns:
            The type of the one device on which all of them are, if they are known to be plain: a
            ``Tensor`` or ``Parameter`` itself, strided, not empty, of one float dtype. None says
            nothing: they may be of another kind, the core not compiled, torch older than 2.10.

        Raises:
            TypeError, ValueError: as :meth:`Shapes.check`.
        """
        if not torch.compiler.is_compiling():
            plain = _DLPACK_DEVICES.get((self._device or self._load())(tensors))
            if plain is not None:
                return plain
        shapes = Shapes(**self._bound)
        for (name, shape), tensor in zip(self._arguments.items(), tensors):
            if shape is not None:
                shapes.check(name, tensor, shape)
        return None

    def _load(self) -> Callable[[tuple[Tensor | None, ...]], int]:
        free: dict[str, int] = {}

        def coded(size: str | int) -> int:
            size = self._bound.get(size, size) if isinstance(size, str) else size
            return -1 - free.setdefault(size, len(free)) if isinstance(size, str) else size

        shapes = [shape and [coded(size) for size in shape] for shape in self._arguments.values()]
        try:
            self._device = load_cpu().Signature(shapes).device
        except NativeUnavailable:
            self._device = lambda tensors: 0
        return self._device


def remembered(make: Callable[..., Signature]) -> Callable[..., Signature]:
    """Keep the signatures that a function has made, where no compiler traces the call."""
    kept = lru_cache(maxsize=256)(make)

    def signature(*key: Any) -> Signature:
        return make(*key) if torch.compiler.is_compiling() else kept(*key)

    return signature
