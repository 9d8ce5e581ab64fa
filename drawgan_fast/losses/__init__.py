"""Losses as pure functions on tensors: no state, no model, every one differentiable."""

from drawgan_fast.losses.bernoulli import bernoulli_nll
from drawgan_fast.losses.gan import GanLoss, discriminator_loss, generator_loss
from drawgan_fast.losses.gaussian import (
    gaussian_nll_unit_variance,
    kl_standard_normal,
    log_prior_ratio,
)
from drawgan_fast.losses.mmd import mmd
from drawgan_fast.losses.ssim import ssim_loss

__all__ = [
    "GanLoss",
    "bernoulli_nll",
    "discriminator_loss",
    "gaussian_nll_unit_variance",
    "generator_loss",
    "kl_standard_normal",
    "log_prior_ratio",
    "mmd",
    "ssim_loss",
]
