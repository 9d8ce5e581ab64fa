"""Whether a replacement is faster than what it replaces, on this machine and for these sizes."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.discovery import other_batch
from drawgan_fast.compat.fused import FusedForward
from drawgan_fast.compat.installing import Key, Part, label
from drawgan_fast.compat.originals import Original
from drawgan_fast.compat.probing import converted, sized, untouched
from drawgan_fast.compat.proving import CELL, Trial
from drawgan_fast.compat.sites import Recording
from drawgan_fast.nn import LSTMCell


def speedup(original: Callable[[], Any], ours: Callable[[], Any], rounds: int = 9) -> float:
    """How many times faster ours runs, forward and backward, in turns: the fastest of each.

    What else the machine does can only make a turn slower.

    Args:
        original: gives tensors, in any nesting of tuples, lists and dictionaries.
        ours: the same.
        rounds: turns that count; two go before them.

    >>> speedup(lambda: torch.ones(400, 400) @ torch.ones(400, 400), lambda: torch.ones(1)) > 1
    True
    """
    turns = [(_seconds(original), _seconds(ours)) for _ in range(rounds + 2)]
    theirs, mine = zip(*turns[2:])  # the first two allocate, pack and compile
    return min(theirs) / min(mine)


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    outputs = [t for t in _tensors(run()) if t.requires_grad]
    if outputs:
        total = sum((t.sum() for t in outputs), torch.zeros((), device=outputs[0].device))
        total.backward()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):  # of steps: a loss looks at the last, from which all follow
        value = value[-1:]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def slower_parts(
    model: nn.Module, original: Original, own: Recording, trial: Trial, batch: int
) -> dict[str, float]:
    """Which replaced parts are slower than what they replaced, and how many times as fast they are.

    Args:
        model: with its parts replaced.
        original: what was observed of it before.
        own: a recording of it.
        trial: what is replaced.
        batch: number of samples to measure with.
    """
    found: dict[str, float] = {}
    with untouched(model, original.dtype):
        whole, parts = trial.proof.whole, trial.proof.parts
        for key in list(trial.parts):
            site = trial.windows[key].site
            given = sized(own.calls[site][-1].arguments, batch, original.dtype)
            call = functools.partial(_with, trial, function=site.function, given=given)
            found[label(key)] = _measured(
                functools.partial(call, parts={}), functools.partial(call, parts=parts)
            )
        for path, cell in trial.cells.items():
            inputs = next(e.inputs for e in reversed(own.events) if e.module is cell)
            given = sized(inputs, batch, original.dtype)
            found[path + CELL] = _measured(
                functools.partial(nn.LSTMCell.forward, cell, *given),
                functools.partial(LSTMCell.forward, cell, *given),  # type: ignore[arg-type]
            )
        if whole is not None:
            args = other_batch(original.args, batch, 8) or original.args
            args = tuple(converted(arg, original.dtype) for arg in args)
            found["forward (draw_scan)"] = _measured(
                lambda: _with_whole(trial, None, model, args),
                lambda: _with_whole(trial, whole, model, args),
                rounds=3,
            )
    return {name: ratio for name, ratio in found.items() if ratio < 1}


def _measured(original: Callable[[], Any], ours: Callable[[], Any], rounds: int = 9) -> float:
    try:
        return speedup(original, ours, rounds)
    except Exception:  # it does not run with so many samples, and then never will be asked to
        return math.inf


def _with(trial: Trial, *, parts: dict[Key, Part], function: Any, given: dict[str, Any]) -> Any:
    before, trial.proof.parts = trial.proof.parts, parts
    try:
        return function(**given)
    finally:
        trial.proof.parts = before


def _with_whole(trial: Trial, whole: FusedForward | None, model: nn.Module, args: Any) -> Any:
    before, trial.proof.whole = trial.proof.whole, whole
    try:
        returned = model(*args)
        return returned if _tensors(returned) else vars(model)
    finally:
        trial.proof.whole = before
