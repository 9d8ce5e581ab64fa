"""The compiled CUDA core, or its emulation on the CPU.

``DRAWGAN_CUDA_EMULATION`` names an extension module of the same sources compiled as C++: kernels
then run on CPU tensors, a fibre per thread, for tests and debugging.
"""

from __future__ import annotations

import os

import torch

from drawgan_fast._native import CUDA_EMULATION_VARIABLE, load_cuda
from drawgan_fast.backends.compiled.core import Core

EMULATED = bool(os.environ.get(CUDA_EMULATION_VARIABLE))

_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}

core = Core("cuda", load_cuda)


def not_loaded() -> str | None:
    """Why there is no core, or None if there is one."""
    return core.unavailable()


def stream(device: torch.device) -> int:
    """Handle of torch's current stream, on which kernels are launched."""
    return 0 if EMULATED else torch.cuda.current_stream(device).cuda_stream


def type_code(dtype: torch.dtype) -> int:
    """A dtype as the core numbers it."""
    return _TYPES[dtype]
