"""probe.cu as a library of plain functions over NumPy arrays."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np

from tests.support.cuda_emulation import program

HERE = Path(__file__).parent


@cache
def probe() -> ctypes.CDLL:
    return ctypes.CDLL(str(program(HERE / "probe.cu", shared=True)))


def at(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
