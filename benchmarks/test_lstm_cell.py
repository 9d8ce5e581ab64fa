"""Speed of lstm_cell, forward and backward, at the encoder's shape."""

from __future__ import annotations

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import check
from drawgan_fast import functional as F


def test_lstm_cell(benchmark: BenchmarkFixture, backend: str) -> None:
    B, D, K = 128, 264, 256
    shapes = [(B, D), (B, K), (B, K), (4 * K, D), (4 * K, K), (4 * K,), (4 * K,)]
    inputs = [(0.1 * torch.randn(shape)).requires_grad_() for shape in shapes]

    def run(inputs) -> torch.Tensor:
        x, h, c, *weights = inputs
        return torch.cat(F.lstm_cell(x, (h, c), *weights), dim=1)

    check(run, inputs)
    benchmark(lambda: torch.autograd.grad(run(inputs).sum(), inputs))
