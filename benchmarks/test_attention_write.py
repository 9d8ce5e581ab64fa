"""Speed of attention_write, forward and backward, onto a canvas."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import check
from benchmarks.test_attention_read import SHAPES
from drawgan_fast import functional as F


@pytest.mark.parametrize(("B", "C", "H", "W", "N"), SHAPES)
def test_attention_write(
    benchmark: BenchmarkFixture, backend: str, B: int, C: int, H: int, W: int, N: int
) -> None:
    patch = torch.randn(B, C, N, N, requires_grad=True)
    canvas = torch.randn(B, C, H, W, requires_grad=True)
    params = (0.3 * torch.randn(B, 5)).requires_grad_()

    def run(inputs) -> torch.Tensor:
        patch, canvas, params = inputs
        return F.attention_write(patch, params, (H, W), canvas=canvas)

    check(run, (patch, canvas, params))

    def step() -> None:
        torch.autograd.grad(run((patch, canvas, params)).sum(), (patch, canvas, params))

    benchmark(step)
