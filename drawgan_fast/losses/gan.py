"""The two players' losses of a GAN, on logits: D(x) = sigmoid(logits).

Everything is written in log sigmoid, so a discriminator that is certain (logits of ±1e4) still
gives finite losses and gradients; sigmoid followed by log would give inf.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from drawgan_fast.losses._checks import check_float

GanLoss = Literal["minimax", "non_saturating"]
"""How the generator is driven: by log(1 - D) as in the paper, or by -log D."""


def discriminator_loss(real_logits: Tensor, *fake_logits: Tensor) -> Tensor:
    r"""What the discriminator descends: minus the GAN objective, each term a mean over images.

    .. math:: -\log D(x) - \sum_k \log(1 - D(\tilde x_k))

    DRAW-GAN passes two kinds of fakes, prior samples and reconstructions:
    ``discriminator_loss(d_real, d_prior, d_rec)`` is -L_GAN of its Algorithm 1. The terms are
    added, not averaged, so fakes weigh as much as in the paper.

    Args:
        real_logits: [B]  logits on real images.
        *fake_logits: [B_k]  logits on each kind of fake; batch sizes may differ.

    Returns:
        []  nats per image, 0 for a perfect discriminator.

    Raises:
        TypeError: if an argument is no float tensor.
        ValueError: if there is no fake, or a batch is empty.

    Source:
        Goodfellow et al. 2014, equation 1; DRAW-GAN, Algorithm 1.

    Example:
        >>> import torch
        >>> discriminator_loss(torch.zeros(4), torch.zeros(4), torch.zeros(4))  # 3 log 2
        tensor(2.0794)
    """
    _check_logits("real_logits", real_logits)
    _check_fakes(fake_logits)
    loss = -F.logsigmoid(real_logits).mean()
    for logits in fake_logits:
        loss = loss - F.logsigmoid(-logits).mean()
    return loss


def generator_loss(*fake_logits: Tensor, form: GanLoss = "minimax") -> Tensor:
    r"""What the generator descends on its fakes, each term a mean over images.

    minimax (the paper's, saturates when D is certain): :math:`\sum_k \log(1 - D(\tilde x_k))`,
    gradient -D(x̃)/B per logit; non_saturating: :math:`-\sum_k \log D(\tilde x_k)`,
    gradient -(1 - D(x̃))/B.

    Args:
        *fake_logits: [B_k]  logits on each kind of fake (prior samples, reconstructions).
        form: "minimax" or "non_saturating".

    Returns:
        []  nats per image; at most 0 for minimax, at least 0 for non_saturating.

    Raises:
        TypeError: if a logit tensor is no float tensor.
        ValueError: if there is no fake, a batch is empty, or ``form`` is neither.

    Source:
        Goodfellow et al. 2014, section 3; DRAW-GAN, Algorithm 1.

    Example:
        >>> import torch
        >>> generator_loss(torch.zeros(4), torch.zeros(4))  # -2 log 2
        tensor(-1.3863)
        >>> generator_loss(torch.zeros(4), torch.zeros(4), form="non_saturating")
        tensor(1.3863)
    """
    if form not in get_args(GanLoss):
        raise ValueError(f"form must be one of {', '.join(get_args(GanLoss))}, got {form!r}")
    _check_fakes(fake_logits)
    if form == "minimax":
        terms = [F.logsigmoid(-logits).mean() for logits in fake_logits]
    else:
        terms = [-F.logsigmoid(logits).mean() for logits in fake_logits]
    loss = terms[0]
    for term in terms[1:]:
        loss = loss + term
    return loss


def _check_fakes(fake_logits: tuple[Tensor, ...]) -> None:
    if not fake_logits:
        raise ValueError("fake_logits must hold at least one tensor, got none")
    for index, logits in enumerate(fake_logits):
        _check_logits(f"fake_logits[{index}]", logits)


def _check_logits(name: str, logits: Tensor) -> None:
    check_float(name, logits)
    if logits.numel() == 0:
        raise ValueError(f"{name} must hold at least one logit, got shape {list(logits.shape)}")
