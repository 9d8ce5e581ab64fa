"""The networks, behind one protocol: VAE, InfoVAE, DRAW and DRAW-GAN."""

from __future__ import annotations

from typing import Any

from drawgan_fast.models.base import GenerativeModel, LossTerms
from drawgan_fast.models.discriminator import (
    ConvDiscriminator,
    DiscriminatorOutput,
    LatentDiscriminator,
    MLPDiscriminator,
)
from drawgan_fast.models.draw import DRAW
from drawgan_fast.models.draw_gan import DRAWGAN
from drawgan_fast.models.info_vae import InfoVAE
from drawgan_fast.models.vae import VAE

MODELS: dict[str, type[GenerativeModel]] = {
    "draw-gan": DRAWGAN,
    "draw": DRAW,
    "vae": VAE,
    "info-vae": InfoVAE,
}


def build(name: str, **arguments: Any) -> GenerativeModel:
    """Build a model by the name that the command line and the checkpoints use.

    Raises:
        ValueError: no model has that name.

    >>> type(build("draw", image_size=(8, 8), hidden_size=4, latent_size=2)).__name__
    'DRAW'
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name](**arguments)


__all__ = [
    "DRAW",
    "DRAWGAN",
    "MODELS",
    "VAE",
    "ConvDiscriminator",
    "DiscriminatorOutput",
    "GenerativeModel",
    "InfoVAE",
    "LatentDiscriminator",
    "LossTerms",
    "MLPDiscriminator",
    "build",
]
