"""The proof: an accelerated model against the original, outputs and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.probing import converted, exposed, flatten, remember, untouched
from drawgan_fast.compat.report import Agreement, NotAccelerated

# Float64 leaves only the order of sums; what a convention's smallest constant does is larger.
LIMIT_FLOAT64 = 1e-9
LIMIT = 1e-5
# In the model's own dtype two right answers differ by what a rounding of its parameters does.
ROUNDINGS = 8.0


@dataclass(frozen=True)
class Behaviour:
    """What a forward pass gives and leaves in the model, and its gradients."""

    outputs: dict[str, Any]
    gradients: dict[str, Tensor | None]


def behaviour(
    model: nn.Module,
    args: tuple[Any, ...],
    dtype: torch.dtype,
    *,
    seed: int = 0,
    training: bool | None = None,
    rounded: int | None = None,
) -> Behaviour:
    """Run a model on copies of its numbers, and differentiate along fixed random cotangents.

    Args:
        model: left as it was.
        args: of forward; floats are converted.
        dtype: to run in.
        seed: of the noise that the model draws.
        training: mode to run in; None: the model's own.
        rounded: seed with which every parameter is moved by one rounding first; None: not.
    """
    with untouched(model, dtype) as parameters:
        if training is not None:
            model.train(training)
        given = [converted(arg, dtype) for arg in args]
        if rounded is not None:
            generator = torch.Generator().manual_seed(rounded)
            with torch.no_grad():
                for parameter in parameters.values():
                    sign = torch.rand(parameter.shape, generator=generator).sub(0.5).sign()
                    parameter.mul_(1 + torch.finfo(dtype).eps * sign.to(parameter))
        before = remember(model)
        torch.manual_seed(seed)
        returned = model(*given)
        outputs = flatten(returned, "result") | flatten(exposed(model, before), "model")
        generator = torch.Generator().manual_seed(2)
        total: Tensor | None = None
        for value in outputs.values():
            if isinstance(value, Tensor) and value.requires_grad:
                cotangent = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                part = (value * (cotangent / max(value.numel(), 1) ** 0.5).to(value)).sum()
                total = part if total is None else total + part
        wanted: dict[str, Tensor] = dict(parameters)
        wanted |= {
            f"argument {i}": arg
            for i, arg in enumerate(given)
            if isinstance(arg, Tensor) and arg.requires_grad
        }
        gradients: dict[str, Tensor | None] = dict.fromkeys(wanted)
        if total is not None:
            found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
            gradients = dict(zip(wanted, found))
        return Behaviour(
            {k: v.detach() if isinstance(v, Tensor) else v for k, v in outputs.items()}, gradients
        )


def difference(ours: Behaviour, theirs: Behaviour) -> dict[str, tuple[float, str]]:
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
            error = _difference(mine.get(name), other.get(name), 1e-9 * largest)
            if error >= worst:
                worst, where = error, name
        found[kind] = (worst, where)
    return found


def _difference(mine: Any, other: Any, floor: float) -> float:
    tensors = isinstance(mine, Tensor), isinstance(other, Tensor)
    if all(tensors):
        if mine.shape != other.shape or mine.dtype != other.dtype:
            return float("inf")
        norm = other.double().norm().item()
        off = (mine.double() - other.double()).norm().item()
        return 0.0 if off == 0 else off / (norm + floor) if norm + floor > 0 else float("inf")
    if any(tensors):
        # No gradient at all and a gradient of zeros teach an optimizer the same.
        value = mine if tensors[0] else other
        absent = other if tensors[0] else mine
        return 0.0 if absent is None and not value.any() else float("inf")
    return 0.0 if mine == other or type(mine) is type(other) else float("inf")


def compare(
    theirs: Behaviour, ours: Behaviour, what: str, limits: dict[str, float]
) -> list[Agreement]:
    """Hold one behaviour against another.

    Raises:
        NotAccelerated: they differ by more than the limit, and where.
    """
    found = []
    for kind, (error, where) in difference(ours, theirs).items():
        if not error <= limits[kind]:
            raise NotAccelerated(
                f"nothing was changed: on a probe batch the {what} {kind} of the accelerated model "
                f"differ from the original's by {error:.1e} of {where!r}, where "
                f"{limits[kind]:.1e} is allowed"
            )
        found.append(Agreement(f"{what} {kind}", error, limits[kind], where))
    return found


def limits_of(model: nn.Module, args: tuple[Any, ...], dtype: torch.dtype) -> dict[str, float]:
    """What is allowed in the model's own dtype: 1e-5, or what a rounding of its parameters does."""
    if dtype == torch.float64:
        return dict.fromkeys(("outputs", "gradients"), LIMIT_FLOAT64)
    plain = behaviour(model, args, dtype)
    moved = [difference(behaviour(model, args, dtype, rounded=seed), plain) for seed in range(3)]
    least = LIMIT * torch.finfo(dtype).eps / torch.finfo(torch.float32).eps
    return {
        kind: max(least, ROUNDINGS * max(one[kind][0] for one in moved))
        for kind in ("outputs", "gradients")
    }
