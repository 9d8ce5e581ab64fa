"""Compile Triton kernels for GPUs that are not there, and say what they take.

A launch is recorded instead of run: every kernel is compiled with the arguments, block sizes and
warps that the backend itself would launch it with on that chip. Needs no driver and no GPU.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx90a": GPUTarget("hip", "gfx90a", 64),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# Bytes of shared memory that one block can have.
SHARED_MEMORY = {
    "sm_80": 166_912,
    "sm_90": 232_448,
    "sm_100": 232_448,
    "gfx90a": 65_536,
    "gfx942": 65_536,
}


class _StubDriver:
    """Answers which chip there is; whatever would reach a device is an error."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: object = None) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the stub driver has no {name}")


@contextlib.contextmanager
def pretending(chip: str) -> Iterator[None]:
    """Triton compiles for that chip inside the block."""
    before = driver._active
    driver.set_active(_StubDriver(TARGETS[chip]))
    try:
        yield
    finally:
        driver._active = before


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes of a multiprocessor."""

    registers: int  # a thread
    spilled: int  # bytes of stack, or registers on AMD
    shared: int  # bytes
    warps: int
    matrix_instructions: int


def compile_kernel(kernel: Any, chip: str, *args: Any, **options: Any) -> Resources:
    """Compile a kernel for a chip.

    Args:
        kernel: a ``triton.jit`` function.
        chip: a key of ``TARGETS``.
        args: as for a launch; a dtype stands for a pointer to it, 16-byte aligned.
        options: compile-time arguments and launch options.
    """
    with pretending(chip):
        kernel.device_caches.clear()  # kept by device number, not by chip
        compiled = kernel.warmup(*args, grid=(1,), **options)
        kernel.device_caches.clear()
    return _resources(compiled)


def _resources(compiled: Any) -> Resources:
    shared, warps = compiled.metadata.shared, compiled.metadata.num_warps
    if "cubin" in compiled.asm:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(compiled.asm["cubin"])
            file.flush()
            tool = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
            said = subprocess.run(tool, check=True, capture_output=True, text=True)
        found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", said.stdout + said.stderr)
        assert found is not None, said.stdout + said.stderr
        registers, stack, static = map(int, found.groups())
        matrix = len(re.findall(r"mma\.sync|wgmma\.mma|tcgen05\.mma", compiled.asm["ptx"]))
        return Resources(registers, stack, max(shared, static), warps, matrix)
    text = compiled.asm["amdgcn"]

    def field(name: str) -> int:
        match = re.search(rf"\.{name}:\s+(\d+)", text)
        assert match is not None, name
        return int(match.group(1))

    spilled = field("vgpr_spill_count") + field("sgpr_spill_count")
    return Resources(field("vgpr_count"), spilled, shared, warps, text.count("v_mfma"))


class Launches:
    """Records launches ``kernel[grid](...)`` of a backend function, with tensors on the CPU."""

    def __init__(self, *modules: Any) -> None:
        self.modules = modules
        self.seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    @contextlib.contextmanager
    def recording(self, chip: str) -> Iterator[list[tuple[Any, tuple[Any, ...], dict[str, Any]]]]:
        """Kernels of the modules are recorded instead of launched, as if on that chip."""
        replaced: list[tuple[Any, str, Any]] = []
        for module in self.modules:
            for name, value in list(vars(module).items()):
                if isinstance(value, triton.runtime.jit.JITFunction) and name.endswith("_kernel"):
                    replaced.append((module, name, value))
                    setattr(module, name, _Recorder(value, self.seen))
                elif name == "target" and callable(value):
                    replaced.append((module, name, value))
                    setattr(module, name, lambda device: chip)
        try:
            yield self.seen
        finally:
            for module, name, value in replaced:
                setattr(module, name, value)


class _Recorder:
    def __init__(self, kernel: Any, seen: list[Any]) -> None:
        self.kernel, self.seen = kernel, seen

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launch(*args: Any, **options: Any) -> None:
            plain = tuple(a.dtype if isinstance(a, torch.Tensor) else a for a in args)
            self.seen.append((self.kernel, plain, options))

        return launch
