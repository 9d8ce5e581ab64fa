"""What every benchmark shares: the backends that can run here, and the gate before the clock."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import drawgan_fast
from benchmarks.operators import MODES, Operation

# Doctests are collected by importing, and these import jax.
collect_ignore_glob = [] if importlib.util.find_spec("jax") else ["variants/jax_*.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each benchmark on every backend; one that cannot run is skipped with its reason."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(drawgan_fast.backends()), indirect=True)
    if "mode" in metafunc.fixturenames:
        metafunc.parametrize("mode", MODES)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Force one backend for a benchmark."""
    name = request.param
    reason = drawgan_fast.backends()[name]
    if reason is not None:
        pytest.skip(f"backend {name} cannot run here: {reason}")
    with drawgan_fast.use_backend(name):
        yield name


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def time_operation(benchmark: BenchmarkFixture, backend: str) -> Callable[[Operation, str], None]:
    """Check an operation against the reference in float64, then time it on the forced backend."""

    def time(operation: Operation, mode: str) -> None:
        benchmark.extra_info["error"] = operation.check()
        both = mode == "forward+backward"
        with torch.set_grad_enabled(both):
            benchmark(operation.forward_backward if both else operation.forward)

    return time
