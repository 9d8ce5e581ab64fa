"""What stored numbers stand for: which of them is black and which is white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drawgan_fast.errors import DrawganError

# What resampling or rounding adds to a range, as a share of it.
_SLACK = 1e-3
_WHITES = (255, 65_535)
_DOUBLY_DIVIDED = (1 + _SLACK) / 255


@dataclass(frozen=True)
class Levels:
    """The numbers that stand for black and for white; between them grey is linear.

    >>> Levels(0, 65535).to_bytes(np.array([0, 257, 65535])).tolist()
    [0, 1, 255]
    """

    black: float
    white: float

    def to_bytes(self, array: np.ndarray) -> np.ndarray:
        """``array`` as bytes, rounded, 0 for black and 255 for white; beyond them clipped."""
        if array.dtype == np.uint8 and (self.black, self.white) == (0, 255):
            return array
        scaled = (array.astype(np.float32) - self.black) * (255 / (self.white - self.black))
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Range:
    """The least and the largest of some numbers, and their type."""

    low: float
    high: float
    dtype: np.dtype

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], name: str) -> Range:
        """The range of all numbers in ``arrays`` (not empty, of one type).

        Raises:
            DrawganError: they are no numbers, or one is NaN or infinite.

        >>> Range.of([np.array([3, 1]), np.array([2])], "x").high
        3.0
        """
        dtype = np.result_type(*arrays)
        if dtype.kind not in "biuf":
            raise DrawganError(
                f"{name} has the type {dtype}: expected bool, integers or floats; save one plain "
                "array of numbers."
            )
        low = min(float(array.min()) for array in arrays)
        high = max(float(array.max()) for array in arrays)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise DrawganError(f"{name} holds NaN or infinity: clean it and save it again.")
        return cls(low, high, dtype)

    @property
    def words(self) -> str:
        """For a sentence: the type and the range."""
        return f"{self.dtype} values from {self.low:g} to {self.high:g}"


def find_levels(found: Range, name: str) -> tuple[Levels, str | None]:
    """What numbers of a range stand for, decided by type and range of the whole data set.

    ============================================== =====================
    found                                          taken for
    ============================================== =====================
    bool                                           False black, True white
    integers, only 0 and 1                         0 black, 1 white
    floats in [0, 1], some above 1/255             0 black, 1 white
    floats from -1 to 1, both ends reached         -1 black, 1 white
    from 0 to at most 255, some above half of it   0 black, 255 white
    from 0 to at most 65,535, some above half      0 black, 65,535 white
    ============================================== =====================

    An end counts as reached within a thousandth. All other ranges (10- or 12-bit levels, 0 to 16,
    standardised floats) could mean several things and are refused: a wrong guess would train on
    nearly black images, or on wrapped ones.

    Args:
        found: of all images, training and test.
        name: for the sentences.

    Returns:
        The levels, and one line for people where they are not what the type says by itself
        (bool, bytes that are bright, floats in [0, 1]).

    Raises:
        DrawganError: none of the above; with the range and the way out.

    >>> find_levels(Range(0, 1, np.dtype(np.uint8)), "x")
    (Levels(black=0, white=1), 'x: uint8 values from 0 to 1 are taken for 0 black, 1 white.')
    """
    levels = _levels(found)
    if levels is None:
        twice = found.dtype.kind == "f" and found.low >= 0 and found.high <= _DOUBLY_DIVIDED
        cause = (
            "black at 8 bits (divided by 255 twice?): multiply by what was divided once too often"
            if twice
            else "neither 0 and 1, nor 0 to 255, nor 0 to 65,535, nor -1 to 1 with both ends "
            "reached: bring them to floats in [0, 1], black 0 and white 1, for example by "
            "subtracting what stands for black and dividing by what stands for white"
        )
        raise DrawganError(f"{name} holds {found.words}, {cause}.")
    by_type = {"b": Levels(0, 1), "f": Levels(0, 1)}.get(found.dtype.kind)
    if levels == by_type or (found.dtype == np.uint8 and levels.white == 255):
        return levels, None
    return levels, (
        f"{name}: {found.words} are taken for {levels.black:g} black, {levels.white:g} white."
    )


def _levels(found: Range) -> Levels | None:
    low, high, kind = found.low, found.high, found.dtype.kind
    if kind == "b" or low == high == 0:  # all black is black on every scale
        return Levels(0, 255 if found.dtype == np.uint8 else 1)
    if kind in "iu":
        if low >= 0 and high <= 1:
            return Levels(0, 1)
    elif high <= 1 + _SLACK:
        if low >= -_SLACK:
            return Levels(0, 1) if high > _DOUBLY_DIVIDED else None
        return Levels(-1, 1) if abs(low + 1) <= _SLACK and high >= 1 - _SLACK else None
    for white in _WHITES:
        if low >= -_SLACK * white and white / 2 < high <= white * (1 + _SLACK):
            return Levels(0, white)
    return None
