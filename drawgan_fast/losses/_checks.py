"""Argument checks that the losses share."""

from __future__ import annotations

from torch import Tensor


def check_float(name: str, value: object) -> None:
    """Raise TypeError unless ``value`` is a floating-point tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a float tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be a float tensor, got dtype {value.dtype}")


def check_same_shape(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise unless both are float tensors of one shape: broadcasting would hide a mistake."""
    check_float(name, value)
    check_float(other_name, other)
    if value.shape != other.shape:
        raise ValueError(
            f"{other_name} must have the shape of {name}, {list(value.shape)}, "
            f"got {list(other.shape)}"
        )
