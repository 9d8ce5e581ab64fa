"""DRAW-GAN: DRAW as the generator of a GAN (the paper's Algorithm 1) and its variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.draw_config import DrawOutput, DrawTrace, Memory
from drawgan_fast.losses import (
    GanLoss,
    bernoulli_nll,
    discriminator_loss,
    gaussian_nll_unit_variance,
    generator_loss,
    mmd,
    ssim_loss,
)
from drawgan_fast.models.base import GenerativeModel, LossTerms, standard_normal
from drawgan_fast.models.discriminator import (
    ConvDiscriminator,
    LatentDiscriminator,
    MLPDiscriminator,
)
from drawgan_fast.models.draw import DRAW
from drawgan_fast.models.game import accumulate, play

DiscriminatorName = Literal["mlp", "conv"]
GanGradient = Literal["all", "decoder"]
Reconstruction = Literal["feature", "pixel", "ssim"]
Prior = Literal["kl", "mmd", "adversarial"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "discriminator": get_args(DiscriminatorName),
    "gan_loss": get_args(GanLoss),
    "gan_gradient": get_args(GanGradient),
    "reconstruction": get_args(Reconstruction),
    "prior": get_args(Prior),
}


@dataclass(frozen=True)
class GanTerms:
    """Every term of one DRAW-GAN step: scalars in mean per image, before their weights.

    ``gan`` is what the generator descends, ``discriminator`` what D descends (−L_GAN),
    ``latent_discriminator`` what the discriminator of the adversarial prior descends.
    """

    reconstruction: Tensor
    prior: Tensor
    gan: Tensor
    discriminator: Tensor
    latent_discriminator: Tensor | None
    kl: Tensor

    def scalars(self) -> dict[str, Tensor]:
        """The terms by name, detached; absent ones left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.detach() for name, value in named.items() if value is not None}


class Drawn(NamedTuple):
    """What DRAW made in one step."""

    out: DrawOutput
    image: Tensor  # [B, C, H, W] reconstructions of x
    prior_image: Tensor  # [B, C, H, W] prior samples
    z: Tensor  # [T, B, Z] of the posterior
    prior_z: Tensor  # [T, B, Z] of the prior

    def copies(self) -> Drawn:
        """The same with images and z as leaves, at which a backward pass ends."""
        leaves = {
            name: getattr(self, name).detach().requires_grad_(getattr(self, name).requires_grad)
            for name in ("image", "prior_image", "z")
        }
        return self._replace(**leaves)


class DRAWGAN(GenerativeModel):
    r"""DRAW trained by a prior term, a reconstruction term and a discriminator D.

    One step (Algorithm 1), D in logits and with the weights it had at the start of the step::

        L_prior = Σ_t KL(q(z_t | x, z_<t) ‖ N(0, I))
        L_rec   = ½‖D_l(x) − D_l(x_rec)‖²      unit-variance Gaussian nll at layer l of D
        L_GAN   = log D(x) + log(1 − D(x_prior)) + log(1 − D(x_rec))
        D ascends L_GAN;   DRAW descends L_prior + γ·L_rec + L_GAN

    Algorithm 1 prints the generator's step as −∇(L_prior + γ·L_rec − L_GAN); its signs are loose,
    and what is meant is that the generator descends its own terms of L_GAN.

    Args:
        image_size, channels, steps, hidden_size, latent_size, read_size, write_size, spec,
            attention, shared_attention: as for :class:`DRAW`; the defaults here are the authors'.
        discriminator: ``mlp`` (the authors' D) or ``conv``.
        feature_layer: l, counted from 1 at D's first hidden layer; None is its last.
        gan_loss: ``minimax`` (the paper) or ``non_saturating``: the generator descends
            −log D instead of log(1 − D).
        gan_gradient: ``all`` of DRAW receives the GAN gradient (the paper), or the ``decoder``
            alone (VAE/GAN).
        reconstruction: ``feature`` (the paper), ``pixel`` (Bernoulli nll, nats per image; the
            authors' published code uses 0.8 of it) or ``ssim`` (1 − SSIM summed over pixels).
        reconstruction_weight: γ.
        prior: ``kl`` (the paper), ``mmd`` between the steps' posterior samples and the prior's,
            or ``adversarial``: a discriminator on z_1…T (the paper's future work).
        prior_weight: weight of that term; None is 1, or C·H·W for ``mmd``, as the authors of
            MMD-VAE weigh a pixel mean against one MMD.
        memory: as for :class:`DRAW`.

    Raises:
        TypeError, ValueError: as for :class:`DRAW`, or an option is not one of its choices.

    Source: Renkila, Ganivada, Bapi, "DRAW-GAN"; Larsen et al. 2016 for the feature-wise loss.

    >>> model = DRAWGAN(image_size=(8, 8), steps=2, hidden_size=4, latent_size=2, write_size=3)
    >>> scalars = model.accumulate_gradients(torch.rand(5, 1, 8, 8))
    >>> sorted(model.players()), "discriminator" in scalars
    (['discriminator', 'generator'], True)
    """

    def __init__(
        self,
        image_size: Sequence[int] = (32, 32),
        channels: int = 1,
        steps: int = 20,
        hidden_size: int = 400,
        latent_size: int = 20,
        read_size: int = 5,
        write_size: int = 5,
        spec: str | AttentionSpec | Mapping[str, Any] = "paper",
        attention: bool = True,
        shared_attention: bool = False,
        discriminator: DiscriminatorName = "mlp",
        feature_layer: int | None = None,
        gan_loss: GanLoss = "minimax",
        gan_gradient: GanGradient = "all",
        reconstruction: Reconstruction = "feature",
        reconstruction_weight: float = 1.0,
        prior: Prior = "kl",
        prior_weight: float | None = None,
        memory: Memory = "keep",
    ) -> None:
        draw = DRAW(
            image_size,
            channels,
            steps,
            hidden_size,
            latent_size,
            read_size,
            write_size,
            spec,
            attention,
            shared_attention,
            memory,
        )
        options: dict[str, Any] = {
            "discriminator": discriminator,
            "gan_loss": gan_loss,
            "gan_gradient": gan_gradient,
            "reconstruction": reconstruction,
            "prior": prior,
        }
        for name, value in options.items():
            if value not in _CHOICES[name]:
                raise ValueError(f"{name} must be one of {_CHOICES[name]}, got {value!r}")
        super().__init__(
            **draw.config(),
            **options,
            feature_layer=feature_layer,
            reconstruction_weight=reconstruction_weight,
            prior_weight=prior_weight,
        )
        self.draw = draw
        kind = MLPDiscriminator if discriminator == "mlp" else ConvDiscriminator
        self.discriminator = kind(self.image_size, channels, feature_layer=feature_layer)
        self.latent_discriminator = (
            LatentDiscriminator(steps * latent_size) if prior == "adversarial" else None
        )
        self.gan_loss: GanLoss = gan_loss
        self.gan_gradient: GanGradient = gan_gradient
        self.reconstruction: Reconstruction = reconstruction
        self.reconstruction_weight = reconstruction_weight
        self.prior: Prior = prior
        if prior_weight is None:
            prior_weight = float(draw.cfg.image_numbers) if prior == "mmd" else 1.0
        self.prior_weight = prior_weight

    def players(self) -> dict[str, nn.Module]:
        """Generator, discriminator and, for the adversarial prior, the latent discriminator."""
        players: dict[str, nn.Module] = {
            "generator": self.draw,
            "discriminator": self.discriminator,
        }
        if self.latent_discriminator is not None:
            players["latent_discriminator"] = self.latent_discriminator
        return players

    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise [2, T, B, Z]: of the posterior, then of the prior samples."""
        shape = (2, self.draw.steps, batch_size, self.draw.cfg.latent_size)
        return standard_normal(shape, generator, device=self.device, dtype=self.dtype)

    def loss(self, x: Tensor, eps: Tensor | None = None) -> LossTerms:
        """What the generator descends, L_prior + γ·L_rec + its terms of L_GAN, per image.

        Differentiable in every player's parameters; :meth:`accumulate_gradients` is the step that
        gives each player its own gradient only.
        """
        terms = self.terms(x, eps)
        return LossTerms(self._generator_total(terms), terms.reconstruction, terms.kl)

    def accumulate_gradients(self, x: Tensor, eps: Tensor | None = None) -> dict[str, Tensor]:
        """One step's gradients for every player, from one forward pass of DRAW and of D.

        Discriminators play on copies of what DRAW made, where their backward passes end. Then
        DRAW's graph is walked through once, from the gradients of the copies and from DRAW's own
        terms together (twice where the encoder must not see the GAN gradient).

        x [B, C, H, W], eps [2, T, B, Z]. Returns detached scalars: "loss" (the generator's),
        "reconstruction", "kl", "prior", "gan", "discriminator", "latent_discriminator".
        """
        drawn = self._draw(x, eps)
        shown = drawn.copies()
        terms = self._terms(x, drawn, shown)
        images = [drawn.image, drawn.prior_image]
        for_decoder, for_all = self._image_gradients(terms, shown)
        if for_decoder is not None:
            accumulate(images, for_decoder, self.draw.core.decoder_parameters(), last=False)

        # Each tensor of DRAW's graph that the last pass starts from, and its gradient if known.
        roots: list[Tensor] = [] if for_all is None else images
        gradients = for_all or []
        if self.latent_discriminator is None:
            roots, gradients = [*roots, self.prior_weight * terms.prior], [*gradients, None]
        else:
            roots, gradients = [*roots, drawn.z], [*gradients, self._latent_gradient(terms, shown)]
        if self.reconstruction != "feature":
            roots = [*roots, self.reconstruction_weight * terms.reconstruction]
            gradients = [*gradients, None]
        accumulate(roots, gradients, self.draw.parameters(), last=True)
        return {"loss": self._generator_total(terms).detach(), **terms.scalars()}

    def _image_gradients(
        self, terms: GanTerms, shown: Drawn
    ) -> tuple[list[Tensor | None] | None, list[Tensor | None] | None]:
        """Play the game of D: its gradients, and those of both images.

        Returns:
            The images' gradients for the decoder alone, and those for all of DRAW; None where
            there are none.
        """
        seen = [shown.image, shown.prior_image]
        minimax = self.gan_loss == "minimax"
        feature = None
        if self.reconstruction == "feature":
            feature = self.reconstruction_weight * terms.reconstruction
        if self.gan_gradient == "decoder":
            objectives = [terms.gan] if feature is None else [terms.gan, feature]
            alone, *rest = play(
                self.discriminator, terms.discriminator, objectives, seen, opposed=minimax
            )
            return alone, rest[0] if rest else None
        # With a feature loss the images' gradient holds what D's must not: two passes, of which
        # one computes D's gradients only and the other the images' only.
        total = terms.gan if feature is None else terms.gan + feature
        opposed = minimax and feature is None
        (gradients,) = play(self.discriminator, terms.discriminator, [total], seen, opposed=opposed)
        return None, gradients

    def _latent_gradient(self, terms: GanTerms, shown: Drawn) -> Tensor | None:
        """Play the game of the latent discriminator: its gradients, and that of z."""
        assert self.latent_discriminator is not None
        assert terms.latent_discriminator is not None
        ((of_z,),) = play(
            self.latent_discriminator,
            terms.latent_discriminator,
            [terms.prior],
            [shown.z],
            opposed=self.gan_loss == "minimax",
        )
        return None if of_z is None else self.prior_weight * of_z

    def terms(self, x: Tensor, eps: Tensor | None = None) -> GanTerms:
        """Every term of the step, undetached; x [B, C, H, W], eps [2, T, B, Z]."""
        drawn = self._draw(x, eps)
        return self._terms(x, drawn, drawn)

    def _draw(self, x: Tensor, eps: Tensor | None) -> Drawn:
        """Reconstructions and prior samples, in one pass."""
        self.check_images(x, minimum=1)
        if eps is None:
            eps = self.noise(x.shape[0])
        self.check_noise(eps, (2, self.draw.steps, x.shape[0], self.draw.cfg.latent_size))
        posterior_eps, prior_z = eps.unbind(0)
        out = self.draw(x, posterior_eps, prior_z)
        assert out.prior_canvas is not None
        return Drawn(
            out=out,
            image=torch.sigmoid(out.canvas),
            prior_image=torch.sigmoid(out.prior_canvas),
            z=out.mu + out.log_sigma.exp() * posterior_eps,
            prior_z=prior_z,
        )

    def _terms(self, x: Tensor, drawn: Drawn, shown: Drawn) -> GanTerms:
        """Every term; discriminators look at ``shown``, the other terms at ``drawn``."""
        seen = self.discriminator(torch.cat([x, shown.image, shown.prior_image]))
        real, drawn_logits, prior_logits = seen.logits.chunk(3)
        real_features, drawn_features, _ = seen.features.chunk(3)
        out = drawn.out
        kl = out.kl.mean()
        if self.reconstruction == "feature":
            reconstruction = gaussian_nll_unit_variance(drawn_features, real_features).mean()
        elif self.reconstruction == "pixel":
            reconstruction = bernoulli_nll(out.canvas, x).mean()
        else:
            reconstruction = self.draw.cfg.image_numbers * ssim_loss(drawn.image, x).mean()
        prior, latent_discriminator = self._prior_terms(drawn, shown, kl)
        return GanTerms(
            reconstruction=reconstruction,
            prior=prior,
            gan=generator_loss(drawn_logits, prior_logits, form=self.gan_loss),
            discriminator=discriminator_loss(real, drawn_logits, prior_logits),
            latent_discriminator=latent_discriminator,
            kl=kl,
        )

    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Pixel means of x encoded and drawn again; eps [T, B, Z] or the step's [2, T, B, Z]."""
        return self.draw.reconstruct(x, _posterior(eps))

    def reconstruct_trace(self, x: Tensor, eps: Tensor | None = None) -> tuple[Tensor, DrawTrace]:
        """See :meth:`DRAW.reconstruct_trace`."""
        return self.draw.reconstruct_trace(x, _posterior(eps))

    def generate_trace(
        self, n: int, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, DrawTrace]:
        """See :meth:`DRAW.generate_trace`."""
        return self.draw.generate_trace(n, generator=generator)

    def log_weight(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Of the DRAW inside, with Bernoulli pixels: DRAW-GAN does not train on this bound."""
        return self.draw.log_weight(x, _posterior(eps))

    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.draw.generate(n, generator=generator)

    def _generator_total(self, terms: GanTerms) -> Tensor:
        return (
            self.prior_weight * terms.prior
            + self.reconstruction_weight * terms.reconstruction
            + terms.gan
        )

    def _prior_terms(self, drawn: Drawn, shown: Drawn, kl: Tensor) -> tuple[Tensor, Tensor | None]:
        """What pulls the posterior towards the prior, and the latent discriminator's loss."""
        if self.prior == "kl":
            return kl, None
        if self.prior == "mmd":
            per_step = [mmd(q, p) for q, p in zip(drawn.z, drawn.prior_z)]
            return torch.stack(per_step).sum(), None
        assert self.latent_discriminator is not None
        both = torch.cat([shown.prior_z, shown.z], dim=1).transpose(0, 1).flatten(1)  # [2B, T·Z]
        real, posterior = self.latent_discriminator(both).logits.chunk(2)
        return (
            generator_loss(posterior, form=self.gan_loss),
            discriminator_loss(real, posterior),
        )


def _posterior(eps: Tensor | None) -> Tensor | None:
    """The posterior's half of a step's noise; [T, B, Z] passes through."""
    return eps[0] if eps is not None and eps.dim() == 4 else eps
