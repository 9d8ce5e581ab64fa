"""A model and its accelerated copy, held to each other over whatever is done to both."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast import record_backends
from drawgan_fast.compat import Report
from drawgan_fast.compat.contents import own_attributes, walk, written
from tests.support.accelerating import accelerate

LIMIT = 2e-4  # of float32 over a few steps


class Twins:
    """The same calls and changes to an original and to its accelerated copy.

    Attributes:
        original: as its author wrote it.
        ours: an accelerated copy.
        report: of ``accelerate``.
    """

    def __init__(self, original: nn.Module, **options: Any) -> None:
        self.original = original
        self.ours = copy.deepcopy(original)
        self.report: Report = accelerate(self.ours, **options)
        self.seed = 0

    def change(self, action: Callable[[Any], Any]) -> None:
        """Do something to both."""
        action(self.original)
        action(self.ours)

    def call(self, call: Callable[[Any], Any]) -> set[str]:
        """Call both with the same noise: results, gradients and what is left in them are the same.

        Returns:
            The operators that ran in ours.
        """
        self.seed += 1
        theirs = self._one(self.original, call)
        with record_backends() as ran:
            mine = self._one(self.ours, call)
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            _assert_same(name, mine[name], value)
        return {operator for operator, _ in ran}

    def _one(self, model: nn.Module, call: Callable[[Any], Any]) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002
        for parameter in model.parameters():
            parameter.grad = None
        try:
            result = call(model)
        except Exception as error:
            return {"raises": type(error).__name__}
        found: dict[str, Any] = {}
        total = torch.zeros(())
        for path, value, leaf in walk(result):
            if leaf:
                found[f"result{written(path)}"] = value
                if isinstance(value, Tensor) and value.requires_grad:
                    weights = torch.linspace(0.5, 1.5, value.numel()).view_as(value)
                    total = total + (value * weights).sum()
        if total.requires_grad:
            total.backward()
        for name, module in model.named_modules():
            for path, value, leaf in walk(own_attributes(module)):
                if leaf and not isinstance(value, (nn.Module, torch.Generator)):
                    found[f"{name}{written(path)}"] = value
        found |= {f"buffer {name}": value.clone() for name, value in model.named_buffers()}
        found |= {f"gradient of {name}": p.grad for name, p in model.named_parameters()}
        found["noise afterwards"] = torch.rand(3)
        return found


def _assert_same(name: str, mine: Any, theirs: Any) -> None:
    if name.startswith("gradient") and (mine is None or theirs is None):
        # No gradient at all and a gradient of zeros teach an optimizer the same.
        given = theirs if mine is None else mine
        assert given is None or not given.any(), name
    elif isinstance(theirs, (Tensor, np.ndarray)):
        a, b = torch.as_tensor(mine).double(), torch.as_tensor(theirs).double()
        assert a.shape == b.shape, name
        equal = (a == b) | (a.isnan() & b.isnan())
        off = torch.where(equal, 0.0, a - b).norm()
        assert off <= LIMIT * (b.nan_to_num(0, 0, 0).norm() + 1e-3), (name, off)
    elif isinstance(theirs, float):
        assert abs(mine - theirs) <= LIMIT * (abs(theirs) + 1e-3), name
    elif isinstance(theirs, (int, str, bool, type(None))):
        assert mine == theirs, name
