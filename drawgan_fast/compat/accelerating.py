"""`accelerate`: find, replace, prove, report; or change nothing and say why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.compat.discovery import check_model, possible_shapes, probe_arguments
from drawgan_fast.compat.fused import FusedForward
from drawgan_fast.compat.probing import converted, untouched
from drawgan_fast.compat.proof import Behaviour, behaviour, compare, limits_of
from drawgan_fast.compat.replacements import put_cell_back, replace_cell
from drawgan_fast.compat.report import Agreement, NotAccelerated, Report
from drawgan_fast.compat.sites import Recording, Site, find_sites, recording
from drawgan_fast.compat.whole import fuse as find_whole
from drawgan_fast.compat.windows import Found, Shape, find_window, image_numbers, window_events
from drawgan_fast.nn import LSTMCell


def accelerate(
    model: nn.Module,
    spec: Literal["auto"] | str | AttentionSpec = "auto",
    *,
    fuse: bool = False,
    example: Tensor | tuple[Any, ...] | None = None,
) -> Report:
    """Make somebody else's PyTorch DRAW faster in place, without changing its numbers.

    Finds the model's ``read`` and ``write`` (methods, functions bound in ``__init__`` or
    submodules) by watching a forward pass, decides the convention of their windows by their
    numbers on random hidden states in float64, and puts fused operators in their place; its
    ``nn.LSTMCell`` become :class:`drawgan_fast.nn.LSTMCell` where they stand. Parameters remain
    the same objects, so ``state_dict`` and optimizers stay valid. Then outputs and gradients of
    a whole forward pass are compared with the original's, in float64 and in the model's dtype.

    Args:
        model: changed in place, or left as it is if anything cannot be proved.
        spec: the convention, if only one is to be considered: a preset's name or an
            :class:`AttentionSpec`; ``"auto"`` considers all.
        fuse: run the whole of ``forward`` through ``draw_scan``, for a model that is a standard
            DRAW: encoder LSTM, Gaussian latent, decoder LSTM. It returns and leaves in the model
            what the original does, and draws the same noise from the same seed.
        example: arguments of ``model.forward``, where they are more than one image batch or the
            image's size cannot be read off the model. Only its shapes and types matter.

    Returns:
        A :class:`Report`: what was replaced, what was left and why, the agreement;
        ``report.restore()`` undoes everything.

    Raises:
        NotAccelerated: no DRAW, a window that matches no convention, a model that is accelerated
            already, parameters on several devices, a probe that does not agree. The model is
            unchanged, and the message names the probe and by how much it failed.
        TypeError: ``model`` is no ``nn.Module``.

    Source: DRAW (Gregor et al. 2015); conventions of public implementations: docs/conventions.md.

    >>> from drawgan_fast import nn as parts
    >>> class Small(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.A = self.B = 8
    ...         self.encoder = torch.nn.LSTMCell(2 * 9 + 16, 16)
    ...         self.decoder = torch.nn.LSTMCell(16, 16)
    ...         self.reader = parts.AttentionReader(16, 3, spec="natsu")
    ...         self.writer = parts.AttentionWriter(16, 3, (8, 8), spec="natsu")
    ...     def read(self, x, x_hat, h):
    ...         both = self.reader((x.view(-1, 1, 8, 8), x_hat.view(-1, 1, 8, 8)), h)
    ...         return torch.cat([glimpse.flatten(1) for glimpse in both], 1)
    ...     def write(self, h):
    ...         return self.writer(h).flatten(1)
    ...     def forward(self, x):
    ...         zero = x.new_zeros(len(x), 16)
    ...         enc, dec, canvas = (zero, zero), (zero, zero), torch.zeros_like(x)
    ...         for _ in range(3):
    ...             glimpse = self.read(x, x - torch.sigmoid(canvas), dec[0])
    ...             enc = self.encoder(torch.cat([glimpse, dec[0]], 1), enc)
    ...             dec = self.decoder(enc[0], dec)
    ...             canvas = canvas + self.write(dec[0])
    ...         return canvas
    >>> report = accelerate(Small())
    >>> report.replaced
    ['read', 'write', 'encoder (LSTMCell)', 'decoder (LSTMCell)']
    >>> report.read_spec.eps
    1e-08
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    wanted = None if isinstance(spec, str) and spec == "auto" else resolve_spec(spec)
    check_model(model)
    args = probe_arguments(model, example)
    dtype = next(model.parameters()).dtype
    own = tuple(converted(arg, dtype) for arg in args)

    with untouched(model, torch.float64):
        given = tuple(converted(arg, torch.float64) for arg in args)
        sites = find_sites(model)
        with recording(model, sites) as record:
            try:
                model(*given)
            except Exception as error:  # whatever another's code may raise
                raise NotAccelerated(
                    "nothing was changed: in float64, in which probes run, forward raises "
                    f"{type(error).__name__}: {error}"
                ) from error
        shapes, windows, left = _windows(model, record, given, wanted)
    if fuse:
        with untouched(model, torch.float64):
            whole = find_whole(model, given, *_pair(windows), _shape(windows, shapes, args))
    else:
        whole = None

    truth = {seed: behaviour(model, given, torch.float64, seed=seed) for seed in (0, 1)}
    plain = behaviour(model, own, dtype)
    limits = limits_of(model, own, dtype)
    other_mode = _other_mode(model, given) if fuse else None

    replaced: list[str] = []
    undo: list[Callable[[], None]] = []
    try:
        _replace(model, windows, record, replaced, left, undo)
        if whole is not None:
            # Both modes, until the second is proved or taken back.
            whole.modes = frozenset({True, False})
            undo.append(Site(model, "forward", "forward").put(whole))
            replaced.append("forward (draw_scan)")
        if not replaced:
            raise NotAccelerated("nothing was changed: there is nothing in the model to replace")
        agreement: list[Agreement] = []
        for seed, original in truth.items():
            ours = behaviour(model, given, torch.float64, seed=seed)
            exact = limits_of(model, given, torch.float64)
            agreement += compare(original, ours, f"float64 (seed {seed})", exact)
        if dtype != torch.float64:
            kind = str(dtype).removeprefix("torch.")
            agreement += compare(plain, behaviour(model, own, dtype), kind, limits)
        if whole is not None and other_mode is not None:
            _prove_other_mode(model, whole, given, other_mode, left)
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    read, write = _pair(windows)
    return Report(
        replaced,
        left,
        agreement,
        _shape(windows, shapes, args),
        read.replacement.spec if read else None,
        write.replacement.spec if write else None,
        whole is not None,
        undo,
    )


def _windows(
    model: nn.Module, record: Recording, args: tuple[Any, ...], wanted: AttentionSpec | None
) -> tuple[list[Shape], list[Found], list[str]]:
    """Every read and write with a window, outermost first; and what was left."""
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
    # A method that only serves another one is inside it.
    for site, call in sorted(attentive, key=lambda pair: pair[1].depth):
        inside = any(
            outer.begin <= call.begin and call.end <= outer.end
            for f in found
            for outer in record.calls[f.site]
        )
        if inside:
            continue
        try:
            one = find_window(site, record, shapes, wanted)
        except NotAccelerated as reason:
            raise NotAccelerated(f"nothing was changed: {reason}") from None
        shapes = [one.replacement.image_shape]
        found.append(one)
    return shapes, _agreed(found), left


def _agreed(found: list[Found]) -> list[Found]:
    """One convention each: one that all obey, if there is one, else the first of each."""
    common = [s for s in found[0].specs if all(s in f.specs for f in found)] if found else []
    return [
        replace(f, replacement=replace(f.replacement, spec=(common or f.specs)[0])) for f in found
    ]


def _shape(windows: list[Found], shapes: list[Shape], args: Iterable[Any]) -> Shape:
    if windows:
        return windows[0].replacement.image_shape
    # Without attention nothing depends on how the numbers of an image are arranged.
    x = next(arg for arg in args if isinstance(arg, Tensor))
    return tuple(x.shape[1:]) if x.dim() == 4 else (1, 1, x[0].numel())  # type: ignore[return-value]


def _pair(windows: list[Found]) -> tuple[Found | None, Found | None]:
    read = next((f for f in windows if not f.writes), None)
    write = next((f for f in windows if f.writes), None)
    return read, write


def _replace(
    model: nn.Module,
    windows: list[Found],
    record: Recording,
    replaced: list[str],
    left: list[str],
    undo: list[Callable[[], None]],
) -> None:
    for found in windows:
        undo.append(found.site.put(found.replacement))
        replaced.append(found.site.label)
    used = {id(event.module) for event in record.events}
    for path, module in model.named_modules():
        if isinstance(module, LSTMCell) or not isinstance(module, nn.RNNCellBase):
            continue
        kind = type(module).__name__
        if type(module) is not nn.LSTMCell:
            left.append(f"{path}: a {kind}, of which there is no fused form")
        elif id(module) not in used:
            left.append(f"{path}: forward does not call it, so nothing could be proved")
        else:
            replace_cell(module)
            undo.append(lambda cell=module: put_cell_back(cell))  # type: ignore[misc]
            replaced.append(f"{path} (LSTMCell)")


def _other_mode(model: nn.Module, args: tuple[Any, ...]) -> Behaviour | None:
    try:
        return behaviour(model, args, torch.float64, training=not model.training)
    except Exception:  # whatever another's code may raise
        return None


def _prove_other_mode(
    model: nn.Module,
    whole: FusedForward,
    args: tuple[Any, ...],
    original: Behaviour,
    left: list[str],
) -> None:
    limits = limits_of(model, args, torch.float64)
    try:
        ours = behaviour(model, args, torch.float64, training=not model.training)
        compare(original, ours, "float64", limits)
    except NotAccelerated:
        whole.modes = frozenset({model.training})
        mode = "eval" if model.training else "training"
        left.append(f"forward in {mode} mode: it computes something else there")
