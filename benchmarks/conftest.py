"""What every benchmark shares: the backends that can run here, and the gate before the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

import drawgan_fast


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each benchmark on every backend; one that cannot run is skipped with its reason."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", list(drawgan_fast.backends()), indirect=True)


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


def check(run: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor]) -> None:
    """Raise unless outputs and gradients agree with the reference in float64; then time it."""
    double = [t.detach().double().requires_grad_(t.requires_grad) for t in inputs]
    out = run(inputs)
    with drawgan_fast.use_backend("reference"):
        truth = run(double)
    weight = torch.randn_like(truth)
    wanted = [t for t in inputs if t.requires_grad]
    ours = torch.autograd.grad((out * weight.to(out.dtype)).sum(), wanted)
    theirs = torch.autograd.grad((truth * weight).sum(), [t for t in double if t.requires_grad])
    for left, right in zip((out, *ours), (truth, *theirs)):
        scale = float(right.abs().max()) or 1.0
        torch.testing.assert_close(left.double() / scale, right / scale, rtol=0, atol=1e-4)
