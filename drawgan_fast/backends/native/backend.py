"""The backend that runs on the compiled CPU core."""

from __future__ import annotations

import os

from drawgan_fast._native import CPU_ISA_VARIABLE
from drawgan_fast.backends.compiled import CompiledBackend
from drawgan_fast.backends.native.core import unavailable
from drawgan_fast.backends.native.kernels import NativeKernels


class NativeBackend(CompiledBackend):
    """C++ on the CPU: float32 and float64 (half types compute in float32), first derivatives.

    Under ``torch.autocast("cpu", dtype=torch.bfloat16)`` the operands of the LSTM's and of the
    scan's matrix products are rounded to bfloat16 where the CPU multiplies bfloat16, with float32
    sums; elsewhere they stay float32, since autocast is a permission. Attention is float32 always.
    It runs on ``torch.get_num_threads()`` threads, and gives the same bits on any number of them.
    """

    name = "native"
    kernels = NativeKernels()

    def unavailable(self) -> str | None:
        """Why the compiled core is not here, or None if it is."""
        return unavailable()

    def asked_for(self) -> bool:
        """Whether ``DRAWGAN_CPU_ISA`` names an instruction set, which only the core has."""
        return bool(os.environ.get(CPU_ISA_VARIABLE))
