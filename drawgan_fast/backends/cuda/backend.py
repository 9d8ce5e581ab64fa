"""The backend that runs on the compiled CUDA core."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled import CompiledBackend, Kernels
from drawgan_fast.backends.compiled.calls import autocasts_to_bf16, on_device
from drawgan_fast.backends.compiled.limits import (
    against_capability,
    against_float64,
    tensors_of,
    windows_of,
)
from drawgan_fast.backends.cuda.core import EMULATED, core, not_loaded
from drawgan_fast.backends.cuda.draw_plan import against_plan
from drawgan_fast.backends.tracing import constant_when_traced

MIN_CAPABILITY = (8, 0)
MAX_CHANNELS = 65535  # blocks of a grid along its second side


class CudaBackend(CompiledBackend):
    """CUDA C++ on NVIDIA GPUs from compute capability 8.0: float32, bfloat16 and float16.

    The recurrence runs in one launch, with its weights and its state on the chip; a network that
    does not fit there is left to the next backend. Under ``torch.autocast("cuda",
    dtype=torch.bfloat16)`` the operands and results of products are bfloat16; everything else is
    float32. First derivatives; results are the same on every run.

    With ``DRAWGAN_CUDA_EMULATION`` naming an emulation of the core it runs on CPU tensors, for
    tests and debugging: many thousand times slower.
    """

    name = "cuda"

    @cached_property
    def kernels(self) -> Kernels:  # type: ignore[override]
        """The kernels; shapes can be asked of them where the core cannot be loaded."""
        from drawgan_fast.backends.cuda.kernels import CudaKernels

        return CudaKernels()

    def has_kernels(self) -> bool:
        """Shapes need neither the core nor a GPU."""
        return True

    def unavailable(self) -> str | None:
        """Why the core cannot run here, or None if it can."""
        return _unavailable()

    def asked_for(self) -> bool:
        """Whether ``DRAWGAN_CUDA_EMULATION`` names an emulation, which only this backend has."""
        return EMULATED

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        """Strided float tensors of at most 32 bits on one GPU whose chip holds what they need."""
        reason = super().can_run(op, args, plain) or against_float64(args)
        if reason is not None:
            return reason
        device = next(tensor for _, tensor in tensors_of(args)).device
        return against_capability(device, MIN_CAPABILITY) or self._against_size(op, args, device)

    def _against_size(self, op: str, args: Mapping[str, Any], device: torch.device) -> str | None:
        if "cfg" in args:
            return against_plan(args["cfg"], autocasts_to_bf16(device.type), device)
        for name, N in windows_of(op, args).items():
            C, H, W = _image(op, args)
            if C > MAX_CHANNELS:
                return f"there are {C} channels, and its grids have at most {MAX_CHANNELS}"
            needed, limit = attention_shared_bytes(H, W, N), shared_memory(device)
            if needed > limit:
                return (
                    f"{name} is {N} and the image {H} by {W}: filters and their gradients take "
                    f"{needed} bytes of shared memory, and a block has {limit}"
                )
        return None


def _image(op: str, args: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of what is read or written."""
    if op == "attention_write":
        return (args["patch"].shape[1], *args["size"])
    images = args["images"]
    image: Tensor = images[0] if isinstance(images, tuple) else images
    return image.shape[1], image.shape[2], image.shape[3]


def attention_shared_bytes(H: int, W: int, N: int) -> int:
    """Shared memory of the attention kernel that takes most: a read's backward of two images.

    The core's own number, in arithmetic that a compiler can follow with symbolic sizes.
    """
    warps = 4
    filters = N * (H + W)
    return 4 * (2 * filters + 2 * (N * N + filters) + 6 * N + 5 * warps)


@lru_cache(maxsize=64)
def _shared_memory(device: torch.device) -> int:
    with on_device(device):
        return int(core().device_limits()["shared_bytes"])


@constant_when_traced
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a block can have."""
    return _shared_memory(device)


# A compiler that traces a call takes the answer as it is.
@constant_when_traced
def _unavailable() -> str | None:
    return _why()


@lru_cache(maxsize=1)
def _why() -> str | None:
    if EMULATED:
        return not_loaded()
    # First, so that nobody without a GPU is told to install a compiler.
    if torch.version.hip:
        return "this torch is built for AMD GPUs"
    if not torch.cuda.is_available():
        return "torch sees no GPU"
    reason = not_loaded()
    if reason is not None:
        return reason
    try:
        core().device_limits()
    except Exception as error:  # a driver older than the runtime that the core was built with
        return str(error)
    return None
