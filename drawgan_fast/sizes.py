"""Sizes and other numbers as people give them, of Python or of NumPy, kept as Python's."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import torch


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """``value`` as an int, if it is a whole number (Python's, NumPy's) of at least ``least``.

    Raises:
        TypeError: it is of another type; True and 2.0 are no sizes.
        ValueError: it is less.

    >>> import numpy as np
    >>> whole("steps", np.int64(3))
    3
    >>> whole("N", 0)
    Traceback (most recent call last):
    ValueError: N must be at least 1, got 0
    """
    if type(value) is not int:  # asked first: compilers trace no abstract classes
        if isinstance(value, torch.SymInt):
            return value  # type: ignore[return-value]  # of a graph that is being exported
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        value = int(value)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def height_and_width(name: str, value: Any) -> tuple[int, int]:
    """``value`` as (H, W), if it is two whole numbers of pixels: a tuple, a list, an array.

    Raises:
        TypeError: it is no such pair.
        ValueError: a side is below 1.

    >>> height_and_width("size", [28, 28])
    (28, 28)
    >>> height_and_width("size", 28)
    Traceback (most recent call last):
    TypeError: size must be (H, W), got 28
    """
    sides: Any = () if isinstance(value, (str, bytes, dict, set)) else value
    try:
        height, width = sides
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be (H, W), got {value!r}") from None
    return whole(f"{name}[0]", height), whole(f"{name}[1]", width)


def real(name: str, value: Any) -> float:
    """``value`` as it is, if it is a number; raise TypeError otherwise.

    >>> real("dropout", True)
    Traceback (most recent call last):
    TypeError: dropout must be a number, got bool
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    return value  # type: ignore[return-value]


def plain_numbers(value: Any) -> Any:
    """The same with NumPy's numbers as Python's and tuples as lists, as JSON has them.

    >>> import numpy as np
    >>> plain_numbers({"steps": np.int64(3), "widths": (np.int32(4), 5)})
    {'steps': 3, 'widths': [4, 5]}
    """
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_numbers(item) for item in value]
    # Without importing NumPy, which the operators do without.
    is_numpys = any((k.__module__, k.__name__) == ("numpy", "generic") for k in type(value).__mro__)
    return value.item() if is_numpys else value
