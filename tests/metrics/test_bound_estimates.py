"""The model here is x = z + noise, z ~ N(0, 1), noise ~ N(0, s²): log p(x) is known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from drawgan_fast.metrics import bound

NOISE = 0.5
X = torch.randn(400, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.1
EXACT = float(Normal(torch.zeros_like(X), math.sqrt(1 + NOISE**2)).log_prob(X).sum(1).mean())


def gaussian_log_weight(widening: float, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """q(z|x) = the exact posterior with its standard deviation times ``widening``."""
    generator = torch.Generator().manual_seed(seed)

    def log_weight(x: Tensor) -> Tensor:
        mean = x / (1 + NOISE**2)
        sigma = widening * NOISE / math.sqrt(1 + NOISE**2)
        z = mean + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        log_p = Normal(torch.zeros_like(z), 1.0).log_prob(z) + Normal(z, NOISE).log_prob(x)
        return (log_p - Normal(mean, sigma).log_prob(z)).sum(1)

    return log_weight


def test_exact_posterior_gives_the_exact_likelihood() -> None:
    got = bound.test_bound(gaussian_log_weight(1.0), X, samples=3, batch_size=64)
    assert got.elbo == pytest.approx(EXACT, abs=1e-10)
    assert got.importance_weighted == pytest.approx(EXACT, abs=1e-10)
    assert (got.n, got.samples) == (400, 3)


def test_elbo_has_the_gap_of_the_kl_divergence() -> None:
    widening = 2.0
    gap = 0.5 * (widening**2 - 1) - math.log(widening)  # KL(q || posterior), the same for every x
    got = bound.test_bound(gaussian_log_weight(widening), X, samples=400, batch_size=100)
    assert got.elbo == pytest.approx(EXACT - gap, abs=0.02)


def test_bound_tightens_with_samples_and_converges() -> None:
    bounds = [
        bound.test_bound(gaussian_log_weight(2.0, seed=k), X, samples=k) for k in (1, 5, 50, 500)
    ]
    values = [b.importance_weighted for b in bounds]
    assert bounds[0].elbo == bounds[0].importance_weighted
    assert values == sorted(values)
    assert values[0] < EXACT - 0.5
    assert values[-1] == pytest.approx(EXACT, abs=0.01)
    assert values[-1] <= EXACT + 0.005
    assert all(b.elbo <= b.importance_weighted for b in bounds)


def test_bernoulli_model_with_a_latent_of_two_states() -> None:
    # p(z) = 1/2, pixels independent given z; q uniform: log w needs a sum over two states only.
    probabilities = torch.tensor([[0.9, 0.2, 0.7], [0.1, 0.6, 0.5]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 2, (50, 3), generator=generator).double()
    each = torch.stack([Bernoulli(p).log_prob(x).sum(1) for p in probabilities])  # [2, 50]

    def log_weight(images: Tensor) -> Tensor:
        z = torch.randint(0, 2, (len(images),), generator=generator)
        return Bernoulli(probabilities[z]).log_prob(images).sum(1)  # prior and q cancel

    got = bound.test_bound(log_weight, x, samples=2000, batch_size=17)
    assert got.elbo == pytest.approx(float(each.mean()), abs=0.02)
    exact = float((each.logsumexp(0) - math.log(2)).mean())
    assert got.importance_weighted == pytest.approx(exact, abs=0.005)
    assert got.elbo < exact - 0.1


def test_standard_error_is_that_of_the_mean_over_images() -> None:
    x = torch.tensor([[1.0], [2.0], [6.0]])
    got = bound.test_bound(lambda b: b[:, 0], x, samples=2, batch_size=2)
    assert got.elbo_error == pytest.approx(math.sqrt(7.0 / 3.0))
    assert math.isnan(bound.test_bound(lambda b: b[:, 0], x[:1]).elbo_error)


def test_batches_progress_and_no_gradient() -> None:
    seen, sizes = [], []
    weight = torch.ones(1, requires_grad=True)

    def log_weight(batch: Tensor) -> Tensor:
        sizes.append(len(batch))
        assert not (batch[:, 0] * weight).requires_grad
        return batch[:, 0]

    bound.test_bound(
        log_weight,
        torch.zeros(5, 1),
        samples=2,
        batch_size=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert sizes == [2, 2, 2, 2, 1, 1]
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_bad_log_weights_and_counts_are_refused() -> None:
    x = torch.zeros(4, 1)
    with pytest.raises(ValueError, match=r"\[4\], got shape \(4, 1\)"):
        bound.test_bound(lambda b: b, x)
    with pytest.raises(ValueError, match="NaN"):
        bound.test_bound(lambda b: b[:, 0] * math.nan, x)
    with pytest.raises(ValueError, match="samples"):
        bound.test_bound(lambda b: b[:, 0], x, samples=0)
