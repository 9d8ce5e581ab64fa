"""The compiled CUDA core, or its emulation on the CPU: loaded at first use.

``DRAWGAN_CUDA_EMULATION`` names an extension module of the same sources compiled as C++: kernels
then run on CPU tensors, a fibre per thread, for tests and debugging.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import torch

from drawgan_fast._native import CUDA_EMULATION_VARIABLE, load_cuda
from drawgan_fast.backends.tracing import constant_when_traced

EMULATED = bool(os.environ.get(CUDA_EMULATION_VARIABLE))

_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}


@lru_cache(maxsize=1)
def _outcome() -> tuple[Any, str | None]:
    try:
        return load_cuda(), None
    except Exception as error:
        # Whatever a broken build raises, the package must still run on the next backend.
        return None, str(error) or type(error).__name__


# A compiler that traces a call takes the answer as it is, instead of tracing the loading.
@constant_when_traced
def not_loaded() -> str | None:
    """Why there is no core, or None if there is one; the question is asked once per process."""
    return _outcome()[1]


def core() -> Any:
    """The extension module.

    Raises:
        RuntimeError: it is not built or cannot be loaded.
    """
    module, reason = _outcome()
    if module is None:
        raise RuntimeError(f"the cuda backend cannot run here: {reason}")
    return module


def stream(device: torch.device) -> int:
    """Handle of torch's current stream, on which kernels are launched."""
    return 0 if EMULATED else torch.cuda.current_stream(device).cuda_stream


def type_code(dtype: torch.dtype) -> int:
    """A dtype as the core numbers it."""
    return _TYPES[dtype]
