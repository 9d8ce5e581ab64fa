"""What a model's forward gives and leaves behind, as a recipe over what a scan computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.compat.probing import distribution_arguments

_SAME = 1e-9


class Quantities:
    """What one scan has computed, by name; [T, B, …] each, derived ones on demand."""

    def __init__(
        self,
        mu: Tensor,  # [T, B, Z]
        log_sigma: Tensor,  # [T, B, Z]
        canvas: Tensor,  # [B, C, H, W] the last
        earlier: Tensor | None,  # [T − 1, B, C, H, W] the canvases before it
        batch: int,
        attributes: dict[str, Any] | None = None,  # the model's, before
    ) -> None:
        self.attributes = attributes or {}
        self.mu, self.log_sigma, self.last, self.earlier = mu, log_sigma, canvas, earlier
        self.batch = batch
        self._whole = {"mu": mu, "log_sigma": log_sigma}
        self._steps: dict[str, tuple[Tensor, ...]] = {}
        self._reshaped: dict[Step, Tensor] = {}

    def whole(self, name: str) -> Tensor:
        """A quantity at every step; computed once (a ``cached_property`` has a lock in Python
        3.11, which no compiler traces)."""
        if name not in self._whole:
            self._whole[name] = self._computed(name)
        return self._whole[name]

    def _computed(self, name: str) -> Tensor:
        if name == "sigma":
            return self.log_sigma.exp()
        if name == "log_var":
            return 2 * self.log_sigma
        if name == "var":
            return (2 * self.log_sigma).exp()
        assert self.earlier is not None
        if name == "canvases":
            return torch.cat([self.earlier, self.last[None]])
        return torch.sigmoid(self.whole("canvases"))

    def at(self, name: str, step: int) -> Tensor:
        """A quantity at one step."""
        if name == "pixels":
            return torch.sigmoid(self.at("canvases", step))
        if name == "canvases":
            if step == self.mu.shape[0] - 1:
                return self.last
            assert self.earlier is not None
            return self._unbound(name, self.earlier)[step]
        return self._unbound(name, self.whole(name))[step]

    def reshaped(self, step: Step, value: Tensor) -> Tensor:
        """One tensor for one step and shape, wherever the original has the same object."""
        if step not in self._reshaped:
            self._reshaped[step] = value.reshape(-1, *step.shape)
        return self._reshaped[step]

    def _unbound(self, name: str, steps: Tensor) -> tuple[Tensor, ...]:
        if name not in self._steps:
            self._steps[name] = steps.unbind(0)
        return self._steps[name]


NAMES = ("mu", "log_sigma", "sigma", "log_var", "var", "canvases", "pixels")


@dataclass(frozen=True)
class Step:
    """One step of a quantity, reshaped."""

    name: str
    step: int
    shape: tuple[int, ...]  # without the batch

    def build(self, q: Quantities) -> Tensor:
        """Out of a scan's results."""
        value = q.at(self.name, self.step)
        return value if value.shape[1:] == self.shape else q.reshaped(self, value)


@dataclass(frozen=True)
class Steps:
    """All steps of a quantity in one tensor, its three dimensions in some order."""

    name: str
    order: tuple[int, ...]  # of (T, B, numbers)

    def build(self, q: Quantities) -> Tensor:
        """Out of a scan's results."""
        return q.whole(self.name).flatten(2).permute(self.order)


@dataclass(frozen=True)
class Batch:
    """The number of images."""

    def build(self, q: Quantities) -> int:
        """Out of a scan's results."""
        return q.batch


@dataclass(frozen=True)
class Count:
    """An attribute that every forward pass raises by the same number."""

    name: str
    by: int

    def build(self, q: Quantities) -> int:
        """One more."""
        return q.attributes[self.name] + self.by


@dataclass(frozen=True)
class Constant:
    """Something that does not depend on what came in."""

    value: Any

    def build(self, q: Quantities) -> Any:
        """As it is."""
        return self.value


@dataclass(frozen=True)
class Sequence:
    """A list or a tuple."""

    kind: type
    items: tuple[Any, ...]

    def build(self, q: Quantities) -> Any:
        """Its parts, built."""
        parts = [item.build(q) for item in self.items]
        return self.kind(*parts) if hasattr(self.kind, "_fields") else self.kind(parts)


@dataclass(frozen=True)
class Mapping:
    """A dictionary, or a distribution's arguments."""

    kind: type
    items: tuple[tuple[Any, Any], ...]

    def build(self, q: Quantities) -> Any:
        """Its parts, built."""
        built = {name: item.build(q) for name, item in self.items}
        return built if self.kind is dict else self.kind(**built)


class Unknown(Exception):
    """Something that no scan computes; the message says what and where."""


def recipe(value: Any, q: Quantities, where: str, varying: Callable[[str], bool]) -> Any:
    """How to build ``value`` out of a scan's results.

    Args:
        value: what a forward pass gave or left.
        q: what the scan of the same pass computed.
        where: it stands.
        varying: whether what stands somewhere was different in other passes.

    Raises:
        Unknown: a tensor in it is nothing that a scan computes, or a number that forward makes.
    """
    if isinstance(value, Tensor):
        return _tensor(value, q, where)
    if type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        parts = [recipe(item, q, f"{where}[{i}]", varying) for i, item in enumerate(value)]
        return Sequence(type(value), tuple(parts))
    if type(value) is dict:
        return Mapping(
            dict, tuple((k, recipe(v, q, f"{where}[{k!r}]", varying)) for k, v in value.items())
        )
    if isinstance(value, torch.distributions.Distribution):
        given = distribution_arguments(value)
        return Mapping(
            type(value), tuple((k, recipe(v, q, f"{where}.{k}", varying)) for k, v in given.items())
        )
    if type(value) is int and value == q.batch and varying(where):
        return Batch()
    if value is None or isinstance(value, (int, float, str, bool)):
        if varying(where):
            raise Unknown(f"{where} is a number that forward makes ({value!r} in the probe)")
        return Constant(value)
    raise Unknown(f"{where} is a {type(value).__name__}")


def needs_canvases(part: Any, T: int) -> bool:
    """Whether a recipe looks at a canvas before the last."""
    if isinstance(part, Step):
        return part.name in ("canvases", "pixels") and part.step < T - 1
    if isinstance(part, Steps):
        return part.name in ("canvases", "pixels")
    if isinstance(part, Sequence):
        return any(needs_canvases(item, T) for item in part.items)
    if isinstance(part, Mapping):
        return any(needs_canvases(item, T) for _, item in part.items)
    return False


def _tensor(value: Tensor, q: Quantities, where: str) -> Any:
    T, B = q.mu.shape[:2]
    for name in NAMES:
        # The last step first: the last canvas costs nothing.
        for step in reversed(range(T)):
            mine = q.at(name, step)
            if (
                value.shape[:1] == (B,)
                and value.numel() == mine.numel()
                and _same(value, mine.reshape(value.shape))
            ):
                return Step(name, step, tuple(value.shape[1:]))
        whole = q.whole(name).flatten(2)
        if value.dim() == 3 and value.numel() == whole.numel():
            for order in itertools.permutations(range(3)):
                mine = whole.permute(order)
                if mine.shape == value.shape and _same(value, mine):
                    return Steps(name, order)
    raise Unknown(f"{where} {list(value.shape)} is nothing that a scan computes")


def _same(value: Tensor, other: Tensor) -> bool:
    return bool((value - other).norm() <= _SAME * value.norm())
