"""Whether a model is a standard DRAW, and its forward as one scan."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.bytecode import only_counts
from drawgan_fast.compat.contents import MISSING, is_plain, own_attributes, same, walk, written
from drawgan_fast.compat.fused import FusedForward, Layers, Noise, Paths, draw_noise
from drawgan_fast.compat.probing import exposed, remember
from drawgan_fast.compat.proof import Behaviour
from drawgan_fast.compat.replacements import Arguments, FastRead, FastWrite, kept
from drawgan_fast.compat.report import NotAccelerated
from drawgan_fast.compat.sites import (
    Event,
    Recording,
    Site,
    bind,
    defaults_of,
    is_float,
    parameter_names,
    positional_count,
    recording,
)
from drawgan_fast.compat.template import Count, Quantities, Unknown, needs_canvases, recipe
from drawgan_fast.compat.watching import uncertain
from drawgan_fast.compat.windows import Found, Shape
from drawgan_fast.draw_config import DrawConfig

_SEED = 11
_SAME = 1e-9


def fuse(
    model: nn.Module,
    args: tuple[Any, ...],
    read: Found | None,
    write: Found | None,
    shape: Shape,
    runs: list[Behaviour],
    left: list[str],
    counted: bool,
) -> FusedForward:
    """Find every part of a standard DRAW in a model. Runs inside ``untouched``, in float64.

    Args:
        model: as it is.
        args: of forward.
        read: its read, None without attention.
        write: its write, the same.
        shape: (C, H, W).
        runs: what it does in passes that differ in noise, images, batch size and number of calls.
        left: why other reads and writes are none.
        counted: whether an argument that equals the number of samples counts them.

    Raises:
        NotAccelerated: it is none, and what is different.
    """
    if "forward" in vars(model):
        raise _not_standard("its forward is bound to the instance")
    before = remember(model)
    attributes = own_attributes(model)
    sites = [found.site for found in (read, write) if found is not None]
    with recording(model, sites) as record:
        torch.manual_seed(_SEED)
        returned = model(*args)
    exposures = exposed(model, before)
    given = bind(model.forward, args, {})
    images = [
        name
        for name, value in given.items()
        if is_float(value) and value.dim() > 0 and value[0].numel() == math.prod(shape)
    ]
    if len(images) != 1:
        raise _not_standard(f"its forward takes {len(images)} images")
    x = given[images[0]].reshape(-1, *shape)
    arguments = _arguments(model, given, images[0], counted)
    _only_certain(record, sites)

    layers, T = _layers(model, record, read, write)
    _from_zero(record, layers, read)
    spec = _one_spec(read, write, left)
    cfg = DrawConfig(
        image_size=shape[1:],
        channels=shape[0],
        hidden_size=layers.decoder.hidden_size,
        latent_size=layers.decoder.input_size,
        read_size=read.replacement.N if read else 1,
        write_size=write.replacement.N if write else 1,
        spec=spec or AttentionSpec(),
        attention=read is not None,
    )
    _no_conditions(layers, cfg, shape)
    layers, noise, eps = _posterior(record, layers, T, x.shape[0])
    try:
        out = F.draw_scan(x, eps, layers.weights(), cfg, trace=True)
        paths = Paths.of(layers, model)
    except ValueError as error:
        raise _not_standard(f"a weight has another shape ({error})") from None
    except LookupError as error:
        raise _not_standard(f"its {error} layer is not among its modules") from None
    assert out.trace is not None
    q = Quantities(out.mu, out.log_sigma, out.canvas, out.trace.canvases[:-1], x.shape[0])

    def varying(where: str) -> bool:
        said = [run.outputs.get(where, MISSING) for run in runs]
        return any(not same(value, said[0]) for value in said)

    try:
        result = recipe(returned, q, "result", varying)
        recipes = {}
        for path, value in exposures.items():
            if len(path) != 1 or path[0][1] not in vars(model):
                raise Unknown(f"model{written(path)} is changed by forward, which")
            name = path[0][1]
            by = _raised_by(name, attributes.get(name), runs)
            if by is not None and not only_counts(name, record.notes.code):
                raise Unknown(f"model.{name} is a number that forward makes, and looks at, which")
            recipes[name] = (
                recipe(value, q, f"model.{name}", varying) if by is None else Count(name, by)
            )
    except Unknown as reason:
        raise _not_standard(str(reason)) from None
    filled = {
        path[0][1]
        for path, value in exposures.items()
        if isinstance(value, (list, dict)) and value is attributes.get(path[0][1])
    }
    return FusedForward(
        paths,
        cfg,
        T,
        noise,
        arguments,
        images[0],
        result,
        recipes,
        frozenset(filled),
        any(needs_canvases(part, T) for part in (result, *recipes.values())),
    )


def _arguments(model: nn.Module, given: dict[str, Any], image: str, counted: bool) -> Arguments:
    """Which calls a scan stands in for: any images, everything else as it was.

    Raises:
        NotAccelerated: a tensor that is no image.
    """
    names, defaults = parameter_names(model.forward), defaults_of(model.forward)
    if given.keys() - set(names):
        raise _not_standard("its forward is given more than its parameters name")
    others = {name: given.get(name, defaults.get(name)) for name in names if name != image}
    for name, value in others.items():
        if isinstance(value, Tensor) or not all(
            is_plain(item) for _, item, leaf in walk(value) if leaf
        ):
            raise _not_standard(f"its forward takes {name!r} beside the images")
    x = given[image]
    return Arguments(
        names,
        positional_count(model.forward),
        {name: value for name, value in defaults.items() if name in others},
        {image: frozenset({tuple(x.shape[1:])})},
        {name: (kept(value),) for name, value in others.items()},
        # Whether it must be is proved with another batch.
        frozenset(n for n, v in others.items() if counted and type(v) is int and v == x.shape[0]),
    )


def _only_certain(record: Recording, sites: list[Site]) -> None:
    doubtful = uncertain(record.notes.outside(sites))
    if doubtful:
        raise _not_standard(
            f"its forward also calls {', '.join(doubtful)}, of which a probe may not have reached "
            "all that they do"
        )


def _raised_by(name: str, before: Any, runs: list[Behaviour]) -> int | None:
    """By how much every pass raises an attribute that counts; None if it does not count."""
    counted = [(run.calls, run.outputs.get(f"model.{name}")) for run in runs]
    if type(before) is not int or len({calls for calls, _ in counted}) < 2:
        return None
    by = {(value - before) / calls if type(value) is int else None for calls, value in counted}
    step = next(iter(by))
    return int(step) if len(by) == 1 and step is not None and step == int(step) and step else None


def _not_standard(reason: str) -> NotAccelerated:
    return NotAccelerated(
        f"nothing was changed: the model is no DRAW that draw_scan computes, {reason}; "
        "fuse=False replaces its parts"
    )


def _one_spec(read: Found | None, write: Found | None, left: list[str]) -> AttentionSpec | None:
    """One convention for both windows; they may differ in what belongs to one of them."""
    if read is None and write is None:
        return None
    if read is None or write is None:
        what = "read" if read is None else "write"
        raise _not_standard(f"its {what} is none that is known ({'; '.join(left)})")
    for r in read.specs:
        for w in write.specs:
            joined = replace(r, write_axes=w.write_axes, gamma_on_write=w.gamma_on_write)
            if joined == replace(w, read_axes=r.read_axes):
                return joined
    raise _not_standard(f"its read obeys {read.specs[0]} and its write {write.specs[0]}")


def _from_zero(record: Recording, layers: Layers, read: Found | None) -> None:
    """Refuse a recurrence that starts from anything but zeros."""
    for part, cell in (("encoder", layers.encoder), ("decoder", layers.decoder)):
        first = next(e for e in record.events if e.module is cell)
        for state in first.inputs[1] if len(first.inputs) > 1 and first.inputs[1] else ():
            if isinstance(state, nn.Parameter) or state.grad_fn is not None:
                raise _not_standard(
                    f"its {part}'s first state is learned, and a scan starts from zeros"
                )
            if state.any():
                raise _not_standard(f"its {part}'s first state is not zero, where a scan starts")
    if read is None or len(read.replacement.images) != 2:  # type: ignore[union-attr]
        return
    replacement = cast(FastRead, read.replacement)
    x, other = (record.calls[read.site][0].arguments[name] for name in replacement.images)
    zero = other if replacement.canvas else x - other - 0.5
    if zero.detach().abs().max() > _SAME:
        raise _not_standard("its first canvas is not zero, where a scan starts")


def _no_conditions(layers: Layers, cfg: DrawConfig, shape: Shape) -> None:
    """Refuse LSTMs that take more than a DRAW's take."""
    seen = 2 * shape[0] * cfg.read_size**2 if cfg.attention else 2 * math.prod(shape)
    heads = 1 if layers.mu is not layers.log_sigma else 2
    for part, cell, size, what in (
        ("encoder", layers.encoder, seen + cfg.hidden_size, "glimpses and the decoder's state"),
        ("decoder", layers.decoder, layers.mu.out_features // heads, "z"),
    ):
        if cell.input_size != size:
            raise _not_standard(
                f"its {part} takes {cell.input_size} numbers where {what} are {size}: a label, a "
                "caption or another condition comes in"
                if cell.input_size > size
                else f"its {part} takes {cell.input_size} numbers, fewer than {what}, {size}"
            )


def _layers(
    model: nn.Module, record: Recording, read: Found | None, write: Found | None
) -> tuple[Layers, int]:
    cells = [e for e in record.events if isinstance(e.module, nn.RNNCellBase)]
    distinct = list({id(e.module): e.module for e in cells}.values())
    T, rest = divmod(len(cells), 2)
    order = [e.module for e in cells]
    if len(distinct) != 2 or rest or order != distinct * T:
        raise _not_standard(f"it calls {len(distinct)} cells, not an encoder and a decoder in turn")
    encoder, decoder = distinct
    if not isinstance(encoder, nn.LSTMCell) or not isinstance(decoder, nn.LSTMCell):
        raise _not_standard(f"its cells are {type(encoder).__name__} and {type(decoder).__name__}")
    if encoder.hidden_size != decoder.hidden_size:
        raise _not_standard(f"its cells have {encoder.hidden_size} and {decoder.hidden_size} units")
    first, second = (next(i for i, e in enumerate(record.events) if e is cells[k]) for k in (0, 1))
    between = record.events[first + 1 : second]
    h_enc = cells[0].output[0]
    heads = [e for e in between if isinstance(e.module, nn.Linear) and e.inputs[0] is h_enc]
    if len(heads) != len(between) or len(heads) not in (1, 2):
        names = {id(module): path for path, module in model.named_modules()}
        called = ", ".join(names.get(id(e.module), "a layer of its own") for e in between)
        raise _not_standard(
            f"between its cells it calls {called or 'no layer'}, where a scan has one layer or two "
            "that look at the encoder's state"
        )
    mu, log_sigma = heads[0].module, heads[-1].module
    assert isinstance(mu, nn.Linear)
    assert isinstance(log_sigma, nn.Linear)
    if write is not None:
        if not isinstance(write.replacement, FastWrite):
            raise _not_standard("its write is none")
        patch = write.replacement.patch.of(write.site.owner, _last(record, write))
    else:
        patch = _whole_image_patch(record.events, cells)
    windows = []
    for found in (read, write):
        window = None
        if found is not None:
            window = found.replacement.window.of(found.site.owner, _last(record, found))
        if found is read and found is not None and not isinstance(found.replacement, FastRead):
            raise _not_standard("its read is none")
        windows.append(cast("nn.Linear | None", window))
    layers = Layers(
        encoder,
        decoder,
        mu,
        log_sigma,
        True,
        1.0,
        windows[0],
        windows[1],
        patch,
    )
    return layers, T


def _last(record: Recording, found: Found) -> dict[str, Any]:
    return record.calls[found.site][-1].arguments


def _whole_image_patch(events: list[Event], cells: list[Event]) -> nn.Linear:
    """Without attention: the layer that maps h_dec to the whole canvas."""
    h_dec = cells[1].output[0]
    found = {
        id(e.module): e.module
        for e in events
        if isinstance(e.module, nn.Linear) and e.inputs[0] is h_dec
    }
    if len(found) != 1:
        raise _not_standard(f"{len(found)} layers look at the decoder's state, not one")
    return next(iter(found.values()))


def _posterior(record: Recording, layers: Layers, T: int, B: int) -> tuple[Layers, Noise, Tensor]:
    """Which head gives μ and which log σ, and how the noise is drawn: what makes the model's z."""
    z = torch.stack([e.inputs[0] for e in record.events if e.module is layers.decoder])
    outputs = {
        id(module): torch.stack([e.output for e in record.events if e.module is module])
        for module in (layers.mu, layers.log_sigma)
    }
    candidates = []
    if layers.mu is layers.log_sigma:
        first, second = outputs[id(layers.mu)].chunk(2, dim=-1)
        candidates += [(layers, first, second)]
        candidates += [(replace(layers, mu_first=False), second, first)]
    else:
        first, second = outputs[id(layers.mu)], outputs[id(layers.log_sigma)]
        swapped = replace(layers, mu=layers.log_sigma, log_sigma=layers.mu)
        candidates += [(layers, first, second), (swapped, second, first)]
    best = None
    kinds: tuple[Noise, ...] = ("steps", "block")
    for kind in kinds:
        torch.manual_seed(_SEED)
        eps = draw_noise(kind, T, B, z, z.shape[-1])
        for found, mu, log_sigma in candidates:
            for scale in (1.0, 0.5):
                if mu.shape != z.shape:
                    continue
                mine = mu + torch.exp(scale * log_sigma) * eps
                error = ((mine - z).norm() / z.norm()).item()
                best = error if best is None else min(best, error)
                if error <= _SAME:
                    return replace(found, log_sigma_scale=scale), kind, eps.detach()
    if best is None:
        raise _not_standard(
            f"its decoder takes {z.shape[-1]} numbers, its posterior's layers give "
            f"{', '.join(str(v.shape[-1]) for v in outputs.values())}"
        )
    raise _not_standard(
        f"its z is not mu + sigma * noise, drawn once a step or once for all steps ({best:.1e} off)"
    )
