"""The proof: an accelerated model against the original, outputs and gradients."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast.compat.contents import MISSING, Path, is_plain, same, written
from drawgan_fast.compat.probing import (
    converted,
    exposed,
    flatten,
    generator_states,
    remember,
    untouched,
)
from drawgan_fast.compat.report import Agreement, NotAccelerated
from drawgan_fast.compat.surroundings import Surroundings

# Float64 leaves only the order of sums; what a convention's smallest constant does is larger.
LIMIT_FLOAT64 = 1e-9
LIMIT = 1e-5
# In the model's own dtype two right answers differ by what a rounding of its parameters does.
ROUNDINGS = 8.0
# By how much parameters are larger in a probe that moves them.
MOVED = 2.0


@dataclass(frozen=True)
class Probe:
    """A way to run a model, the same for the original and for what stands in its place.

    Attributes:
        what: as a sentence calls it.
        args: of forward; floats are converted.
        dtype: to run in.
        seed: of the noise that the model draws.
        training: mode to put it into first; None: as it is.
        moved: seed with which all its parameters are moved and scaled first; None: not.
        rounded: seed with which every parameter is moved by one rounding first; None: not.
        calls: passes, of which the last is looked at.
        gradients: whether they are recorded.
    """

    what: str
    args: tuple[Any, ...]
    dtype: torch.dtype
    seed: int = 0
    training: bool | None = None
    moved: int | None = None
    rounded: int | None = None
    calls: int = 1
    gradients: bool = True


@dataclass(frozen=True)
class Behaviour:
    """What a forward pass gives and leaves in the model, and its gradients."""

    outputs: dict[str, Any]
    gradients: dict[str, Tensor | None]
    changed: frozenset[Path] = frozenset()  # attributes
    calls: int = 1

    def is_finite(self) -> bool:
        """Whether all its numbers are."""
        values = [*self.outputs.values(), *self.gradients.values()]
        return all(bool(v.isfinite().all()) for v in values if isinstance(v, Tensor))


def behaviour(model: nn.Module, probe: Probe) -> Behaviour:
    """Run a model on copies of its numbers, and differentiate along fixed random cotangents.

    The model is left as it was.
    """
    with untouched(model, probe.dtype) as parameters:
        if probe.training is not None:
            model.train(probe.training)
        given = [converted(arg, probe.dtype) for arg in probe.args]
        _move(parameters, probe)
        before, around = remember(model), Surroundings(model)
        said = around.said()
        torch.manual_seed(probe.seed)
        random.seed(probe.seed)
        np.random.mtrand._rand.seed(probe.seed)
        for _ in range(probe.calls):
            with torch.set_grad_enabled(probe.gradients):
                returned = model(*given)
        left = exposed(model, before)
        outputs = flatten(returned, "result")
        for path, value in left.items():
            outputs |= flatten(value, f"model{written(path)}")
        outputs |= {k: v for k, v in around.said().items() if said.get(k, MISSING) != v}
        outputs |= {f"the state of {name}": state for name, state in generator_states().items()}
        generator = torch.Generator("cpu").manual_seed(2)
        total: Tensor | None = None
        for value in outputs.values():
            if isinstance(value, Tensor) and value.requires_grad:
                cotangent = torch.randn(
                    value.shape, generator=generator, dtype=torch.float64, device="cpu"
                )
                part = (value * (cotangent / max(value.numel(), 1) ** 0.5).to(value)).sum()
                total = part if total is None else total + part
        wanted: dict[str, Tensor] = {k: p for k, p in parameters.items() if p.requires_grad}
        wanted |= {
            f"argument {name}": arg
            for i, one in enumerate(given)
            for name, arg in flatten(one, str(i)).items()
            if isinstance(arg, Tensor) and arg.requires_grad
        }
        gradients: dict[str, Tensor | None] = dict.fromkeys(wanted)
        if total is not None:
            found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
            gradients = dict(zip(wanted, found))
        return Behaviour(
            {k: v.detach() if isinstance(v, Tensor) else v for k, v in outputs.items()},
            gradients,
            frozenset(left),
            probe.calls,
        )


def _move(parameters: dict[str, nn.Parameter], probe: Probe) -> None:
    floats = [p for p in parameters.values() if p.is_floating_point()]
    with torch.no_grad():
        if probe.moved is not None:
            for parameter, noise in zip(floats, _noise(floats, probe.moved)):
                # Whatever starts at zero does not stay there.
                parameter.add_(noise, alpha=0.05).mul_(MOVED)
        if probe.rounded is not None:
            for parameter, noise in zip(floats, _noise(floats, probe.rounded)):
                parameter.mul_(1 + torch.finfo(probe.dtype).eps * noise.sign())


def _noise(parameters: list[nn.Parameter], seed: int) -> Iterator[Tensor]:
    generator = torch.Generator("cpu").manual_seed(seed)
    for p in parameters:
        yield torch.randn(p.shape, generator=generator, device="cpu", dtype=torch.float64).to(p)


def differing(ours: Behaviour, theirs: Behaviour) -> frozenset[str]:
    """What two passes that should be the same disagree in: nothing about it can be compared."""
    return frozenset(
        name
        for name in {*ours.outputs, *theirs.outputs}
        if not _difference(ours.outputs.get(name), theirs.outputs.get(name), 0.0) <= 1e-12
    )


def difference(
    ours: Behaviour, theirs: Behaviour, without: frozenset[str] = frozenset()
) -> dict[str, tuple[float, str]]:
    """Largest relative difference of the outputs and of the gradients, and where it stands."""
    found = {}
    for kind, mine, other in (
        ("outputs", ours.outputs, theirs.outputs),
        ("gradients", ours.gradients, theirs.gradients),
    ):
        largest = max(
            (v.double().norm().item() for v in other.values() if isinstance(v, Tensor)), default=0.0
        )
        worst, where = 0.0, "nothing to compare"
        for name in dict.fromkeys([*other, *mine]):
            if name in without:
                continue
            error = _difference(mine.get(name, MISSING), other.get(name, MISSING), 1e-9 * largest)
            if not error < worst:  # NaN is the worst of all
                worst, where = error, name
        found[kind] = (worst, where)
    return found


def _difference(mine: Any, other: Any, floor: float) -> float:
    tensors = isinstance(mine, Tensor), isinstance(other, Tensor)
    if all(tensors):
        return _distance(mine, other, floor)
    if any(tensors):
        # No gradient at all and a gradient of zeros teach an optimizer the same.
        value = mine if tensors[0] else other
        absent = other if tensors[0] else mine
        return 0.0 if absent is None and not value.any() else math.inf
    if isinstance(mine, float) and isinstance(other, float):
        if mine == other or (mine != mine and other != other):
            return 0.0
        return abs(mine - other) / (abs(other) + floor + 1e-300)
    if is_plain(mine) or is_plain(other):
        return 0.0 if same(mine, other) else math.inf
    return 0.0 if type(mine) is type(other) else math.inf


def _distance(mine: Tensor, other: Tensor, floor: float) -> float:
    if mine.shape != other.shape or mine.dtype != other.dtype:
        return math.inf
    a, b = mine.detach().double(), other.detach().double()
    equal = (a == b) | (a.isnan() & b.isnan())
    off = torch.where(equal, 0.0, a - b).norm().item()
    norm = torch.where(b.isfinite(), b, 0.0).norm().item()
    return 0.0 if off == 0 else off / (norm + floor) if norm + floor > 0 else math.inf


def compare(
    theirs: Behaviour,
    ours: Behaviour,
    what: str,
    limits: dict[str, float],
    without: frozenset[str] = frozenset(),
) -> list[Agreement]:
    """Hold one behaviour against another.

    Raises:
        NotAccelerated: they differ by more than the limit, and where.
    """
    found = []
    for kind, (error, where) in difference(ours, theirs, without).items():
        if not error <= limits[kind]:
            mine, other = (getattr(one, kind).get(where, MISSING) for one in (ours, theirs))
            raise NotAccelerated(
                f"nothing was changed: on a probe batch the {what} {kind} of the accelerated model "
                f"differ from the original's {_by(error, mine, other)} in {where!r}, where "
                f"{limits[kind]:.1e} is allowed"
            )
        found.append(Agreement(f"{what} {kind}", error, limits[kind], where))
    return found


def _by(error: float, mine: Any, other: Any) -> str:
    """How much two values differ, or how, where no number says it."""
    if math.isfinite(error):
        return f"by {error:.1e}"

    def said(value: Any) -> str:
        if isinstance(value, Tensor):
            kind = str(value.dtype).removeprefix("torch.")
            finite = "" if value.isfinite().all() else ", not all finite"
            return f"a tensor {list(value.shape)} of {kind}{finite}"
        return repr(value) if is_plain(value) or value is MISSING else f"a {type(value).__name__}"

    return f"({said(mine)}, not {said(other)})"


def limits_of(model: nn.Module, probe: Probe, plain: Behaviour) -> dict[str, float]:
    """What is allowed: a fixed limit, or what a rounding of the parameters does, if it is more."""
    moved = [difference(behaviour(model, replace(probe, rounded=seed)), plain) for seed in (1, 2)]
    least = LIMIT * torch.finfo(probe.dtype).eps / torch.finfo(torch.float32).eps
    if probe.dtype == torch.float64:
        least = LIMIT_FLOAT64
    return {
        kind: max(least, ROUNDINGS * max(one[kind][0] for one in moved))
        for kind in ("outputs", "gradients")
    }
