"""The backend that runs Triton kernels on NVIDIA and AMD GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled import CompiledBackend, Kernels
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

    def can_run(self, op: str, args: Mapping[str, Any]) -> str | None:
        """Strided float tensors of at most 32 bits on one supported GPU, windows up to 64×64."""
        reason = super().can_run(op, args)
        if reason is not None:
            return reason
        for name, value in args.items():
            for tensor in value if isinstance(value, tuple) else (value,):
                if isinstance(tensor, Tensor) and tensor.dtype is torch.float64:
                    return f"{name} has dtype torch.float64, and it computes in float32"
        sizes = {"N": args.get("N", 1)}
        if op == "attention_write":
            sizes = {"N": args["patch"].shape[-1]}
        elif "cfg" in args and args["cfg"].attention:
            sizes = {name: getattr(args["cfg"], name) for name in ("read_size", "write_size")}
        for name, N in sizes.items():
            if N > MAX_N:
                return f"{name} is {N}, and its windows have at most {MAX_N} grid points a side"
        first = next(t for t in _tensors(args))
        return _unsupported(first.device)


def _tensors(args: Mapping[str, Any]) -> Any:
    for value in args.values():
        for tensor in value if isinstance(value, tuple) else (value,):
            if isinstance(tensor, Tensor):
                yield tensor


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


@constant_when_traced
@lru_cache(maxsize=64)
def _unsupported(device: torch.device) -> str | None:
    """Why the kernels do not run on this device, or None if they do."""
    if device.type != "cuda" or torch.version.hip:
        return None
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        name = torch.cuda.get_device_name(device)
        wanted = ".".join(map(str, MIN_CAPABILITY))
        has = ".".join(map(str, capability))
        return f"{name} has compute capability {has}, and its kernels need {wanted}"
    return None
