"""The backend that runs Triton kernels on NVIDIA and AMD GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from drawgan_fast.backends.compiled import CompiledBackend, Kernels
from drawgan_fast.backends.compiled.limits import (
    against_capability,
    against_float64,
    against_windows,
    tensors_of,
)
from drawgan_fast.backends.tracing import constant_when_traced

MAX_N = 64
MIN_CAPABILITY = (8, 0)


class TritonBackend(CompiledBackend):
    """Triton: float32, bfloat16 and float16 with float32 arithmetic, first derivatives.

    Under ``torch.autocast("cuda", dtype=torch.bfloat16)`` the operands and results of the LSTM's
    and of the scan's matrix products are bfloat16, as PyTorch's own are; attention and states stay
    float32. Products outside the kernels are the library's, and follow
    ``torch.backends.cuda.matmul``. Results are the same on every run.

    With ``TRITON_INTERPRET=1`` in the environment it runs in Triton's interpreter, on CPU tensors,
    for tests and debugging: a thousand times slower.
    """

    name = "triton"

    @cached_property
    def kernels(self) -> Kernels:  # type: ignore[override]
        """The kernels; the first look imports Triton, which takes most of a second."""
        from drawgan_fast.backends.triton.kernels import TritonKernels

        return TritonKernels()

    def has_kernels(self) -> bool:
        """Whether Triton is installed: shapes need no GPU."""
        return find_spec("triton") is not None

    def unavailable(self) -> str | None:
        """Why Triton kernels cannot run here, or None if they can."""
        return _unavailable()

    def asked_for(self) -> bool:
        """Nothing but its name asks for this backend."""
        return False

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        """Strided float tensors of at most 32 bits on one supported GPU, windows up to 64×64."""
        first = next(tensor for _, tensor in tensors_of(args))
        return (
            super().can_run(op, args, plain)
            or against_float64(args)
            or against_windows(op, args, MAX_N)
            or against_capability(first.device, MIN_CAPABILITY)
        )


# A compiler that traces a call takes the answers as they are.
@constant_when_traced
@lru_cache(maxsize=1)
def _unavailable() -> str | None:
    # First, so that nobody without a GPU is told to install Triton; and its import takes a while.
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        return "torch sees no GPU"
    if find_spec("triton") is None:
        return "triton is not installed: pip install 'drawgan-fast[triton]'"
    try:
        import triton  # noqa: F401
    except Exception as error:
        # Whatever a broken installation raises, the package must still run on the reference.
        return f"triton cannot be imported: {error}"
    return None
