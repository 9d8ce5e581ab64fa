"""Losses of diagonal Gaussians: the KL to the prior, its one-sample form, and squared error."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from drawgan_fast import reference
from drawgan_fast.losses._checks import check_float, check_same_shape


def kl_standard_normal(
    mu: Tensor, log_sigma: Tensor, batch_dim: int | Sequence[int] = -2
) -> Tensor:
    r"""KL(N(mu, sigma²) || N(0, 1)) in nats, summed over all dimensions but the batch's.

    .. math:: \tfrac12 \sum (\mu^2 + \sigma^2 - 2\log\sigma - 1)

    For DRAW's [T, B, z] this is equation 11 of the paper with its exact constant: the sum runs
    over z as well as T, so the constant is z·T/2 (the T/2 printed there, and in many public
    codes, shifts the value and leaves the gradient alone). Never negative: sigma² - 1 is computed
    as ``expm1``, so nothing cancels near the prior.

    Args:
        mu: [..., B, z]  means, any float dtype.
        log_sigma: [..., B, z]  log standard deviations, the shape of ``mu``.
        batch_dim: the dimension (or dimensions) kept; the last but one, B of [B, z] and of
            [T, B, z], unless named.

    Returns:
        [B] (or the kept dimensions in their order), nats.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if the shapes differ or ``batch_dim`` is no dimension of ``mu``.

    Source:
        Kingma & Welling 2014, appendix B; Gregor et al. 2015, equations 10 and 11.

    Example:
        >>> import torch
        >>> mu, log_sigma = torch.ones(5, 2, 3), torch.zeros(5, 2, 3)  # [T, B, z]
        >>> kl_standard_normal(mu, log_sigma)
        tensor([7.5000, 7.5000])
    """
    check_same_shape("mu", mu, "log_sigma", log_sigma)
    return _sum_except(reference.kl_standard_normal(mu, log_sigma), "mu", batch_dim)


def log_prior_ratio(
    mu: Tensor, log_sigma: Tensor, eps: Tensor, batch_dim: int | Sequence[int] = -2
) -> Tensor:
    r"""log p(z) - log q(z|x) at z = mu + sigma·eps, in nats: minus a one-sample estimate of the KL.

    .. math:: \sum \tfrac12 (\varepsilon^2 - z^2) + \log\sigma

    With log p(x|z) added this is the log importance weight of a variational autoencoder.

    Args:
        mu: [..., B, z]  means.
        log_sigma: [..., B, z]  log standard deviations, the shape of ``mu``.
        eps: [..., B, z]  the standard normal noise that drew z, the shape of ``mu``.
        batch_dim: the dimension (or dimensions) kept; the last but one, B of [B, z] and of
            [T, B, z], unless named.

    Returns:
        [B] (or the kept dimensions in their order), nats.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if the shapes differ or ``batch_dim`` is no dimension of ``mu``.

    Source:
        Burda et al. 2016, equation 8.

    Example:
        >>> import torch
        >>> log_prior_ratio(torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([-1.])
    """
    check_same_shape("mu", mu, "log_sigma", log_sigma)
    check_same_shape("mu", mu, "eps", eps)
    z = mu + log_sigma.exp() * eps
    return _sum_except(0.5 * (eps.square() - z.square()) + log_sigma, "mu", batch_dim)


def gaussian_nll_unit_variance(mean: Tensor, target: Tensor) -> Tensor:
    r"""Unit-variance Gaussian negative log-likelihood of ``target``, without its constant.

    .. math:: \tfrac12 \sum_j (a_j - b_j)^2

    On layer-l features of a discriminator this is L_llike of VAE/GAN and the reconstruction loss
    of DRAW-GAN. The constant (F/2)·log 2π of the F features is left out: it has no gradient, and
    without it the loss of equal features is 0.

    Args:
        mean: [B, ...]  the reconstruction's features, any float dtype.
        target: [B, ...]  the image's features, the shape of ``mean``.

    Returns:
        [B]  nats up to the constant.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if the shapes differ or there is no batch dimension.

    Source:
        Larsen et al. 2016, equations 7 and 8.

    Example:
        >>> import torch
        >>> gaussian_nll_unit_variance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
        tensor([12.5000])
    """
    check_same_shape("mean", mean, "target", target)
    return _sum_except(0.5 * (mean - target).square(), "mean", 0)


def _sum_except(values: Tensor, name: str, batch_dim: int | Sequence[int]) -> Tensor:
    """Sum over all dimensions but ``batch_dim``."""
    check_float(name, values)
    kept = (batch_dim,) if isinstance(batch_dim, int) else tuple(batch_dim)
    rank = values.dim()
    for dim in kept:
        if not -rank <= dim < rank:
            raise ValueError(
                f"batch_dim must name dimensions of {name} {list(values.shape)}, got {batch_dim}"
            )
    summed = sorted(set(range(rank)) - {dim % rank for dim in kept})
    # torch.sum with an empty list of dimensions would sum over all of them.
    return values.sum(dim=summed) if summed else values
