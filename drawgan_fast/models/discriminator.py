"""Discriminators: is an image (or a latent) a real one? Each also shows one of its layers.

All answer in logits, D(x) = sigmoid(logits), and return the activations of a chosen layer l, on
which DRAW-GAN compares an image with its reconstruction. None mixes the images of a batch (there
is no batch normalisation), so real, reconstructed and prior images may go through as one batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from drawgan_fast.models.base import (
    check_float_tensor,
    check_image_tensor,
    check_placement,
)
from drawgan_fast.sizes import height_and_width, plain_numbers, real, whole


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says.

    Args:
        logits: [B]  log-odds that the input is real.
        features: [B, F]  activations of layer l.
    """

    logits: Tensor
    features: Tensor


class Discriminator(nn.Module):
    """Blocks one after the other, then one linear unit; layer l is the output of a block.

    Args:
        blocks: the hidden layers, each to its activation.
        width: numbers per image that the last block puts out.
        feature_layer: l, counted from 1 at the first hidden layer; None is the last.
        config: the subclass's constructor arguments, JSON-able.

    Raises:
        TypeError, ValueError: if ``feature_layer`` names no hidden layer.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        width: int,
        feature_layer: int | None,
        config: dict[str, Any],
    ) -> None:
        super().__init__()
        layer = len(blocks)
        if feature_layer is not None:
            layer = whole("feature_layer", feature_layer)
        if layer > len(blocks):
            raise ValueError(
                f"feature_layer must be from 1 to {len(blocks)}, the hidden layers, got {layer}"
            )
        self.feature_layer = layer
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(width, 1))
        self._config = plain_numbers(config)

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments; ``type(self)(**self.config())`` builds the same."""
        return copy.deepcopy(self._config)

    def _run(self, hidden: Tensor) -> DiscriminatorOutput:
        features = hidden
        for index, block in enumerate(self.blocks, start=1):
            hidden = block(hidden)
            if index == self.feature_layer:
                features = hidden
        return DiscriminatorOutput(self.head(hidden).squeeze(1), features.flatten(1))


class MLPDiscriminator(Discriminator):
    """The DRAW-GAN authors' discriminator: C·H·W → 500 → 100 → 1, fully connected.

    Each hidden layer is linear, dropout, ReLU in that order; layer l is by default the 100-unit
    layer after its ReLU. In training mode dropout draws from torch's global generator, with a
    mask of its own for every image: features of two equal images then differ.

    Args:
        image_size: (height, width) in pixels.
        channels: C.
        hidden_sizes: units of each hidden layer, at least one layer.
        dropout: probability of dropping a unit, in [0, 1).
        feature_layer: l, counted from 1 at the first hidden layer; None is the last.

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Source:
        DRAW-GAN, section on the discriminator, and the authors' published settings.

    Example:
        >>> import torch
        >>> d = MLPDiscriminator((28, 28))
        >>> logits, features = d(torch.rand(4, 1, 28, 28))
        >>> logits.shape, features.shape
        (torch.Size([4]), torch.Size([4, 100]))
    """

    def __init__(
        self,
        image_size: Sequence[int],
        channels: int = 1,
        hidden_sizes: Sequence[int] = (500, 100),
        dropout: float = 0.2,
        feature_layer: int | None = None,
    ) -> None:
        size = height_and_width("image_size", image_size)
        channels = whole("channels", channels)
        width = size[0] * size[1] * channels
        _check_probability("dropout", dropout)
        blocks = []
        for units in _check_widths("hidden_sizes", hidden_sizes):
            # Flatten leaves [B, F] as it is, so every block can start with it.
            blocks.append(
                nn.Sequential(nn.Flatten(), nn.Linear(width, units), nn.Dropout(dropout), nn.ReLU())
            )
            width = units
        config = {
            "image_size": list(size),
            "channels": channels,
            "hidden_sizes": list(hidden_sizes),
            "dropout": dropout,
            "feature_layer": feature_layer,
        }
        super().__init__(blocks, width, feature_layer, config)
        self.image_size, self.channels = size, channels

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Return logits [B] and features [B, F] of images.

        Args:
            x: [B, C, H, W]  pixels in [0, 1], the dtype and device of the parameters.

        Raises:
            TypeError, ValueError: if ``x`` is no such batch.
        """
        check_image_tensor("x", x, self.image_size, self.channels)
        check_placement("x", x, self)
        return self._run(x)


class ConvDiscriminator(Discriminator):
    """Convolutions 4×4 of stride 2 with leaky ReLU, then a fully connected layer.

    Any image size: a convolution maps H to ceil(H/2). No batch normalisation.

    Args:
        image_size: (height, width) in pixels.
        channels: C.
        widths: channels of each convolution, at least one.
        hidden_size: units of the fully connected layer, the last hidden layer.
        dropout: probability of dropping a unit of that layer, in [0, 1).
        feature_layer: l, counted from 1 at the first convolution; None is the fully connected one.

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Source:
        The discriminator of DCGAN (Radford et al. 2016) at MNIST's size, with the widths of
        InfoVAE's encoder.

    Example:
        >>> import torch
        >>> d = ConvDiscriminator((19, 31), channels=3, feature_layer=1)
        >>> logits, features = d(torch.rand(2, 3, 19, 31))
        >>> logits.shape, features.shape  # 64 maps of 10×16
        (torch.Size([2]), torch.Size([2, 10240]))
    """

    def __init__(
        self,
        image_size: Sequence[int],
        channels: int = 1,
        widths: Sequence[int] = (64, 128),
        hidden_size: int = 256,
        dropout: float = 0.0,
        feature_layer: int | None = None,
    ) -> None:
        size = height_and_width("image_size", image_size)
        channels = whole("channels", channels)
        hidden_size = whole("hidden_size", hidden_size)
        _check_probability("dropout", dropout)
        blocks: list[nn.Module] = []
        height, width, before = *size, channels
        for after in _check_widths("widths", widths):
            blocks.append(nn.Sequential(*halving_convolution(before, after), nn.LeakyReLU(0.2)))
            height, width, before = (height + 1) // 2, (width + 1) // 2, after
        blocks.append(
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(before * height * width, hidden_size),
                nn.Dropout(dropout),
                nn.LeakyReLU(0.2),
            )
        )
        config = {
            "image_size": list(size),
            "channels": channels,
            "widths": list(widths),
            "hidden_size": hidden_size,
            "dropout": dropout,
            "feature_layer": feature_layer,
        }
        super().__init__(blocks, hidden_size, feature_layer, config)
        self.image_size, self.channels = size, channels

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """Return logits [B] and features [B, F] of images.

        Args:
            x: [B, C, H, W]  pixels in [0, 1], the dtype and device of the parameters.

        Raises:
            TypeError, ValueError: if ``x`` is no such batch.
        """
        check_image_tensor("x", x, self.image_size, self.channels)
        check_placement("x", x, self)
        return self._run(x)


class LatentDiscriminator(Discriminator):
    """Tells prior samples from posterior samples: the adversarial prior of an autoencoder.

    An MLP with leaky ReLU. "Real" is the prior; its players' losses are those of
    :mod:`drawgan_fast.losses.gan`.

    Args:
        latent_size: numbers per latent z (for DRAW, T·z if all steps are judged together).
        hidden_sizes: units of each hidden layer, at least one layer.
        feature_layer: l, counted from 1 at the first hidden layer; None is the last.

    Raises:
        TypeError, ValueError: if an argument is out of range.

    Source:
        Makhzani et al. 2016, adversarial autoencoders.

    Example:
        >>> import torch
        >>> LatentDiscriminator(20)(torch.randn(4, 20)).logits.shape
        torch.Size([4])
    """

    def __init__(
        self,
        latent_size: int,
        hidden_sizes: Sequence[int] = (256, 256),
        feature_layer: int | None = None,
    ) -> None:
        width = whole("latent_size", latent_size)
        blocks = []
        for units in _check_widths("hidden_sizes", hidden_sizes):
            blocks.append(nn.Sequential(nn.Linear(width, units), nn.LeakyReLU(0.2)))
            width = units
        config = {
            "latent_size": latent_size,
            "hidden_sizes": list(hidden_sizes),
            "feature_layer": feature_layer,
        }
        super().__init__(blocks, width, feature_layer, config)
        self.latent_size = int(latent_size)

    def forward(self, z: Tensor) -> DiscriminatorOutput:
        """Return logits [B] and features [B, F] of latents.

        Args:
            z: [B, latent_size]  latents, the dtype and device of the parameters.

        Raises:
            TypeError, ValueError: if ``z`` is no such batch.
        """
        expected = f"a float tensor of shape [B, {self.latent_size}]"
        check_float_tensor("z", z, expected)
        if z.dim() != 2 or z.shape[1] != self.latent_size:
            raise ValueError(f"z must be {expected}, got shape {list(z.shape)}")
        check_placement("z", z, self)
        return self._run(z)


class PadToEven(nn.Module):
    """Append a row or column of zeros where H or W is odd.

    Before a 4×4 convolution of stride 2 and padding 1 this gives ceil(H/2) rows, TensorFlow's
    "same" padding, at any size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ([B, C, H, W]) with even H and W."""
        return nn.functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))


def halving_convolution(before: int, after: int) -> tuple[nn.Module, nn.Conv2d]:
    """A 4×4 convolution of stride 2 that maps [B, before, H, W] to [B, after, ⌈H/2⌉, ⌈W/2⌉]."""
    return PadToEven(), nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1)


def _check_widths(name: str, widths: Sequence[int]) -> Sequence[int]:
    if isinstance(widths, str) or not isinstance(widths, Sequence):
        raise TypeError(f"{name} must be a sequence of ints, got {type(widths).__name__}")
    if not widths:
        raise ValueError(f"{name} must name at least one layer, got none")
    return [whole(f"{name}[{index}]", width) for index, width in enumerate(widths)]


def _check_probability(name: str, value: object) -> None:
    if not 0 <= real(name, value) < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
