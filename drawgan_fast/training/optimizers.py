"""One fused Adam per player, its gradient norm and named state; and averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.training.config import OptimizerSection


def fused_available(parameters: list[Tensor]) -> str | None:
    """Why torch's fused Adam cannot take these parameters; ``None`` if it can.

    >>> fused_available([torch.zeros(1)]) is None
    True
    """
    for parameter in parameters:
        if parameter.device.type not in ("cpu", "cuda", "xpu", "mps"):
            return f"torch has no fused Adam on {parameter.device.type}"
        if not parameter.is_floating_point():
            return f"torch has no fused Adam for {parameter.dtype}"
    return None


class PlayerOptimizer:
    """A player's trainable parameters and the Adam that moves them.

    Args:
        name: the player.
        module: what it owns.
        section: learning rates and so on.

    Raises:
        UsageError: ``optimizer.fused = true`` where it cannot be.
    """

    def __init__(self, name: str, module: nn.Module, section: OptimizerSection) -> None:
        self.name = name
        self.named = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self.parameters: list[Tensor] = list(self.named.values())
        reason = fused_available(self.parameters)
        if section.fused is True and reason:
            raise UsageError(f"optimizer.fused = true cannot be had: {reason}; use 'auto'")
        #: Why the optimizer is not fused, for people; None when it is.
        self.not_fused = "optimizer.fused = false" if section.fused is False else reason
        adam = section.adam(name)
        self.clip = section.gradient_clip
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=adam.learning_rate,
            betas=adam.betas,
            eps=adam.eps,
            fused=self.not_fused is None,
        )

    def gradients(self) -> list[Tensor]:
        """Gradients of the parameters that took part in this step."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def gradient_norm(self) -> Tensor:
        """Euclidean norm of all gradients together, before clipping: a scalar on the device."""
        return nn.utils.get_total_norm(self.gradients())

    def step(self, norm: Tensor) -> None:
        """Clip by the norm just measured, and step."""
        if self.clip > 0:
            nn.utils.clip_grads_with_norm_(self.parameters, self.clip, norm)
        self.optimizer.step()

    def gate(self, bad: Tensor | None) -> None:
        """From now on steps do nothing while ``bad``, a scalar on the device, is not 0.

        A recorded step cannot ask the host whether its numbers are finite.
        """
        if self.not_fused is not None:
            raise ValueError(f"only a fused Adam can be gated, and this is not: {self.not_fused}")
        self.optimizer.found_inf = bad  # type: ignore[attr-defined]
        for group in self.optimizer.param_groups:
            group["capturable"] = bad is not None and bad.is_cuda

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state, named ``<state>/<parameter>``."""
        out = {}
        for name, parameter in self.named.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    out[f"{key}/{name}"] = value
        return out

    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what :meth:`tensors` gave.

        Raises:
            DrawganError: a state of a parameter that is not there, or of another shape.
        """
        for full, value in tensors.items():
            key, _, name = full.partition("/")
            parameter = self.named.get(name)
            if parameter is None or (key != "step" and value.shape != parameter.shape):
                raise DrawganError(
                    f"checkpoint {str(path)!r} holds optimizer state {full!r} of shape "
                    f"{list(value.shape)} that fits no parameter of player {self.name!r}; use the "
                    "run's own configuration"
                )
            # Fused Adam keeps its step count beside the parameters, the others on the CPU.
            device = parameter.device if key != "step" or self.not_fused is None else "cpu"
            self.optimizer.state[parameter][key] = value.to(device, copy=True)


def make_optimizers(
    players: Mapping[str, nn.Module], section: OptimizerSection
) -> list[PlayerOptimizer]:
    """An optimizer for every player, in the model's order."""
    return [PlayerOptimizer(name, module, section) for name, module in players.items()]


class AveragedWeights:
    """Exponential moving average of the sampling player's weights (Polyak & Juditsky 1992).

    ``average <- d * average + (1 - d) * weight`` with ``d = min(decay, (1 + n) / (10 + n))`` after
    n updates, so that a short run's average is not its random start. Discriminators, which no
    sample passes through, are not averaged.

    Args:
        model: the whole model.
        player: the player whose parameters are averaged.
        decay: in (0, 1).
    """

    def __init__(self, model: nn.Module, player: nn.Module, decay: float) -> None:
        self.decay = decay
        own = {id(parameter) for parameter in player.parameters()}
        self.named = {k: p for k, p in model.named_parameters() if id(p) in own}
        self.weights: list[Tensor] = [p.detach() for p in self.named.values()]
        self.averages = [weight.clone() for weight in self.weights]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after step number ``step`` (0, 1, ...) into the average."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averages, self.weights, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """The averages under the model's own parameter names."""
        return dict(zip(self.named, self.averages))

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what :meth:`tensors` gave."""
        for name, average in self.tensors().items():
            value = tensors.get(name)
            if value is None or value.shape != average.shape:
                raise DrawganError(
                    f"checkpoint {str(path)!r} has no fitting averaged weight {name!r}; use the "
                    "run's own configuration"
                )
            average.copy_(value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights inside the block, with its own after it."""
        own = [weight.clone() for weight in self.weights]
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.averages)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, own)
