"""InfoVAE: an autoencoder whose aggregate posterior is matched to the prior by an MMD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from drawgan_fast.losses import kl_standard_normal, mmd
from drawgan_fast.models.base import (
    GenerativeModel,
    LossTerms,
    standard_normal,
)
from drawgan_fast.models.discriminator import halving_convolution
from drawgan_fast.sizes import real, whole

Posterior = Literal["deterministic", "gaussian"]


@dataclass(frozen=True)
class InfoVAELossTerms(LossTerms):
    """The terms of a loss, and the MMD beside them.

    Args:
        mmd: []  squared MMD of the batch's latents and the prior samples, unweighted.
    """

    mmd: Tensor

    def scalars(self) -> dict[str, Tensor]:
        """Return all four as detached scalars under the names that runs are logged with."""
        return {**super().scalars(), "mmd": self.mmd.detach()}


class InfoVAE(GenerativeModel):
    r"""Convolutional autoencoder with InfoVAE's objective; by default the authors' MMD-VAE.

    .. math::
        \mathrm{MSE}(x, \hat x) + (1-\alpha)\,\mathrm{KL}(q(z|x)\,\|\,\mathcal N(0, 1))
        + (\alpha+\lambda-1)\,\mathrm{MMD}^2(q(z), \mathcal N(0, 1))

    The reconstruction is the mean of squared errors over the n = C·H·W numbers of an image, which
    is, in nats and but for its constant, the negative log-likelihood of a Gaussian of variance
    n/2. (With unit variance, against an MMD of at most 2, the prior would not be felt.)

    Encoder: convolutions 4×4 of stride 2 to 64 and 128 maps, a layer of 1024, leaky ReLU of slope
    0.1; decoder: its mirror image with ReLU and a sigmoid. Weights start Xavier uniform, biases 0.

    With the defaults, alpha = 1 and lambda = 1, there is no KL, and the encoder is deterministic
    as in the authors' code: z is a function of x. ``posterior="gaussian"`` makes it
    N(mu, sigma²), which any other alpha needs.

    The MMD is the biased estimate between the B latents of a batch and ``prior_samples`` draws,
    however large B is. Two samples of the prior itself give (1/B + 1/P)(1 - E k) on average, so
    the logged value and its best possible value depend on the batch size, and a batch of few
    images matches the prior loosely. The authors train with B = P = 200.

    Args:
        image_size: (height, width) in pixels, any.
        channels: C.
        latent_size: numbers in z.
        alpha: 1 - the weight of the KL, at most 1.
        scale: lambda; alpha + lambda - 1, the weight of the MMD, must not be negative.
        widths: maps of the two convolutions.
        hidden_size: units of the fully connected layer on either side.
        prior_samples: P, how many prior samples the MMD compares with.
        posterior: "deterministic" (only with alpha = 1) or "gaussian".

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Source:
        Zhao, Song & Ermon 2017, InfoVAE, equation 6 and section 3.3; architecture and settings
        of the authors' MMD-VAE code.

    Example:
        >>> model = InfoVAE(image_size=(19, 31), channels=3, widths=(4, 8), hidden_size=16)
        >>> sorted(model.loss(torch.rand(5, 3, 19, 31)).scalars())
        ['kl', 'loss', 'mmd', 'reconstruction']
        >>> model.generate(2).shape
        torch.Size([2, 3, 19, 31])
    """

    def __init__(
        self,
        image_size: Sequence[int] = (28, 28),
        channels: int = 1,
        latent_size: int = 20,
        alpha: float = 1.0,
        scale: float = 1.0,
        widths: Sequence[int] = (64, 128),
        hidden_size: int = 1024,
        prior_samples: int = 200,
        posterior: Posterior = "deterministic",
    ) -> None:
        super().__init__(
            image_size,
            channels,
            latent_size=latent_size,
            alpha=alpha,
            scale=scale,
            widths=list(widths),
            hidden_size=hidden_size,
            prior_samples=prior_samples,
            posterior=posterior,
        )
        _check_weights(real("alpha", alpha), real("scale", scale), posterior)
        if len(widths) != 2:
            raise ValueError(f"widths must be two numbers of maps, got {list(widths)}")
        self.alpha, self.scale, self.posterior = float(alpha), float(scale), posterior
        self.latent_size = latent_size = whole("latent_size", latent_size)
        self.prior_samples = whole("prior_samples", prior_samples)
        hidden_size = whole("hidden_size", hidden_size)
        channels = self.channels
        first, second = (whole("widths", width) for width in widths)
        half = _halved(self.image_size)
        quarter = _halved(half)
        numbers = second * quarter[0] * quarter[1]
        outputs = latent_size if posterior == "deterministic" else 2 * latent_size
        self.encoder = nn.Sequential(
            *halving_convolution(channels, first),
            nn.LeakyReLU(0.1),
            *halving_convolution(first, second),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(numbers, hidden_size),
            nn.LeakyReLU(0.1),
            nn.Linear(hidden_size, outputs),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, numbers),
            nn.ReLU(),
            nn.Unflatten(1, (second, *quarter)),
            *doubling_convolution(second, first, half),
            nn.ReLU(),
            *doubling_convolution(first, channels, self.image_size),
            nn.Sigmoid(),
        )
        self.apply(_initialise)

    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw eps, ``[B + P, z]``, standard normal, on the model's device and in its dtype.

        Rows 0 to B-1 are the reparameterisation noise of the B images (drawn, and not used, when
        the posterior is deterministic); the last P = ``prior_samples`` rows are the prior samples
        of the MMD.

        Raises:
            TypeError, ValueError: if ``batch_size`` is not an int or is negative.
        """
        shape = (whole("batch_size", batch_size, least=0) + self.prior_samples, self.latent_size)
        return standard_normal(shape, generator, device=self.device, dtype=self.dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return mu and log sigma of q(z|x), each ``[B, z]``; None for log sigma if deterministic.

        Args:
            x: [B, C, H, W]  images in [0, 1].
        """
        self.check_images(x)
        hidden = self.encoder(x)
        if self.posterior == "deterministic":
            return hidden, None
        mu, log_sigma = hidden.chunk(2, dim=1)
        return mu, log_sigma

    def decode(self, z: Tensor) -> Tensor:
        """Return the images that latents stand for, ``[B, C, H, W]`` in [0, 1].

        Args:
            z: [B, z]  latents.
        """
        self.check_noise(z, (len(z), self.latent_size), name="z")
        images: Tensor = self.decoder(z)
        return images

    def loss(self, x: Tensor, eps: Tensor | None = None) -> InfoVAELossTerms:
        """Return the objective in mean nats per image, and its parts.

        ``reconstruction`` and ``kl`` are unweighted (0 for the KL of a deterministic posterior,
        which has none), ``mmd`` too; ``total`` weighs them.

        Args:
            x: [B, C, H, W]  images in [0, 1], B >= 1.
            eps: [B + P, z]  noise as :meth:`noise` lays it out; drawn here if None.

        Raises:
            TypeError, ValueError: if an argument has another shape, dtype or device.
        """
        self.check_images(x, minimum=1)
        eps = self._noise_for(x, eps)
        mu, log_sigma = self.encode(x)
        z = _sample(mu, log_sigma, eps[: len(x)])
        reconstruction = (self.decode(z) - x).square().mean()
        discrepancy = mmd(z, eps[len(x) :])
        total = reconstruction + (self.alpha + self.scale - 1) * discrepancy
        if log_sigma is None:
            return InfoVAELossTerms(total, reconstruction, torch.zeros_like(total), discrepancy)
        kl = kl_standard_normal(mu, log_sigma).mean()
        return InfoVAELossTerms(total + (1 - self.alpha) * kl, reconstruction, kl, discrepancy)

    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Encode and decode images, ``[B, C, H, W]`` in [0, 1].

        Args:
            x: [B, C, H, W]  images in [0, 1].
            eps: [B + P, z]  noise as :meth:`noise` lays it out (the prior samples are not looked
                at); drawn here if None.

        Raises:
            TypeError, ValueError: if an argument has another shape, dtype or device.
        """
        self.check_images(x)
        eps = self._noise_for(x, eps)
        return self.decode(_sample(*self.encode(x), eps[: len(x)]))

    def log_weight(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Raise: a squared error and an MMD bound no likelihood.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "InfoVAE has no bound on log p(x): it minimises a squared error and an MMD"
        )

    def _noise_for(self, x: Tensor, eps: Tensor | None) -> Tensor:
        if eps is None:
            return self.noise(len(x))
        self.check_noise(eps, (len(x) + self.prior_samples, self.latent_size))
        return eps

    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        shape = (n, self.latent_size)
        return self.decode(standard_normal(shape, generator, device=self.device, dtype=self.dtype))


class Crop(nn.Module):
    """Keep the first rows and columns, as many as ``size`` says."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, *size] of ``x`` ([B, C, H, W])."""
        return x[..., : self.size[0], : self.size[1]]


def doubling_convolution(
    before: int, after: int, size: tuple[int, int]
) -> tuple[nn.ConvTranspose2d, nn.Module]:
    """Transposed 4×4 convolution of stride 2 that maps [B, before, ⌈H/2⌉, ⌈W/2⌉] to ``size``."""
    return nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1), Crop(size)


def _sample(mu: Tensor, log_sigma: Tensor | None, eps: Tensor) -> Tensor:
    return mu if log_sigma is None else mu + log_sigma.exp() * eps


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def _check_weights(alpha: float, scale: float, posterior: object) -> None:
    if not alpha <= 1:
        raise ValueError(f"alpha must be at most 1 (1 - alpha weighs the KL), got {alpha}")
    if not alpha + scale >= 1:
        raise ValueError(
            f"scale must be at least 1 - alpha = {1 - alpha} (alpha + scale - 1 weighs the MMD), "
            f"got {scale}"
        )
    if posterior not in get_args(Posterior):
        raise ValueError(
            f"posterior must be one of {', '.join(get_args(Posterior))}, got {posterior!r}"
        )
    if posterior == "deterministic" and alpha != 1:
        raise ValueError(
            f"alpha must be 1 for a deterministic posterior, which has no KL, got {alpha}; "
            "posterior='gaussian' takes any"
        )
