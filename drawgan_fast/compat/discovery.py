"""What can be said of a model before its numbers are looked at: refusals, sizes, arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.fused import FusedForward
from drawgan_fast.compat.probing import own_attributes, untouched
from drawgan_fast.compat.replacements import FastRead, FastWrite
from drawgan_fast.compat.report import NotAccelerated
from drawgan_fast.compat.sites import find_sites
from drawgan_fast.compat.windows import Shape

_BATCH = 7  # of a probe: no size of a model that is likely to be met
_NAMES = (("B", "A"), ("H", "W"), ("height", "width"), ("img_H", "img_W"), ("rows", "cols"))


def check_model(model: nn.Module) -> None:
    """Refuse what can be refused without running anything."""
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise NotAccelerated(
            "nothing was changed: accelerate the model itself, before "
            f"{type(model).__name__} wraps it"
        )
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, (FastRead, FastWrite, FusedForward)):
                where = f"{path}.{name}" if path else name
                raise NotAccelerated(
                    f"nothing was changed: the model is accelerated already ({where} is a "
                    f"{type(value).__name__}); call restore() of that report first"
                )
    places: dict[str, str] = {}
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        places.setdefault(str(tensor.device), name)
    if not places:
        raise NotAccelerated("nothing was changed: the model has no parameters, so it is no DRAW")
    if len(places) > 1:
        where = ", ".join(f"{name!r} on {device}" for device, name in places.items())
        raise NotAccelerated(
            f"nothing was changed: parameters are on {len(places)} devices ({where}); move the "
            "model to one first"
        )
    if "meta" in places:
        raise NotAccelerated("nothing was changed: parameters on meta hold no numbers to probe")
    cells = [m for m in model.modules() if isinstance(m, nn.RNNCellBase)]
    if not cells:
        raise NotAccelerated(
            f"nothing was changed: {type(model).__name__} is no DRAW, it has no recurrent cell"
        )
    if not find_sites(model):
        raise NotAccelerated(
            f"nothing was changed: {type(model).__name__} is no DRAW, nothing in it is called "
            "read or write"
        )


def probe_arguments(model: nn.Module, example: Tensor | tuple[Any, ...] | None) -> tuple[Any, ...]:
    """Arguments with which forward runs, random images of a plausible size if none were given."""
    if example is not None:
        return example if isinstance(example, tuple) else (example,)
    device = next(model.parameters()).device
    errors: dict[str, str] = {}
    generator = torch.Generator().manual_seed(3)
    for C, H, W in _plausible(model):
        for tail in ((C * H * W,), (C, H, W), (H, W)):
            if len(tail) == 2 and C > 1:
                continue
            x = torch.rand(_BATCH, *tail, generator=generator, dtype=torch.float64).to(device)
            try:
                with untouched(model, torch.float64), torch.no_grad():
                    model(x)
            except Exception as error:  # whatever another's code may raise
                errors.setdefault(str(list(x.shape)), f"{type(error).__name__}: {error}")
            else:
                return (x,)
    tried = next(iter(errors.items()), None)
    said = f" ({len(errors)} shapes tried; {tried[0]}: {tried[1]})" if tried else ""
    raise NotAccelerated(
        f"nothing was changed: forward of {type(model).__name__} does not run on a batch of "
        f"images of any size that its attributes suggest{said}; give example=(arguments of forward)"
    )


def _plausible(model: nn.Module) -> Iterator[Shape]:
    """(C, H, W) that the model's attributes suggest, by familiar names first."""
    attributes = own_attributes(model)
    numbers = {k: v for k, v in attributes.items() if isinstance(v, int) and 2 <= v <= 1024}
    tuples = [
        tuple(v)
        for v in attributes.values()
        if isinstance(v, (tuple, list)) and len(v) in (2, 3) and all(type(n) is int for n in v)
    ]
    sizes = [(numbers[h], numbers[w]) for h, w in _NAMES if h in numbers and w in numbers]
    sizes += [size[-2:] for size in tuples]
    sizes += [(math.isqrt(n), math.isqrt(n)) for n in numbers.values() if math.isqrt(n) ** 2 == n]
    sizes += [(n, n) for n in numbers.values()]
    sizes += list(itertools.permutations(numbers.values(), 2))
    named = [v for k, v in attributes.items() if k.lower() in ("c", "channel", "channels")]
    channels = [c for c in named if type(c) is int] or [1, 3]
    seen = dict.fromkeys((c, *size) for size in sizes[:80] for c in channels)
    return iter(list(seen)[:120])


def possible_shapes(model: nn.Module, numbers: int, args: tuple[Any, ...]) -> list[Shape]:
    """(C, H, W) of ``numbers`` pixels, the likeliest first; probes decide."""
    shapes: list[Shape] = []
    for arg in args:
        if isinstance(arg, Tensor) and arg.dim() == 4 and arg[0].numel() == numbers:
            return [tuple(arg.shape[1:])]  # type: ignore[list-item]
        if isinstance(arg, Tensor) and arg.dim() == 3 and arg[0].numel() == numbers:
            shapes.append((1, arg.shape[1], arg.shape[2]))
    shapes += [shape for shape in _plausible(model) if math.prod(shape) == numbers]
    for C in (1, 3, 2, 4):
        if numbers % C == 0:
            rows = [h for h in range(1, numbers // C + 1) if numbers // C % h == 0]
            rows.sort(key=lambda h: abs(math.log(h * h * C / numbers)))
            shapes += [(C, h, numbers // C // h) for h in rows]
    return list(dict.fromkeys(shapes))
