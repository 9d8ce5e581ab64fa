"""The ways to run a training step on a device, by name, each in three precisions."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import TrainCase
from benchmarks.gpu import graphs, tiers
from benchmarks.gpu.graphs import Graphed
from benchmarks.variants.base import TrainingStep, Unavailable
from benchmarks.variants.torch_step import TorchStep

PRECISIONS = ("fp32", "tf32", "bf16")
TITLES = {
    "eager": "PyTorch eager",
    "compile": "torch.compile, time step",
    "compile-overhead": "torch.compile, time step, reduce-overhead",
    "jax": "JAX (XLA), lax.scan",
    **tiers.TITLES,
}
# What a process must have in its environment before it starts.
JAX_PRECISION = {"fp32": "highest", "tf32": "tensorfloat32"}


class GraphedStep:
    """A whole training step as one CUDA graph: noise, forward, loss, backward, Adam.

    Args:
        step: whose optimizers are capturable, and which has not trained yet.
        device: where it lives.

    Raises:
        Unavailable: the device knows no CUDA graphs.
    """

    def __init__(self, step: TorchStep, device: str) -> None:
        graphs.check(device)
        self.step, self.device = step, device
        self.graph: Graphed | None = None

    def gradients(self, eps: Tensor) -> tuple[float, dict[str, Tensor]]:
        """See :class:`~benchmarks.variants.base.TrainingStep`: what a replay gives."""
        model, given = self.step.model, eps.to(self.device)
        names = dict(model.named_parameters())

        def call() -> tuple[Tensor, list[Tensor | None]]:
            model.zero_grad(set_to_none=True)
            loss = self.step.accumulate(given)
            return loss, [p.grad for p in names.values()]

        if self.step.case.model == "draw-gan":
            model.eval()  # only its discriminator knows the difference
        graph = Graphed(call, self.device)
        for gradient in graph.result[1]:
            if gradient is not None:
                gradient.fill_(float("nan"))  # shows where a replay does not write
        loss, gradients = graph()
        found = {
            name: (torch.zeros_like(p) if g is None else g).cpu()
            for (name, p), g in zip(names.items(), gradients)
        }
        model.train()
        model.zero_grad(set_to_none=True)
        return float(loss), found

    def __call__(self) -> None:
        """One replay; captured at the first."""
        if self.graph is None:
            self.graph = Graphed(self.step, self.device)
        self.graph()


class MarkedStep:
    """A compiled step that says where an iteration begins, as ``reduce-overhead`` wants to know."""

    def __init__(self, step: TorchStep) -> None:
        self.step = step

    def gradients(self, eps: Tensor) -> tuple[float, dict[str, Tensor]]:
        """See :class:`~benchmarks.variants.base.TrainingStep`."""
        torch.compiler.cudagraph_mark_step_begin()
        return self.step.gradients(eps)

    def __call__(self) -> None:
        """One step."""
        torch.compiler.cudagraph_mark_step_begin()
        self.step()


def variables(label: str, precision: str, device: str) -> tuple[tuple[str, str], ...]:
    """What the variant's process has in its environment."""
    if label != "jax":
        return (("TORCHINDUCTOR_COMPILE_THREADS", "4"),)
    platform = "cpu" if device == "cpu" else "cuda,cpu"
    return (
        ("JAX_PLATFORMS", platform),
        ("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
        ("JAX_DEFAULT_MATMUL_PRECISION", JAX_PRECISION.get(precision, "highest")),
    )


def make(
    label: str, case: TrainCase, precision: str, device: str, ours: str | None = None
) -> TrainingStep:
    """Build a variant's step.

    Raises:
        Unavailable: it cannot run here; the message says why.
    """
    if label == "jax":
        return _jax(case, precision, device)
    options: dict[str, Any] = {
        "device": device,
        "bfloat16": precision == "bf16",
        "precision": "high" if precision == "tf32" else "highest",
    }
    if label == "eager":
        return TorchStep(case, **options)
    if label == "compile":
        return TorchStep(case, compile="cell", **options)
    if label == "compile-overhead":
        return MarkedStep(TorchStep(case, compile="cell", mode="reduce-overhead", **options))
    if tiers.tier_of(label) is not None:
        backend = tiers.backend_of(label, ours)
        if not tiers.is_graphed(label):
            return TorchStep(case, backend, **options)
        step = TorchStep(case, backend, capturable=device != "cpu", **options)
        return GraphedStep(step, device)
    raise ValueError(f"no variant is called {label!r}")


def _jax(case: TrainCase, precision: str, device: str) -> TrainingStep:
    if precision == "bf16":
        raise Unavailable("left out: the JAX step is written in float32 alone")
    if importlib.util.find_spec("jax") is None:
        raise Unavailable("jax is not installed")
    import jax

    try:
        platform = jax.devices()[0].platform
    except RuntimeError as error:  # its plug-in is missing, or finds no GPU
        raise Unavailable(f"jax finds no device: {str(error).splitlines()[0]}") from error
    if device != "cpu" and platform != "gpu":
        raise Unavailable(f"jax runs on the {platform} here, not on a GPU")
    from benchmarks.variants.jax_step import JaxStep

    return JaxStep(case)
