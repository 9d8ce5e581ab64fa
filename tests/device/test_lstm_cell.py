"""The LSTM cell on every tier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawgan_fast import functional as F
from tests.support.truth import assert_matches


def cell(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    return F.lstm_cell(x, (h, c), *weights)


def inputs(B: int, D: int, K: int, device: str, *, bias: bool = True) -> list[Tensor]:
    shapes = [(B, D), (B, K), (B, K), (4 * K, D), (4 * K, K)] + [(4 * K,)] * 2 * bias
    return [
        (torch.randn(shape) * (1 if i < 3 else K**-0.5)).to(device)
        for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("B", "D", "K"), [(1, 1, 1), (5, 7, 9), (33, 40, 20), (3, 130, 21)])
def test_lstm_cell(tier: str, device: str, B: int, D: int, K: int, bias: bool) -> None:
    if bias:
        assert_matches(cell, inputs(B, D, K, device), backend=tier)
        return
    assert_matches(
        lambda x, h, c, w_ih, w_hh: F.lstm_cell(x, (h, c), w_ih, w_hh, None, None),
        inputs(B, D, K, device, bias=False),
        backend=tier,
    )


@pytest.mark.parametrize("looked_at", [0, 1])
def test_one_state_without_a_gradient(tier: str, device: str, looked_at: int) -> None:
    assert_matches(lambda *t: cell(*t)[looked_at], inputs(3, 4, 5, device), backend=tier)


def test_states_near_zero_lose_no_digits(tier: str, device: str) -> None:
    given = inputs(3, 4, 5, device)
    assert_matches(cell, [1e-4 * t for t in given[:3]] + given[3:5] + [0 * t for t in given[5:]],
                   backend=tier)  # fmt: skip


def test_no_samples(tier: str, device: str) -> None:
    assert_matches(cell, inputs(0, 4, 5, device), backend=tier)


def test_saturated_gates(tier: str, device: str) -> None:
    given = inputs(4, 3, 5, device)
    given[5] = given[5] * 200
    got = assert_matches(cell, given, backend=tier)
    assert all(torch.isfinite(t).all() for t in got.outputs)


def test_tanh_is_accurate_everywhere(tier: str, device: str) -> None:
    """Element by element: with i saturated and f shut, c is tanh of the sums of g."""
    K = 256
    sums = torch.cat([torch.logspace(-6, 1, K // 2), -torch.logspace(-6, 1, K // 2)])
    bias = torch.cat([torch.full((K,), 30.0), torch.full((K,), -30.0), sums, torch.zeros(K)])
    zeros = torch.zeros(1, K, device=device)
    weights = torch.zeros(4 * K, K, device=device)
    _, c = F.lstm_cell(zeros, (zeros, zeros), weights, weights, bias.to(device), 0 * weights[:, 0])
    torch.testing.assert_close(c[0].cpu(), sums.double().tanh().float(), rtol=6e-7, atol=0)
