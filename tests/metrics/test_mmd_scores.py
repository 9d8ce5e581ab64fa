from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from drawgan_fast.metrics import _pairwise
from drawgan_fast.metrics.mmd import (
    GMMN_KERNEL,
    RBFKernel,
    kernel_distance,
    kernel_mean,
    mean_squared_distance,
    mmd_squared,
)


def two(n: int = 23, m: int = 31, d: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(m, d, generator=generator, dtype=torch.float64) + 0.7
    return x, y


def brute_force(x: Tensor, y: Tensor, scales: tuple[float, ...], unbiased: bool) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return sum(math.exp(-((a - b) ** 2).sum() / (2 * s)) for s in scales)

    def within(z: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j or not unbiased]
        return sum(k(z[i], z[j]) for i, j in pairs) / len(pairs)

    a, b = x.numpy(), y.numpy()
    cross = sum(k(p, q) for p in a for q in b) / (len(a) * len(b))
    return within(a) + within(b) - 2 * cross


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("scales", [(1.3,), GMMN_KERNEL.scales])
def test_equals_a_loop_over_pairs(unbiased: bool, scales: tuple[float, ...]) -> None:
    x, y = two()
    got = mmd_squared(x, y, RBFKernel(scales), unbiased=unbiased)
    assert got == pytest.approx(brute_force(x, y, scales, unbiased), rel=1e-11)


@pytest.mark.parametrize("unbiased", [False, True])
def test_blocks_do_not_change_the_sum(monkeypatch: pytest.MonkeyPatch, unbiased: bool) -> None:
    x, y = two()
    whole = mmd_squared(x, y, GMMN_KERNEL, unbiased=unbiased)
    monkeypatch.setattr(_pairwise, "_PAIRS_PER_BLOCK", 3 * len(y))  # blocks of three and four rows
    assert mmd_squared(x, y, GMMN_KERNEL, unbiased=unbiased) == pytest.approx(whole, rel=1e-12)


def test_known_real_part_gives_the_same() -> None:
    x, y = two()
    xx = kernel_mean(x, kernel=GMMN_KERNEL, unbiased=True)
    whole = mmd_squared(x, y, GMMN_KERNEL, unbiased=True)
    assert mmd_squared(x, y, GMMN_KERNEL, unbiased=True, xx=xx) == whole


def test_unbiased_is_zero_on_average_and_biased_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(200, 2, 20, 2, generator=generator, dtype=torch.float64)
    kernel = RBFKernel((1.0,))
    unbiased = np.array([mmd_squared(x, y, kernel, unbiased=True) for x, y in pairs])
    biased = np.array([mmd_squared(x, y, kernel) for x, y in pairs])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / math.sqrt(200)
    assert biased.mean() > 0.03
    assert unbiased.min() < 0 < biased.min()


def test_float32_far_from_the_origin_keeps_its_digits() -> None:
    x, y = two(200, 200, 40)
    exact = mmd_squared(x, y, RBFKernel((40.0,)))
    moved = mmd_squared((x + 100).float(), (y + 100).float(), RBFKernel((40.0,)))
    assert moved == pytest.approx(exact, rel=1e-4)


def test_mean_squared_distance_is_over_pairs() -> None:
    x, _ = two()
    loop = [
        float((a - b).square().sum()) for i, a in enumerate(x) for j, b in enumerate(x) if i != j
    ]
    assert mean_squared_distance(x) == pytest.approx(np.mean(loop), rel=1e-12)


def test_kid_on_one_full_subset_equals_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is not installed")
    x, y = two(40, 40, 6)
    expected = float(kid.poly_mmd(x, y, degree=3, gamma=None, coef=1.0))
    got = kernel_distance(x, y, subsets=3, subset_size=40)
    assert got.mean == pytest.approx(expected, rel=1e-11)
    assert got.std == pytest.approx(0.0, abs=1e-12)


def test_kid_subsets_follow_the_seed_and_scatter_around_the_whole() -> None:
    x, y = two(400, 300, 6)
    whole = kernel_distance(x[:300], y, subsets=1, subset_size=300).mean
    some = kernel_distance(x, y, subsets=100, subset_size=50, seed=4)
    assert some == kernel_distance(x, y, subsets=100, subset_size=50, seed=4)
    assert some != kernel_distance(x, y, subsets=100, subset_size=50, seed=5)
    assert some.std > 0
    assert some.mean == pytest.approx(whole, rel=0.25)


def test_bad_arguments_are_named() -> None:
    x, y = two()
    with pytest.raises(ValueError, match="got 5 and 3"):
        mmd_squared(x, y[:, :3], GMMN_KERNEL)
    with pytest.raises(ValueError, match="positive"):
        RBFKernel((1.0, 0.0))
    with pytest.raises(TypeError, match="list"):
        kernel_mean([1.0], kernel=GMMN_KERNEL)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="y=None"):
        kernel_mean(x, y, kernel=GMMN_KERNEL, unbiased=True)
    with pytest.raises(ValueError, match="subset_size"):
        kernel_distance(x, y, subset_size=1)
