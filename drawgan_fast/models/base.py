"""What every model of this package can do: one protocol for training, sampling and scoring."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.sizes import height_and_width, plain_numbers, whole


@dataclass(frozen=True)
class LossTerms:
    """A loss and its two parts, each a scalar in mean nats per image.

    Args:
        total: []  what is differentiated; any further parts are in here alone.
        reconstruction: []  how badly the image is reproduced.
        kl: []  how far the posterior is from the prior.

    Example:
        >>> terms = LossTerms(torch.tensor(3.0), torch.tensor(2.0), torch.tensor(1.0))
        >>> terms.scalars()["loss"]
        tensor(3.)
    """

    total: Tensor
    reconstruction: Tensor
    kl: Tensor

    def scalars(self) -> dict[str, Tensor]:
        """Return the three as detached scalars under the names that runs are logged with."""
        return {
            "loss": self.total.detach(),
            "reconstruction": self.reconstruction.detach(),
            "kl": self.kl.detach(),
        }


class GenerativeModel(nn.Module, ABC):
    """Base of VAE, InfoVAE, DRAW and DRAW-GAN.

    A subclass hands its constructor arguments to this constructor and writes :meth:`noise`,
    :meth:`loss`, :meth:`reconstruct` and :meth:`_generate`; the rest has a default that suits a
    model with one player. Images are ``[B, C, H, W]`` in [0, 1] everywhere, and noise is always an
    argument: same weights, same noise, same answer.

    Args:
        image_size: (height, width) in pixels, each at least 1.
        channels: number of image channels C, at least 1.
        **arguments: the subclass's remaining constructor arguments, JSON-able (numbers, strings,
            booleans, None, lists and dicts of them), as :meth:`config` is to return them.

    Raises:
        TypeError, ValueError: if ``image_size`` or ``channels`` is no such size.
    """

    image_size: tuple[int, int]
    channels: int

    def __init__(self, image_size: Sequence[int], channels: int, **arguments: Any) -> None:
        super().__init__()
        self.image_size = height_and_width("image_size", image_size)
        self.channels = whole("channels", channels)
        self._config: dict[str, Any] = plain_numbers(
            {"image_size": self.image_size, "channels": self.channels, **arguments}
        )

    @property
    def device(self) -> torch.device:
        """The device of the model's parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the model's parameters."""
        return next(self.parameters()).dtype

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments; ``type(self)(**self.config())`` builds the same model.

        Everything in it can be written as JSON (``image_size`` is a list); the dict is a copy.
        """
        return copy.deepcopy(self._config)

    def players(self) -> dict[str, nn.Module]:
        """Return what gets an optimizer each: ``{"model": self}`` unless the model is a game."""
        return {"model": self}

    @abstractmethod
    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw the noise that one call of :meth:`loss` on ``batch_size`` images consumes.

        On the model's device and in its dtype. A generator on another device (a CPU generator
        for a model on a GPU) is drawn from where it lives, and the noise is copied.
        """

    @abstractmethod
    def loss(self, x: Tensor, eps: Tensor | None = None) -> LossTerms:
        """Return the loss on images in mean nats per image.

        Args:
            x: [B, C, H, W]  images in [0, 1], B >= 1.
            eps: noise as :meth:`noise` draws it for B images; drawn here if None.
        """

    @abstractmethod
    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Encode and decode images: ``[B, C, H, W]`` in [0, 1], differentiable.

        Args:
            x: [B, C, H, W]  images in [0, 1].
            eps: noise as :meth:`noise` draws it for B images; drawn here if None.
        """

    @abstractmethod
    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        """Decode ``n`` prior samples to [n, C, H, W]; called without gradients, in eval mode."""

    def generate(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw new images from the model.

        Runs without gradients and in eval mode; every submodule is back in its own mode after.

        Args:
            n: how many images, at least 0.
            generator: source of the prior noise; torch's global one if None.

        Returns:
            [n, C, H, W] pixel probabilities (or intensities) in [0, 1].

        Raises:
            TypeError, ValueError: if ``n`` is not an int or is negative.
        """
        n = whole("n", n, least=0)
        with torch.no_grad(), eval_mode(self):
            return self._generate(n, generator)

    def accumulate_gradients(self, x: Tensor, eps: Tensor | None = None) -> dict[str, Tensor]:
        """Do the backward half of one training step: add to ``.grad`` of every player.

        Zeroing gradients before and stepping optimizers after is the caller's.

        Args:
            x: [B, C, H, W]  images in [0, 1], B >= 1.
            eps: noise as :meth:`noise` draws it for B images; drawn here if None.

        Returns:
            Detached scalars to log: "loss", "reconstruction" and "kl" in mean nats per image,
            and whatever a subclass adds.
        """
        terms = self.loss(x, eps)
        terms.total.backward()
        return terms.scalars()

    def log_weight(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Return log p(x|z) + log p(z) - log q(z|x), ``[B]`` in nats, for importance weighting.

        Its mean over noise is the evidence lower bound; log-mean-exp over several draws is the
        tighter importance-weighted bound (Burda et al. 2016, eq. 8).

        Raises:
            NotImplementedError: if the model has no such bound.
        """
        raise NotImplementedError(f"{type(self).__name__} has no bound on log p(x)")

    def check_images(self, x: Tensor, *, name: str = "x", minimum: int = 0) -> None:
        """Raise TypeError or ValueError unless ``x`` is a batch of images that this model takes.

        Pixel values are not looked at: that would stall a GPU at every step.

        Args:
            x: [B, C, H, W]  the argument to check.
            name: what the caller calls it.
            minimum: least B allowed; 1 where a mean over images is taken.
        """
        check_image_tensor(name, x, self.image_size, self.channels, minimum)
        check_placement(name, x, self)

    def check_noise(self, eps: Tensor, shape: Sequence[int], *, name: str = "eps") -> None:
        """Raise TypeError or ValueError unless ``eps`` is float noise of ``shape`` on this model.

        Args:
            eps: [*shape]  the argument to check.
            shape: what it must be.
            name: what the caller calls it.
        """
        expected = f"a float tensor of shape {list(shape)}"
        check_float_tensor(name, eps, expected)
        if tuple(eps.shape) != tuple(shape):
            raise ValueError(f"{name} must be {expected}, got shape {list(eps.shape)}")
        check_placement(name, eps, self)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and its children in eval mode, and each back in its own mode at the end.

    Example:
        >>> dropout = nn.Dropout()
        >>> with eval_mode(dropout):
        ...     dropout.training
        False
        >>> dropout.training
        True
    """
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in modes:
            child.training = training


def standard_normal(
    shape: Sequence[int],
    generator: torch.Generator | None,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Draw N(0, 1) noise of ``shape``, on the generator's device first where that is another.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> cpu = torch.device("cpu")
        >>> standard_normal((2, 3), generator, device=cpu, dtype=torch.float64).shape
        torch.Size([2, 3])
    """
    source = device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, device=source, dtype=dtype).to(device)


def check_float_tensor(name: str, value: object, expected: str) -> None:
    """Raise TypeError unless ``value`` is a floating-point tensor; ``expected`` says of what."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be {expected}, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be {expected}, got dtype {value.dtype}")


def check_image_tensor(
    name: str, value: object, image_size: tuple[int, int], channels: int, minimum: int = 0
) -> None:
    """Raise TypeError or ValueError unless ``value`` is float images of that size, B >= minimum."""
    height, width = image_size
    expected = f"a float tensor of shape [B, {channels}, {height}, {width}]"
    check_float_tensor(name, value, expected)
    assert isinstance(value, Tensor)
    if value.dim() != 4 or tuple(value.shape[1:]) != (channels, height, width):
        raise ValueError(f"{name} must be {expected}, got shape {list(value.shape)}")
    if value.shape[0] < minimum:
        raise ValueError(f"{name} must hold at least {minimum} image(s), got {value.shape[0]}")


def check_placement(name: str, tensor: Tensor, module: nn.Module) -> None:
    """Raise unless ``tensor`` has the device (ValueError) and dtype (TypeError) of ``module``."""
    parameter = next(module.parameters())
    if tensor.device != parameter.device:
        raise ValueError(
            f"{name} must be on the model's device {parameter.device}, got {tensor.device}"
        )
    # Autocast chooses its own dtypes, so there a mismatch is what was asked for.
    if tensor.dtype != parameter.dtype and not torch.is_autocast_enabled(tensor.device.type):
        raise TypeError(f"{name} must have the model's dtype {parameter.dtype}, got {tensor.dtype}")
