"""What a measurement was taken on: machine, versions, commit. Nothing that names a person."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.pool import ROOT

PACKAGES = ("torch", "jax", "jaxlib", "numpy")
# What decides which kernels the libraries pick.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


def environment() -> dict[str, Any]:
    """Everything that stands beside the numbers; JSON-able."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system."""
    return {
        "processor": _cpu_field("model name") or platform.processor() or platform.machine(),
        "family": _cpu_field("cpu family"),
        "features": [f for f in FEATURES if f in _cpu_field("flags").split()],
        "threads": available_processors(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Python and the packages that take part; those not installed say so."""
    import drawgan_fast

    found = {"python": platform.python_version(), "drawgan-fast": drawgan_fast.__version__}
    found |= {name: _version(name) for name in PACKAGES}
    # A backend that cannot run here takes no part.
    for name, reason in drawgan_fast.backends().items():
        if reason is None:
            found[f"backend {name}"] = "available"
    return found


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit, and whether the working tree differs from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!docs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with uncommitted changes" if changed else head


def available_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu_field(name: str) -> str:
    """A field of the first processor; empty where the kernel does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
