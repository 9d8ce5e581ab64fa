"""The variational autoencoder of Kingma and Welling: one hidden layer each way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from drawgan_fast.losses import bernoulli_nll, kl_standard_normal, log_prior_ratio
from drawgan_fast.models.base import (
    GenerativeModel,
    LossTerms,
    standard_normal,
)
from drawgan_fast.sizes import whole


class VAE(GenerativeModel):
    r"""Fully connected variational autoencoder with a Bernoulli output.

    .. math::
        h = \mathrm{relu}(W_1 x), \quad (\mu, \log\sigma) = W_2 h, \quad
        z = \mu + \sigma\varepsilon, \quad \mathrm{logits} = W_4\,\mathrm{relu}(W_3 z)

    and the loss is -log p(x|z) + KL(q(z|x) || N(0, 1)), the negative evidence lower bound.

    Args:
        image_size: (height, width) in pixels.
        channels: C.
        hidden_size: units of the hidden layer on either side.
        latent_size: numbers in z.

    Raises:
        TypeError, ValueError: if a size is no positive int.

    Source:
        Kingma & Welling 2014, equation 10 and appendix C.1.

    Example:
        >>> model = VAE(image_size=(8, 8), hidden_size=16, latent_size=2)
        >>> terms = model.loss(torch.rand(4, 1, 8, 8))
        >>> torch.allclose(terms.total, terms.reconstruction + terms.kl)
        True
        >>> model.generate(3).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        image_size: Sequence[int] = (28, 28),
        channels: int = 1,
        hidden_size: int = 400,
        latent_size: int = 20,
    ) -> None:
        super().__init__(image_size, channels, hidden_size=hidden_size, latent_size=latent_size)
        hidden_size = whole("hidden_size", hidden_size)
        self.latent_size = latent_size = whole("latent_size", latent_size)
        channels, (height, width) = self.channels, self.image_size
        numbers = channels * height * width
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(numbers, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, 2 * latent_size),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, numbers),
            nn.Unflatten(1, (channels, height, width)),
        )

    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw eps, ``[B, z]``, standard normal: the noise of the reparameterisation.

        Raises:
            TypeError, ValueError: if ``batch_size`` is not an int or is negative.
        """
        shape = (whole("batch_size", batch_size, least=0), self.latent_size)
        return standard_normal(shape, generator, device=self.device, dtype=self.dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma of q(z|x), each ``[B, z]``.

        Args:
            x: [B, C, H, W]  images in [0, 1].
        """
        self.check_images(x)
        mu, log_sigma = self.encoder(x).chunk(2, dim=1)
        return mu, log_sigma

    def decode(self, z: Tensor) -> Tensor:
        """Return the logits of p(x|z), ``[B, C, H, W]``.

        Args:
            z: [B, z]  latents.
        """
        self.check_noise(z, (len(z), self.latent_size), name="z")
        logits: Tensor = self.decoder(z)
        return logits

    def loss(self, x: Tensor, eps: Tensor | None = None) -> LossTerms:
        """Return the negative evidence lower bound in mean nats per image.

        Args:
            x: [B, C, H, W]  images in [0, 1], B >= 1; grey values count as probabilities.
            eps: [B, z]  standard normal noise; drawn here if None.

        Raises:
            TypeError, ValueError: if an argument has another shape, dtype or device.
        """
        self.check_images(x, minimum=1)
        mu, log_sigma, eps = self._posterior(x, eps)
        logits = self.decode(mu + log_sigma.exp() * eps)
        reconstruction = bernoulli_nll(logits, x).mean()
        kl = kl_standard_normal(mu, log_sigma).mean()
        return LossTerms(reconstruction + kl, reconstruction, kl)

    def log_weight(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return log p(x|z) + log p(z) - log q(z|x), ``[B]`` in nats.

        Args:
            x: [B, C, H, W]  images in [0, 1].
            eps: [B, z]  standard normal noise; drawn here if None.

        Raises:
            TypeError, ValueError: if an argument has another shape, dtype or device.
        """
        mu, log_sigma, eps = self._posterior(x, eps)
        logits = self.decode(mu + log_sigma.exp() * eps)
        return log_prior_ratio(mu, log_sigma, eps) - bernoulli_nll(logits, x)

    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return pixel probabilities at one posterior sample, ``[B, C, H, W]`` in [0, 1].

        Args:
            x: [B, C, H, W]  images in [0, 1].
            eps: [B, z]  standard normal noise; drawn here if None, zeros for the posterior mean.

        Raises:
            TypeError, ValueError: if an argument has another shape, dtype or device.
        """
        mu, log_sigma, eps = self._posterior(x, eps)
        return self.decode(mu + log_sigma.exp() * eps).sigmoid()

    def _posterior(self, x: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        mu, log_sigma = self.encode(x)
        if eps is None:
            eps = self.noise(len(x))
        self.check_noise(eps, (len(x), self.latent_size))
        return mu, log_sigma, eps

    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.decode(self.noise(n, generator)).sigmoid()
