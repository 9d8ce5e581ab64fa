"""One training step: gradients, what is looked at, the optimizers; eager or as a CUDA graph.

A step is thousands of launches, and on a GPU most of its time is the host's. A CUDA graph records
them once and launches them together. It is used only after it has given what an eager step gave.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from drawgan_fast.training.optimizers import PlayerOptimizer

if TYPE_CHECKING:
    from drawgan_fast.models import GenerativeModel

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Records what a function launches, without running it; returns what runs it."""

WARM_UP = 3  # eager steps before recording: libraries and optimizers set themselves up in them
AGREEMENT = 1e-3  # relative, of a recorded step's numbers with an eager step's

_log = logging.getLogger("drawgan_fast.training")


class TrainingStep:
    """Runs steps, the first ones eagerly; then as one graph if there is a way to record one.

    Args:
        model: on its device.
        optimizers: of all players.
        record: how a step is recorded; None: every step is eager. See :func:`cuda_graph`.

    Attributes:
        recorded: whether steps of the recorded batch size run as a graph.
        not_recorded: why they do not, where recording was tried and given up.
    """

    def __init__(
        self,
        model: GenerativeModel,
        optimizers: Sequence[PlayerOptimizer],
        record: Record | None = None,
    ) -> None:
        self.model, self.optimizers, self.record = model, optimizers, record
        self.recorded = False
        self.not_recorded: str | None = None
        self._eager_steps = 0
        self._names: list[str] = []
        self._x: Tensor | None = None  # what the graph reads
        self._numbers: Tensor | None = None  # what it writes
        self._launch: Callable[[], None] | None = None

    def __call__(
        self, x: Tensor, seed: Callable[[], None]
    ) -> tuple[dict[str, float], Callable[[], None]]:
        """Losses and gradient norms of a step on ``x`` [B, C, H, W], and what moves the weights.

        The second is to be called if all numbers are finite; a recorded step has then moved them
        already, and one with other numbers never does.

        Args:
            x: images on the model's device.
            seed: seeds torch's generators for this step.
        """
        if self.record is not None and self.not_recorded is None:
            if self.recorded:
                assert self._x is not None
                if x.shape == self._x.shape:
                    return self._replay(x, seed), _nothing
            elif self._eager_steps >= WARM_UP:
                first = self._start(x, seed)
                if first is not None:
                    return first, _nothing
        self._eager_steps += 1
        seed()
        numbers, norms = self._measure(x)
        scalars = dict(zip(self._names, numbers.tolist()))
        return scalars, lambda: self._move(norms)

    def _measure(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """All numbers, stacked so that they come over in one transfer, and the norms among them."""
        for optimizer in self.optimizers:
            optimizer.optimizer.zero_grad(set_to_none=True)
        terms = self.model.accumulate_gradients(x)
        norms = [optimizer.gradient_norm() for optimizer in self.optimizers]
        self._names = [*terms, *(f"gradient_norm/{o.name}" for o in self.optimizers)]
        values = [v.detach().to(x.device, torch.float32) for v in (*terms.values(), *norms)]
        return torch.stack(values), norms

    def _move(self, norms: Sequence[Tensor]) -> None:
        for optimizer, norm in zip(self.optimizers, norms):
            optimizer.step(norm)

    def _replay(self, x: Tensor, seed: Callable[[], None]) -> dict[str, float]:
        assert self._x is not None
        assert self._numbers is not None
        assert self._launch is not None
        self._x.copy_(x)
        seed()
        self._launch()
        return dict(zip(self._names, self._numbers.tolist()))

    def _start(self, x: Tensor, seed: Callable[[], None]) -> dict[str, float] | None:
        """Record a step and run it; None, and all as before, if it is not what an eager one is."""
        before = {name: tensor.clone() for name, tensor in self._state().items()}
        self._x = x.clone()
        try:
            seed()
            expected = self._measure(self._x)[0].tolist()
            self._restore(before)
            self._record()
            found = self._replay(x, seed)
            if not all(map(_close, expected, found.values())):
                numbers = dict(zip(self._names, expected))
                raise RuntimeError(f"it gives {found} where an eager step gives {numbers}")
        except Exception as error:
            # Whatever cannot be recorded is trained eagerly: slower, and as right.
            self._restore(before)
            self.not_recorded = str(error) or type(error).__name__
            _log.warning("training steps stay eager: no CUDA graph, since %s", self.not_recorded)
            self._x = self._numbers = self._launch = None
            for optimizer in self.optimizers:
                optimizer.gate(None)
            return None
        self.recorded = True
        return found

    def _record(self) -> None:
        assert self.record is not None
        assert self._x is not None
        static = self._x
        self._numbers = torch.zeros(len(self._names), device=static.device)
        bad = torch.zeros((), device=static.device)
        for optimizer in self.optimizers:
            optimizer.gate(bad)
            optimizer.optimizer.zero_grad(set_to_none=True)

        def step() -> None:
            assert self._numbers is not None
            numbers, norms = self._measure(static)
            self._numbers.copy_(numbers)
            bad.copy_(1 - numbers.isfinite().all().to(bad.dtype))
            self._move(norms)

        self._launch = self.record(step)

    def _state(self) -> Mapping[str, Tensor]:
        """Everything that a step changes."""
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        for optimizer in self.optimizers:
            for name, tensor in optimizer.tensors().items():
                tensors[f"{optimizer.name}/{name}"] = tensor
        return tensors

    def _restore(self, before: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self._state().items():
                tensor.copy_(before[name])


def cuda_graph(step: Callable[[], None]) -> Callable[[], None]:
    """Record a step as a CUDA graph; see ``torch.cuda.graph``."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    # Other threads (a data loader, TensorBoard) may call CUDA meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    return graph.replay


def recorder(device: torch.device, optimizers: Sequence[PlayerOptimizer]) -> Record | None:
    """How steps on a device are recorded; None where they cannot be.

    >>> recorder(torch.device("cpu"), []) is None
    True
    """
    if device.type != "cuda" or any(o.not_fused is not None for o in optimizers):
        return None
    return cuda_graph


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=AGREEMENT, abs_tol=AGREEMENT)


def _nothing() -> None:
    pass
