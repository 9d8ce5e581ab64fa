"""The ways to run a training step, by name. Every one is the same function of the same weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cases import TrainCase
from benchmarks.variants.base import TrainingStep, Unavailable

__all__ = ["VARIANTS", "TrainingStep", "Unavailable", "Variant", "make"]


@dataclass(frozen=True)
class Variant:
    """One way: how it is built, what a table calls it, how near to the truth it has to be."""

    title: str
    make: Callable[[TrainCase], TrainingStep]
    tolerance: float | None  # of the gate; None: twice what plain torch in bfloat16 errs


def _torch(**options: object) -> Callable[[TrainCase], TrainingStep]:
    def build(case: TrainCase) -> TrainingStep:
        from benchmarks.variants.torch_step import TorchStep

        return TorchStep(case, **options)  # type: ignore[arg-type]

    return build


def _jax(case: TrainCase) -> TrainingStep:
    if importlib.util.find_spec("jax") is None:
        raise Unavailable("jax is not installed: pip install 'drawgan-fast[bench]'")
    from benchmarks.variants.jax_step import JaxStep

    return JaxStep(case)


SINGLE = 1e-4  # float32 throughout
REDUCED = None  # products in bfloat16, or allowed to be

VARIANTS: dict[str, Variant] = {
    "eager": Variant("PyTorch eager", _torch(), SINGLE),
    "compile-step": Variant("torch.compile, whole step", _torch(compile="step"), SINGLE),
    "compile-cell": Variant("torch.compile, time step", _torch(compile="cell"), SINGLE),
    "compile-step-medium": Variant(
        "torch.compile, whole step, precision medium",
        _torch(compile="step", precision="medium"),
        REDUCED,
    ),
    "compile-cell-medium": Variant(
        "torch.compile, time step, precision medium",
        _torch(compile="cell", precision="medium"),
        REDUCED,
    ),
    "jax": Variant("JAX (XLA), lax.scan", _jax, SINGLE),
    "ours": Variant("ours", _torch(backend="native"), SINGLE),
    "ours-bf16": Variant(
        "ours, autocast bfloat16", _torch(backend="native", bfloat16=True), REDUCED
    ),
    "ours-recompute": Variant(
        "ours, memory recomputed", _torch(backend="native", memory="recompute"), SINGLE
    ),
}


def make(name: str, case: TrainCase) -> TrainingStep:
    """Build a variant's step.

    Raises:
        Unavailable: it cannot run here; the message says why.
    """
    return VARIANTS[name].make(case)
