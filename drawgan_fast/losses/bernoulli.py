"""The Bernoulli likelihood of an image, from logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from drawgan_fast.losses._checks import check_same_shape


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    r"""Negative Bernoulli log-likelihood of each image, in nats.

    .. math:: -\log p(x) = \sum_j \log(1 + e^{l_j}) - x_j l_j

    Finite and with finite gradients for every finite logit. Grey values in [0, 1] are taken as
    probabilities: the value is then the expectation over binarisations, the cross-entropy.

    Args:
        logits: [B, ...]  log-odds of a white pixel, any float dtype.
        x: [B, ...]  pixels in [0, 1], the shape of ``logits``.

    Returns:
        [B]  nats, summed over pixels.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if the shapes differ or there is no batch dimension.

    Source:
        Gregor et al. 2015, equation 9.

    Example:
        >>> import torch
        >>> bernoulli_nll(torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2))  # 4 log 2
        tensor([2.7726, 2.7726])
    """
    check_same_shape("logits", logits, "x", x)
    if logits.dim() == 0:
        raise ValueError("logits must have a batch dimension, got shape []")
    per_pixel = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return per_pixel.sum(dim=tuple(range(1, per_pixel.dim()))) if per_pixel.dim() > 1 else per_pixel
