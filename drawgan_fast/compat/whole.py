"""Whether a model is a standard DRAW, and its forward as one scan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from drawgan_fast import functional as F
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.fused import FusedForward, Layers, Noise, draw_noise
from drawgan_fast.compat.probing import exposed, own_attributes, remember
from drawgan_fast.compat.replacements import FastRead, FastWrite
from drawgan_fast.compat.report import NotAccelerated
from drawgan_fast.compat.sites import Event, Recording, bind, parameter_names, recording
from drawgan_fast.compat.template import Quantities, Unknown, needs_canvases, recipe
from drawgan_fast.compat.windows import Found, Shape
from drawgan_fast.draw_config import DrawConfig

_SEED = 11
_SAME = 1e-9


def fuse(
    model: nn.Module, args: tuple[Any, ...], read: Found | None, write: Found | None, shape: Shape
) -> FusedForward:
    """Find every part of a standard DRAW in a model. Runs inside ``untouched``, in float64.

    Raises:
        NotAccelerated: it is none, and what is different.
    """
    if "forward" in vars(model):
        raise _not_standard("its forward is bound to the instance")
    before = remember(model)
    attributes = own_attributes(model)
    with recording(model, []) as record:
        torch.manual_seed(_SEED)
        returned = model(*args)
    left = exposed(model, before)
    given = bind(model.forward, args, {})
    images = [
        name
        for name, value in given.items()
        if isinstance(value, Tensor) and value[0].numel() == shape[0] * shape[1] * shape[2]
    ]
    if len(images) != 1:
        raise _not_standard(f"its forward takes {len(images)} images")
    x = given[images[0]].reshape(-1, *shape)

    layers, T = _layers(record, read, write)
    spec = _one_spec(read, write)
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
    layers, noise, eps = _posterior(record, layers, T, x.shape[0])
    try:
        out = F.draw_scan(x, eps, layers.weights(), cfg, trace=True)
    except ValueError as error:
        raise _not_standard(f"a weight has another shape ({error})") from None
    assert out.trace is not None
    q = Quantities(out.mu, out.log_sigma, out.canvas, out.trace.canvases[:-1], x.shape[0])
    try:
        result = recipe(returned, q, "the result of forward")
        recipes = {name: recipe(value, q, f"model.{name}") for name, value in left.items()}
    except Unknown as reason:
        raise _not_standard(str(reason)) from None
    in_place = {
        name
        for name, value in left.items()
        if isinstance(value, list) and value is attributes.get(name)
    }
    settings = {
        name: value
        for name, value in attributes.items()
        if isinstance(value, (int, float, str, bool)) and name not in left and name != "training"
    }
    return FusedForward(
        model,
        layers,
        cfg,
        T,
        noise,
        parameter_names(model.forward),
        images[0],
        result,
        recipes,
        frozenset(in_place),
        any(needs_canvases(part, T) for part in (result, *recipes.values())),
        settings,
        frozenset({model.training}),
    )


def _not_standard(reason: str) -> NotAccelerated:
    return NotAccelerated(
        f"nothing was changed: the model is no DRAW that draw_scan computes, {reason}; "
        "fuse=False replaces its parts"
    )


def _one_spec(read: Found | None, write: Found | None) -> AttentionSpec | None:
    """One convention for both windows; they may differ in what belongs to one of them."""
    if read is None and write is None:
        return None
    if read is None or write is None:
        raise _not_standard("one of read and write has a window and the other has none")
    for r in read.specs:
        for w in write.specs:
            joined = replace(r, write_axes=w.write_axes, gamma_on_write=w.gamma_on_write)
            if joined == replace(w, read_axes=r.read_axes):
                return joined
    raise _not_standard(f"its read obeys {read.specs[0]} and its write {write.specs[0]}")


def _layers(record: Recording, read: Found | None, write: Found | None) -> tuple[Layers, int]:
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
        raise _not_standard(f"its posterior is made of {len(between)} layers, not of one or two")
    mu, log_sigma = heads[0].module, heads[-1].module
    assert isinstance(mu, nn.Linear)
    assert isinstance(log_sigma, nn.Linear)
    if write is not None:
        assert isinstance(write.replacement, FastWrite)
        patch = write.replacement.patch
    else:
        patch = _whole_image_patch(record.events, cells)
    windows = []
    for found in (read, write):
        window = None if found is None else found.replacement.window
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
        patch,  # type: ignore[arg-type]
    )
    return layers, T


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
    best = float("inf")
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
                best = min(best, error)
                if error <= _SAME:
                    return replace(found, log_sigma_scale=scale), kind, eps.detach()
    raise _not_standard(
        f"its z is not mu + sigma * noise, drawn once a step or once for all steps ({best:.1e} off)"
    )
