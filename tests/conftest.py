"""Settings that every test runs under."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from drawgan_fast import backends, use_backend
from drawgan_fast._native import NativeUnavailable, load_cpu

try:
    import hypothesis
except ImportError:
    hypothesis = None  # type: ignore[assignment]

# Deterministic algorithms, see below, refuse cuBLAS without it; read when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# The tensors here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)

if hypothesis is not None:  # tests on a device do without it
    hypothesis.settings.register_profile(
        "default",
        deadline=None,
        derandomize=True,
        # The `backend` fixture is the same for every example.
        suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    )
    hypothesis.settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a GPU, and this machine has none")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _poisoned_memory() -> Iterator[None]:
    """Fill ``torch.empty`` and the core's workspaces with NaN: reading before writing shows."""
    torch.use_deterministic_algorithms(True)
    core = _core()
    if core is not None:
        core.pool_poison(True)
    yield
    torch.use_deterministic_algorithms(False)
    if core is not None:
        core.pool_poison(False)


def _core() -> ModuleType | None:
    try:
        return load_cpu()
    except NativeUnavailable:
        return None


def _forced(name: str) -> Iterator[str]:
    reason = backends()[name]
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    with use_backend(name):
        yield name


# The tiers for GPUs compute in float32: their tests are in tests/device.
FLOAT64 = sorted(set(backends()) - {"cuda", "triton"})


@pytest.fixture(params=FLOAT64)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend with float64, forced; one that cannot run here skips with its reason."""
    yield from _forced(request.param)


@pytest.fixture(params=sorted(set(FLOAT64) - {"reference"}))
def fast_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """As ``backend``, without the reference that it is compared with."""
    yield from _forced(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the official MNIST files; tests that need the full set skip without it."""
    folder = os.environ.get("DRAWGAN_DATA")
    if not folder:
        pytest.skip("needs the official MNIST files: set DRAWGAN_DATA to their folder")
    return Path(folder)
