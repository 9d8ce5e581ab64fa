"""Speed of attention_read, forward and backward, with the error image fused."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import check
from drawgan_fast import functional as F

SHAPES = [(128, 1, 28, 28, 5), (128, 1, 28, 28, 12), (128, 3, 64, 64, 5), (128, 3, 64, 64, 12)]


@pytest.mark.parametrize(("B", "C", "H", "W", "N"), SHAPES)
def test_attention_read(
    benchmark: BenchmarkFixture, backend: str, B: int, C: int, H: int, W: int, N: int
) -> None:
    x = torch.rand(B, C, H, W)
    canvas = torch.randn(B, C, H, W, requires_grad=True)
    params = (0.3 * torch.randn(B, 5)).requires_grad_()

    def run(inputs) -> torch.Tensor:
        x, canvas, params = inputs
        return torch.cat(F.attention_read(x, params, N, canvas=canvas), dim=1)

    check(run, (x, canvas, params))

    def step() -> None:
        torch.autograd.grad(run((x, canvas, params)).sum(), (canvas, params))

    benchmark(step)
