"""What in a model could be replaced: its windows with their conventions, and its cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.discovery import possible_shapes
from drawgan_fast.compat.report import NotAccelerated
from drawgan_fast.compat.sites import Recording
from drawgan_fast.compat.windows import Found, Shape, find_window, image_numbers, window_events
from drawgan_fast.nn import LSTMCell


def find_windows(
    model: nn.Module, record: Recording, args: tuple[Any, ...], wanted: AttentionSpec | None
) -> tuple[list[Found], list[str]]:
    """Every read and write with a window, outermost first; and what was left, with the reason."""
    left: list[str] = []
    called = [(site, calls) for site, calls in record.calls.items() if calls]
    if not called:
        raise NotAccelerated(
            f"nothing was changed: {type(model).__name__} is no DRAW, its forward calls none of "
            f"{', '.join(site.label for site in record.calls)}"
        )
    attentive = [(site, calls[-1]) for site, calls in called if window_events(record, calls[-1])]
    for site, calls in called:
        if not window_events(record, calls[-1]):
            left.append(f"{site.label}: it calls no layer with five outputs, so it has no window")
    shapes: list[Shape] = []
    if attentive:
        shapes = possible_shapes(model, image_numbers(record, attentive[0][1]), args)
    found: list[Found] = []
    tried: list[tuple[int, int]] = []
    # A method that only serves another one is inside it.
    for site, call in sorted(attentive, key=lambda pair: pair[1].depth):
        if any(begin <= call.begin and call.end <= end for begin, end in tried):
            continue
        try:
            one = find_window(site, record, shapes, wanted)
        except NotAccelerated as reason:
            if wanted is not None:
                raise NotAccelerated(f"nothing was changed: {reason}") from None
            left.append(_with_name(site.label, str(reason)))
            continue
        except Exception as error:  # whatever another's code may raise
            left.append(f"{site.label}: on windows of our choice it raises {_named(error)}")
            continue
        tried += [(outer.begin, outer.end) for outer in record.calls[site]]
        shapes = [one.replacement.image_shape]
        found.append(one)
    return _agreed(found), left


def _with_name(label: str, reason: str) -> str:
    return f"{label}: {reason.removeprefix(label).lstrip(': ')}"


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _agreed(found: list[Found]) -> list[Found]:
    """One convention each: one that all obey, if there is one, else the first of each."""
    common = [s for s in found[0].specs if all(s in f.specs for f in found)] if found else []
    return [
        dataclasses.replace(
            f, replacement=dataclasses.replace(f.replacement, spec=(common or f.specs)[0])
        )
        for f in found
    ]


def image_shape(windows: list[Found], args: Iterable[Any]) -> Shape:
    """(C, H, W) that the windows look at, or that is as good as any where there is none."""
    if windows:
        return windows[0].replacement.image_shape
    # Without attention nothing depends on how the numbers of an image are arranged.
    x = next((arg for arg in args if isinstance(arg, Tensor) and arg.dim() > 1), None)
    if x is None:
        return (1, 1, 1)
    return tuple(x.shape[1:]) if x.dim() == 4 else (1, 1, x[0].numel())  # type: ignore[return-value]


def read_and_write(windows: list[Found]) -> tuple[Found | None, Found | None]:
    """The first read and the first write."""
    read = next((f for f in windows if not f.writes), None)
    write = next((f for f in windows if f.writes), None)
    return read, write


def find_cells(model: nn.Module, record: Recording) -> tuple[dict[str, nn.LSTMCell], list[str]]:
    """The LSTM cells that forward calls, by path; and what was left, with the reason."""
    cells: dict[str, nn.LSTMCell] = {}
    left: list[str] = []
    used = {id(event.module) for event in record.events}
    for path, module in model.named_modules():
        if isinstance(module, LSTMCell) or not isinstance(module, nn.RNNCellBase):
            continue
        kind = type(module).__name__
        if type(module) is not nn.LSTMCell:
            left.append(f"{path}: a {kind}, of which there is no fused form")
        elif id(module) not in used:
            left.append(f"{path}: forward does not call it, so nothing could be proved")
        elif "forward" in vars(module):
            left.append(f"{path}: its forward is bound to the instance")
        else:
            cells[path] = module
    return cells, left
