"""What can be said of a model before its numbers are looked at: refusals, sizes, arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.contents import own_attributes
from drawgan_fast.compat.installing import proof_in
from drawgan_fast.compat.probing import converted, untouched
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
        if proof_in(module) is not None:
            where = f"its module {path!r}" if path else "it"
            raise NotAccelerated(
                f"nothing was changed: {where} is accelerated already; call restore() of that "
                "report first"
            )
    places: dict[str, str] = {}
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        places.setdefault(str(tensor.device), name)
    if not places:
        raise NotAccelerated("nothing was changed: the model has no parameters, so it is no DRAW")
    if not any(p.is_floating_point() for p in model.parameters()):
        raise NotAccelerated("nothing was changed: the model has no parameters of floating point")
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
    if getattr(type(model), "forward", None) is nn.Module.forward and "forward" not in vars(model):
        raise NotAccelerated(
            f"nothing was changed: {type(model).__name__} has no forward, which is what is looked "
            "at; give it one that calls its own entry point"
        )
    parameters = list(model.parameters())
    floats = [p for p in parameters if p.is_floating_point()]
    dtype, device = (floats or parameters)[0].dtype, parameters[0].device
    errors: dict[str, str] = {}
    found: dict[int, Tensor] = {}
    generator = torch.Generator("cpu").manual_seed(3)
    for x in _batches(model, generator):
        given = x.to(device)
        error = _fails(model, given, torch.float64)
        if error is None:
            # The same pixels in another arrangement are no other size.
            found.setdefault(x[0].numel(), given)
            if len(found) > 1:
                sizes = " and ".join(str(list(one.shape[1:])) for one in found.values())
                raise NotAccelerated(
                    f"nothing was changed: forward of {type(model).__name__} runs on images of "
                    f"several sizes ({sizes}); give example=(arguments of forward)"
                )
        elif not found:
            errors.setdefault(str(list(x.shape)), error)
    for given in found.values():
        return (given,)
    # Not the size, perhaps, but float64: ask in the model's own dtype.
    if dtype != torch.float64:
        for x in _batches(model, generator):
            if _fails(model, x.to(device, dtype), dtype) is None:
                why = _fails(model, x.to(device), torch.float64)
                raise NotAccelerated(
                    "nothing was changed: in float64, in which probes run, forward raises "
                    f"{why}; in {str(dtype).removeprefix('torch.')} it runs, so it insists on that "
                    "somewhere (.float(), .to(dtype), a dtype= of its own)"
                )
    said = next((f": on {shape} it raises {error}" for shape, error in errors.items()), "")
    if len(set(errors.values())) == 1 and len(errors) > 1:
        raise NotAccelerated(
            f"nothing was changed: forward of {type(model).__name__} raises the same on a batch of "
            f"images of every size tried: {next(iter(errors.values()))}; if it takes more than "
            "images, give example=(arguments of forward)"
        )
    raise NotAccelerated(
        f"nothing was changed: forward of {type(model).__name__} does not run on a batch of "
        f"images of any of the {len(errors)} shapes that its attributes suggest{said}; give "
        "example=(arguments of forward)"
    )


def _batches(model: nn.Module, generator: torch.Generator) -> Iterator[Tensor]:
    """Random images of every shape that the model's attributes suggest."""
    for C, H, W in _plausible(model):
        for tail in ((C * H * W,), (C, H, W), (H, W)):
            if len(tail) == 2 and C > 1:
                continue
            yield torch.rand(_BATCH, *tail, generator=generator, dtype=torch.float64, device="cpu")


def _fails(model: nn.Module, x: Tensor, dtype: torch.dtype) -> str | None:
    """What forward raises on images; None if it runs."""
    try:
        with untouched(model, dtype), torch.no_grad():
            model(converted(x, dtype))
    except Exception as error:  # whatever another's code may raise
        return f"{type(error).__name__}: {error}"
    return None


def other_batch(
    args: tuple[Any, ...], B: int, seed: int, counted: bool = True
) -> tuple[Any, ...] | None:
    """The same arguments for another number of samples, with other images.

    What is as long as the first tensor is taken to hold samples, and an equal number to count them
    unless not ``counted``; None without a tensor.
    """
    first = next((a for a in _leaves(args) if isinstance(a, Tensor) and a.dim() > 0), None)
    if first is None or len(first) == 0:
        return None
    before = len(first)
    generator = torch.Generator("cpu").manual_seed(seed)

    def other(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dim() > 0 and len(value) == before:
            if value.is_floating_point():
                shape = (B, *value.shape[1:])
                drawn = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
                return drawn.to(value)
            return value[torch.arange(B, device=value.device) % before]
        if type(value) is int and value == before and counted:
            return B
        if type(value) in (list, tuple):
            return type(value)(other(item) for item in value)
        if type(value) is dict:
            return {key: other(item) for key, item in value.items()}
        return value

    return tuple(other(arg) for arg in args)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    else:
        yield value


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
