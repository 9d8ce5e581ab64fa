"""What every way of running a training step offers, and the settings that all of them share."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

# The authors' learning rates, and Adam's defaults. A step costs the same at any of them.
LEARNING_RATES = {"model": 1e-3, "generator": 1e-3, "discriminator": 5e-4}
BETAS = (0.9, 0.999)
EPS = 1e-8


class Unavailable(Exception):
    """This way cannot run here; the message says why."""


class TrainingStep(Protocol):
    """One way to run a training step of one case, from the case's weights and images."""

    def gradients(self, eps: Tensor) -> tuple[float, dict[str, Tensor]]:
        """Loss and every parameter's gradient at the given noise, without dropout.

        Names and layouts are the torch model's. Called before the first training step.
        """

    def __call__(self) -> None:
        """One full training step: noise, forward, loss, backward, Adam; returns when done."""
