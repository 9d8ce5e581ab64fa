"""The gate before the clock: no time is taken of a step or an operator that gives wrong numbers.

The truth is the reference in float64 on the same weights, images and noise. An error is the
largest difference of any number of a tensor, in units of that tensor's largest number in the
truth; the loss counts like a tensor. A way that may round to bfloat16 is allowed twice the error
that the reference itself has under ``torch.autocast``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import drawgan_fast
from benchmarks.cases import TrainCase, build, images, noise
from benchmarks.variants.base import TrainingStep
from benchmarks.variants.torch_step import TorchStep


class WrongNumbers(AssertionError):
    """A variant's loss or gradients are too far from the truth to be worth timing."""


@dataclass(frozen=True)
class Verdict:
    """What the gate saw."""

    loss: float
    gradient: float  # the worst tensor's error
    worst: str  # that tensor's name
    tolerance: float

    def to_json(self) -> dict[str, object]:
        """Fields, JSON-able."""
        return dict(vars(self))


@dataclass(frozen=True)
class Truth:
    """What a case's numbers are, and how near plain PyTorch in bfloat16 comes to them."""

    loss: Tensor  # [] float64
    gradients: dict[str, Tensor]  # float64, by the parameters' names
    bfloat16: float  # worst error of the reference under torch.autocast


def truth(case: TrainCase, folder: Path | None = None, device: str = "cpu") -> Truth:
    """Loss and gradients of a case in float64, on the CPU whatever device they were computed on.

    Kept in ``folder`` if there is one.
    """
    path = None if folder is None else folder / f"{case.sizes}.pt"
    if path is not None and path.exists():
        return Truth(**torch.load(path, weights_only=True))
    single = build(case)
    model = type(single)(**single.config()).double().to(device)
    model.load_state_dict(single.state_dict())
    model.eval()  # no dropout
    eps = noise(case, single)
    with drawgan_fast.use_backend("reference"):
        x = images(case).double().to(device)
        loss = model.accumulate_gradients(x, eps.double().to(device))["loss"]
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).cpu()
        for name, p in model.named_parameters()
    }
    _, rounded = TorchStep(case, "reference", bfloat16=True, device=device).gradients(eps)
    worst = max(error(rounded[name], gradients[name]) for name in gradients)
    found = Truth(loss.double().cpu(), gradients, worst)
    if path is not None:
        torch.save(vars(found), path)
    return found


def check_step(
    step: TrainingStep, case: TrainCase, tolerance: float | None, expected: Truth
) -> Verdict:
    """Hold a fresh step to the truth.

    Args:
        step: that has not trained yet.
        case: what it trains.
        tolerance: the largest error allowed; None allows twice that of plain PyTorch in bfloat16.
        expected: the case's truth.

    Raises:
        WrongNumbers: an error is above ``tolerance``, or a number is not finite.
    """
    loss, gradients = step.gradients(noise(case, build(case)))
    if gradients.keys() != expected.gradients.keys():
        raise WrongNumbers(
            f"gradients of {sorted(gradients)}, expected {sorted(expected.gradients)}"
        )
    if tolerance is None:
        tolerance = 2 * expected.bfloat16
    errors = {name: error(gradients[name], expected.gradients[name]) for name in gradients}
    worst = max(errors, key=lambda name: errors[name])
    verdict = Verdict(
        error(torch.tensor(loss, dtype=torch.float64), expected.loss),
        errors[worst],
        worst,
        tolerance,
    )
    if not max(verdict.loss, verdict.gradient) <= tolerance:
        raise WrongNumbers(f"{case.key}: {verdict}")
    return verdict


def error(ours: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest magnitude expected; infinite for what is not finite.

    >>> error(torch.tensor([1.0, 2.2]), torch.tensor([1.0, 2.0]).double()) < 0.11
    True
    >>> error(torch.tensor([float("nan")]), torch.ones(1).double())
    inf
    """
    if ours.shape != expected.shape or not bool(torch.isfinite(ours).all()):
        return float("inf")
    if not expected.numel():
        return 0.0
    scale = float(expected.abs().max()) or 1.0
    return float((ours.double() - expected).abs().max()) / scale
