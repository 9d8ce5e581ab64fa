"""The GPU that a record was taken on: its name, driver, sizes, and what drives it."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata
from typing import Any

import torch

from benchmarks.environment import environment
from drawgan_fast._native import NativeUnavailable, load_cuda

FIELDS = ("driver_version", "power.limit", "clocks.max.sm", "clocks.max.memory")
OPTIONAL = ("jax", "numpy", "scipy", "pytest", "pytest-timeout")


def missing() -> str | None:
    """Why nothing can be measured here, or None where there is a GPU."""
    if torch.cuda.is_available():
        return None
    built = torch.version.cuda or torch.version.hip
    why = f"built for {built}" if built else "a build for the CPU alone"
    return (
        f"benchmarks.gpu needs a GPU, and torch {torch.__version__} ({why}) sees none; "
        "--render makes the page of a record without one"
    )


def describe() -> dict[str, Any]:
    """Machine, versions and commit as every record has them, and the GPU."""
    found = environment()
    found["versions"] |= {name: _version(name) for name in ("triton", *OPTIONAL)}
    found["versions"]["CUDA of torch"] = torch.version.cuda or torch.version.hip or "none"
    found["gpu"] = gpu()
    found["cuda_core"] = cuda_core()
    return found


def cuda_core() -> str:
    """Whether the core is built, or why not."""
    try:
        load_cuda()
    except NativeUnavailable as reason:
        return str(reason)
    return "built"


def gpu() -> dict[str, Any]:
    """The first GPU's properties; what the driver's tool does not say is left out."""
    properties = torch.cuda.get_device_properties(0)
    found = {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "l2_mib": round(getattr(properties, "L2_cache_size", 0) / 2**20, 1),
    }
    return found | _asked()


def _asked() -> dict[str, str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    query = [tool, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(FIELDS, (value.strip() for value in done.stdout.split(","))))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
