from __future__ import annotations

import math

import pytest
import torch

from drawgan_fast.losses import gaussian_nll_unit_variance, kl_standard_normal, log_prior_ratio


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_kl_of_a_recurrence_has_the_constant_of_every_latent_number() -> None:
    mu, log_sigma = normal(5, 3, 4, seed=1), normal(5, 3, 4, seed=2)
    expected = []
    for b in range(3):
        total = 0.0
        for t in range(5):
            for j in range(4):
                m, s = mu[t, b, j].item(), log_sigma[t, b, j].item()
                total += 0.5 * (m * m + math.exp(2 * s) - 2 * s)
        expected.append(total - 5 * 4 / 2)
    assert kl_standard_normal(mu, log_sigma).tolist() == pytest.approx(expected, rel=1e-12)


def test_kl_agrees_with_torch_distributions() -> None:
    mu, log_sigma = normal(7, 4, seed=1), normal(7, 4, seed=2)
    q = torch.distributions.Normal(mu, log_sigma.exp())
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = torch.distributions.kl_divergence(q, p).sum(1)
    torch.testing.assert_close(kl_standard_normal(mu, log_sigma), expected)


def test_kl_keeps_the_dimensions_it_is_told_to() -> None:
    mu, log_sigma = normal(5, 3, 4, seed=1), normal(5, 3, 4, seed=2)
    per_step = kl_standard_normal(mu, log_sigma, batch_dim=(0, 1))
    assert per_step.shape == (5, 3)
    torch.testing.assert_close(per_step.sum(0), kl_standard_normal(mu, log_sigma))
    torch.testing.assert_close(per_step.sum(1), kl_standard_normal(mu, log_sigma, batch_dim=0))
    each = kl_standard_normal(mu, log_sigma, batch_dim=(0, 1, 2))
    torch.testing.assert_close(each.sum(2), per_step)
    assert kl_standard_normal(mu[:, :0], log_sigma[:, :0]).shape == (0,)


def test_kl_is_never_negative_next_to_the_prior() -> None:
    log_sigma = torch.linspace(-1e-3, 1e-3, 2001)[:, None]  # float32
    kl = kl_standard_normal(torch.zeros_like(log_sigma), log_sigma)
    assert kl.min() >= 0
    assert kl[-1].item() == pytest.approx(1e-6, rel=2e-3)


def test_kl_gradient_is_mu_and_sigma_squared_minus_one() -> None:
    mu = normal(2, 3, seed=1).requires_grad_()
    log_sigma = normal(2, 3, seed=2).requires_grad_()
    kl_standard_normal(mu, log_sigma).sum().backward()
    torch.testing.assert_close(mu.grad, mu.detach())
    torch.testing.assert_close(log_sigma.grad, (2 * log_sigma.detach()).exp() - 1)


def test_log_prior_ratio_is_the_difference_of_two_densities() -> None:
    mu, log_sigma, eps = (normal(5, 3, 4, seed=seed) for seed in range(3))
    z = mu + log_sigma.exp() * eps
    log_q = torch.distributions.Normal(mu, log_sigma.exp()).log_prob(z)
    log_p = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    expected = (log_p - log_q).sum(dim=(0, 2))
    torch.testing.assert_close(log_prior_ratio(mu, log_sigma, eps), expected)


def test_mean_log_prior_ratio_is_minus_the_kl() -> None:
    mu, log_sigma = 0.5 * normal(1, 3, seed=1), 0.3 * normal(1, 3, seed=2)
    draws = 200_000
    eps = normal(draws, 3, seed=3)
    ratio = log_prior_ratio(mu.expand(draws, 3), log_sigma.expand(draws, 3), eps)
    error = ratio.std().item() / math.sqrt(draws)
    assert ratio.mean().item() == pytest.approx(
        -kl_standard_normal(mu, log_sigma).item(), abs=4 * error
    )
    assert error < 0.005


def test_gaussian_nll_is_half_the_squared_distance_with_no_constant() -> None:
    a, b = normal(4, 3, 2, seed=1), normal(4, 3, 2, seed=2)
    log_prob = torch.distributions.Normal(a, 1.0).log_prob(b).sum(dim=(1, 2))
    constant = 6 / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian_nll_unit_variance(a, b), -log_prob - constant)
    assert gaussian_nll_unit_variance(a, a).tolist() == [0.0] * 4


def test_gaussian_nll_gradient_is_the_difference() -> None:
    a, b = normal(4, 3, seed=1).requires_grad_(), normal(4, 3, seed=2).requires_grad_()
    gaussian_nll_unit_variance(a, b).sum().backward()
    torch.testing.assert_close(a.grad, (a - b).detach())
    torch.testing.assert_close(b.grad, (b - a).detach())


def test_gradients_and_second_gradients_by_finite_differences() -> None:
    mu, log_sigma, eps = (normal(3, 2, 4, seed=seed).requires_grad_() for seed in range(3))
    for function, inputs in (
        (kl_standard_normal, (mu, log_sigma)),
        (log_prior_ratio, (mu, log_sigma, eps)),
        (gaussian_nll_unit_variance, (mu, log_sigma)),
    ):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


def test_wrong_arguments_are_named() -> None:
    good = torch.zeros(2, 3)
    with pytest.raises(
        ValueError, match=r"log_sigma must have the shape of mu, \[2, 3\], got \[3\]"
    ):
        kl_standard_normal(good, torch.zeros(3))
    with pytest.raises(TypeError, match=r"mu must be a float tensor, got dtype torch.int64"):
        kl_standard_normal(good.long(), good)
    with pytest.raises(TypeError, match=r"log_sigma must be a float tensor, got float"):
        kl_standard_normal(good, 0.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"batch_dim must name dimensions of mu \[2, 3\], got 2"):
        kl_standard_normal(good, good, batch_dim=2)
    with pytest.raises(ValueError, match=r"batch_dim must name dimensions of mu \[3\], got -2"):
        kl_standard_normal(good[0], good[0])
    with pytest.raises(ValueError, match="eps must have the shape of mu"):
        log_prior_ratio(good, good, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="target must have the shape of mean"):
        gaussian_nll_unit_variance(good, torch.zeros(2, 1))
