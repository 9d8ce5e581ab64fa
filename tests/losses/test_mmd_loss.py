from __future__ import annotations

import math

import pytest
import torch

from drawgan_fast.losses import mmd


def sample(count: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64)


def by_loops(x: torch.Tensor, y: torch.Tensor) -> float:
    """The authors' form: exp(-mean((a-b)²)/dim), averaged over all pairs."""

    def mean_kernel(a: list[list[float]], b: list[list[float]]) -> float:
        total = 0.0
        for p in a:
            for q in b:
                mean_square = sum((s - t) ** 2 for s, t in zip(p, q)) / len(p)
                total += math.exp(-mean_square / len(p))
        return total / (len(a) * len(b))

    xs, ys = x.tolist(), y.tolist()
    return mean_kernel(xs, xs) + mean_kernel(ys, ys) - 2 * mean_kernel(xs, ys)


@pytest.mark.parametrize(("m", "n", "width"), [(5, 7, 3), (1, 4, 20), (6, 6, 1)])
def test_value_by_loops(m: int, n: int, width: int) -> None:
    x, y = sample(m, width, 0), 0.5 + 2 * sample(n, width, 1)
    assert mmd(x, y).item() == pytest.approx(by_loops(x, y), rel=1e-10)


def test_bandwidth() -> None:
    a, b = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    assert mmd(a, b, bandwidth=3.0).item() == pytest.approx(2 - 2 * math.exp(-2 / 3))
    assert mmd(a, b).item() == pytest.approx(2 - 2 * math.exp(-2 / 4))


def test_is_zero_for_one_sample_and_symmetric() -> None:
    x, y = sample(5, 3, 0), sample(4, 3, 1)
    assert mmd(x, x.flip(0)).item() == pytest.approx(0.0, abs=1e-14)
    assert mmd(x, y).item() == pytest.approx(mmd(y, x).item(), rel=1e-12)


def test_biased_estimate_has_the_expectation_that_is_documented() -> None:
    # E k of two standard normals: the difference is N(0, 2) in each of z dimensions, so
    # E exp(-d²/h) = (1 + 4/h)^(-z/2).
    width, m, n = 4, 8, 16
    expected_kernel = (1 + 4 / width**2) ** (-width / 2)
    expected = (1 / m + 1 / n) * (1 - expected_kernel)
    values = torch.stack(
        [mmd(sample(m, width, 2 * i), sample(n, width, 2 * i + 1)) for i in range(600)]
    )
    error = values.std().item() / math.sqrt(len(values))
    assert values.mean().item() == pytest.approx(expected, abs=4 * error)
    assert error < 0.03 * expected


def test_gradients_by_finite_differences() -> None:
    x, y = sample(4, 3, 0).requires_grad_(), sample(5, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(mmd, (x, y))
    assert torch.autograd.gradgradcheck(mmd, (x, y))


def test_gradient_pulls_a_shifted_sample_back() -> None:
    x, y = (sample(50, 3, 0) + 2).requires_grad_(), sample(50, 3, 1)
    mmd(x, y).backward()
    assert x.grad is not None
    assert (x.grad.sum(0) > 0).all()  # descending moves it towards y


def test_far_from_the_origin_nothing_is_lost() -> None:
    x, y = sample(20, 3, 0), sample(30, 3, 1)
    far = mmd((x + 1e3).float(), (y + 1e3).float()).item()
    assert far == pytest.approx(mmd(x, y).item(), rel=1e-2)


def test_wrong_arguments_are_named() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="y must have the width of x, 3, got 4"):
        mmd(x, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"x must be a sample \[n, z\], got shape \[0, 3\]"):
        mmd(x[:0], x)
    with pytest.raises(ValueError, match=r"y must be a sample \[n, z\], got shape \[2, 3, 1\]"):
        mmd(x, x[..., None])
    with pytest.raises(TypeError, match="x must be a float tensor"):
        mmd(x.long(), x)
    for bandwidth in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="bandwidth must be positive"):
            mmd(x, x, bandwidth=bandwidth)
