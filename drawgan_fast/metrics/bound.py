"""Bounds on the test log likelihood of a latent-variable model, in nats."""

# `test_bound` is a bound on test data and no test of pytest's.
# ruff: noqa: PT028

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TestBound:
    """Lower bounds on the mean log p(x) over ``n`` images, in nats per image (higher is better).

    ``elbo`` is the mean over draws of the log weight, ``importance_weighted`` the tighter bound
    of ``samples`` draws (equal to ``elbo`` when ``samples`` is 1); each with the standard error
    of its mean over the images. Papers print the negative: "≤ 80.97 nats" is ``elbo`` ≥ -80.97.
    """

    __test__ = False  # the name begins with "Test": not one of pytest's classes

    elbo: float
    elbo_error: float
    importance_weighted: float
    importance_weighted_error: float
    samples: int
    n: int


@torch.no_grad()
def test_bound(
    log_weight: Callable[[Tensor], Tensor],
    images: Tensor,  # [n, ...]
    *,
    samples: int = 1,
    batch_size: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> TestBound:
    r"""ELBO and importance-weighted bound on the mean log likelihood.

    With w_i = p(x|z_i) p(z_i) / q(z_i|x) for k draws z_i ~ q(z|x):

    .. math:: ELBO = E[log w] ≤ L_k = E[log \frac1k Σ_{i≤k} w_i] ≤ log p(x)

    Args:
        log_weight: images [B, ...] → one fresh draw of log w [B] in nats for each image; called
            ``samples`` times for each batch. Seed whatever it draws from to repeat a figure.
        images: test images [n, ...], n >= 1, as the model wants them (binarised for a Bernoulli
            model: the bound is a likelihood only then), on the model's device.
        samples: k, the draws for each image, >= 1.
        batch_size: images in one call, >= 1.
        progress: called with (images done, n) after each batch.

    Returns:
        :class:`TestBound`, nats per image. The standard errors are those of the mean over images
        (NaN for a single image); the draws' own noise is part of them.

    Raises:
        ValueError: a count below one, or log weights that are not [B] or not finite.

    Source: Gregor et al. 2015 (DRAW), eq. 12 and table 2; Burda et al. 2016 (IWAE), eq. 8.

    >>> bound = test_bound(lambda x: -x.sum(1), torch.tensor([[1.0], [3.0]]), samples=5)
    >>> bound.elbo, round(bound.importance_weighted, 6), bound.elbo_error
    (-2.0, -2.0, 1.0)
    """
    if samples < 1 or batch_size < 1 or len(images) < 1:
        raise ValueError(
            f"samples, batch_size and the number of images must be >= 1, "
            f"got {samples}, {batch_size} and {len(images)}"
        )
    elbo, weighted = [], []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        draws = torch.stack([_checked(log_weight(batch), len(batch)) for _ in range(samples)])
        elbo.append(draws.mean(0))
        weighted.append(draws.logsumexp(0) - math.log(samples))
        if progress is not None:
            progress(start + len(batch), len(images))
    elbo_mean, elbo_error = _mean_and_error(torch.cat(elbo))
    weighted_mean, weighted_error = _mean_and_error(torch.cat(weighted))
    return TestBound(elbo_mean, elbo_error, weighted_mean, weighted_error, samples, len(images))


def _checked(draw: Tensor, batch: int) -> Tensor:
    if draw.shape != (batch,):
        raise ValueError(f"log_weight must return [B] = [{batch}], got shape {tuple(draw.shape)}")
    if not torch.isfinite(draw).all():
        raise ValueError("log_weight returned NaN or infinity: the model's weights are no good")
    return draw.double().cpu()


def _mean_and_error(per_image: Tensor) -> tuple[float, float]:
    n = len(per_image)
    error = float(per_image.std(correction=1)) / math.sqrt(n) if n > 1 else math.nan
    return float(per_image.mean()), error
