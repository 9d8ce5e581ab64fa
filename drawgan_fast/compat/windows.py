"""From a recorded call of a read or a write to its replacement."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.contents import is_plain, same, walk
from drawgan_fast.compat.identify import (
    Window,
    identify_measured,
    identify_preset,
    matching,
    nearest_preset,
)
from drawgan_fast.compat.replacements import (
    Arguments,
    FastRead,
    FastWrite,
    LayerAt,
    Replacement,
    grid_points,
    kept,
)
from drawgan_fast.compat.report import NotAccelerated
from drawgan_fast.compat.sites import (
    Call,
    Event,
    Recording,
    Site,
    defaults_of,
    is_float,
    parameter_names,
    positional_count,
)
from drawgan_fast.compat.watching import uncertain

# Standard deviation of the raw numbers that a probe gives a window: ordinary windows, some that
# leave the image, and for each of the five numbers two with an extreme value, so that every
# constant and every limit shows; and of images and patches, most of them and every fourth.
_ORDINARY, _WIDE, _EXTREME = 0.4, 2.0, 12.0
_SAMPLES = 28
_LARGE = 30.0

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """A site with an attention window, and every convention that it obeys."""

    site: Site
    replacement: Replacement
    specs: list[AttentionSpec]

    @property
    def writes(self) -> bool:
        """Whether it is a write."""
        return isinstance(self.replacement, FastWrite)


def window_events(record: Recording, call: Call) -> list[Event]:
    """Calls of a Linear with five outputs inside a call of a site."""
    return [
        e for e in record.of(call) if isinstance(e.module, nn.Linear) and e.module.out_features == 5
    ]


def image_numbers(record: Recording, call: Call) -> int:
    """C·H·W as a call of a site shows it: of what it reads, or of what it gives."""
    hidden = window_events(record, call)[0].inputs[0]
    images = [v for v in call.arguments.values() if is_float(v) and v is not hidden]
    shown = images[0] if images else call.output
    return shown[0].numel()


def find_window(
    site: Site, record: Recording, shapes: list[Shape], wanted: AttentionSpec | None
) -> Found:
    """Decide what a site does and under which convention. Runs inside ``untouched``.

    Args:
        site: was called, and called a Linear with five outputs.
        record: of forward passes.
        shapes: (C, H, W) that the image may have, the likeliest first.
        wanted: the only convention to try; None: all.

    Raises:
        NotAccelerated: it is nothing that ``attention_read`` or ``attention_write`` does.
    """
    call = record.calls[site][-1]
    events = window_events(record, call)
    if len({id(e.module) for e in events}) != 1:
        raise NotAccelerated(f"{site.label} calls {len(events)} layers with five outputs, not one")
    window, hidden = cast(nn.Linear, events[0].module), events[0].inputs[0]
    names = [name for name, value in call.arguments.items() if value is hidden]
    if not names:
        raise NotAccelerated(
            f"{site.label} places its window by a tensor that is none of its arguments"
        )
    images = tuple(name for name, v in call.arguments.items() if is_float(v) and v is not hidden)
    layers = list(
        {id(e.module): e.module for e in record.of(call) if e.module is not window}.values()
    )
    if not is_float(call.output):
        raise NotAccelerated(f"{site.label} gives a {type(call.output).__name__}, not a tensor")
    linears = [layer for layer in (window, *layers) if isinstance(layer, nn.Linear)]
    arguments = _arguments(site, record.calls[site], (names[0], *images), names[0], linears)
    makers: Sequence[Replacement]
    try:
        if layers:
            makers = _writes(site, call, window, layers, names[0], images, shapes, arguments)
        else:
            makers = _reads(site, call, window, names[0], images, shapes, arguments)
    except LookupError as reason:
        raise NotAccelerated(f"{site.label}: {reason}") from None
    trials = [_Trial(site, call, window, names[0], maker) for maker in makers]
    if not trials:
        raise NotAccelerated(
            f"{site.label} gives {list(call.output.shape)} numbers, which is no square grid of an "
            f"image of (C, H, W) in {shapes}"
        )
    searches: tuple[Callable[[Window], list[AttentionSpec]], ...]
    if wanted is None:
        searches = (identify_preset, identify_measured)
    else:
        only = [wanted]
        searches = (lambda window: matching(window, only),)
    for search, trial in itertools.product(searches, trials):
        specs = search(trial.window())
        if specs:
            _certain(site, record, specs)
            return Found(site, trial.replacement, specs)
    if not trials[0].output.isfinite().any():
        raise NotAccelerated(f"{site.label} gives no finite number on any window of the probe")
    if wanted is not None:
        error = min(trial.window().distance(wanted) for trial in trials)
        raise NotAccelerated(
            f"{site.label} does not obey the spec asked for: it is {error:.1e} off"
        )
    name, error = min((nearest_preset(t.window()) for t in trials), key=lambda pair: pair[1])
    raise NotAccelerated(
        f"{site.label} obeys no known convention: under the nearest, {name!r}, its numbers are "
        f"{error:.1e} off (relative, float64)"
    )


def _certain(site: Site, record: Recording, specs: list[AttentionSpec]) -> None:
    """Refuse a site of which agreement on windows proves nothing about all others."""
    doubtful = min((uncertain(record.notes.inside(site), spec) for spec in specs), key=len)
    if doubtful:
        raise NotAccelerated(
            f"{site.label} agrees with a convention on every window tried, but it also calls "
            f"{', '.join(doubtful)}, which no window tried may have reached"
        )


def _arguments(
    site: Site,
    calls: list[Call],
    tensors: tuple[str, ...],
    hidden: str,
    layers: list[nn.Linear],
) -> Arguments:
    """Which calls are of the kind that was seen.

    Raises:
        NotAccelerated: an argument of which nothing can be said.
    """
    defaults = defaults_of(site.function)
    names = parameter_names(site.function)
    others: dict[str, list[Any]] = {}
    counts: dict[str, bool] = {}
    batches = {call.arguments[hidden].shape[0] for call in calls}
    for call in calls:
        if not all(is_float(call.arguments.get(name)) for name in tensors):
            raise NotAccelerated(f"{site.label} is called in different ways by one forward pass")
        if call.arguments.keys() - set(names):
            raise NotAccelerated(f"{site.label} is given more than its parameters name")
        for name in names:
            value = call.arguments.get(name, defaults.get(name))
            if name in tensors or any(value is layer for layer in layers):
                continue
            if isinstance(value, (Tensor, nn.Module)) or _holds_tensors(value):
                raise NotAccelerated(
                    f"{site.label} takes a {type(value).__name__}, {name!r}, which is neither an "
                    "image nor the state that places the window"
                )
            is_count = type(value) is int and value == call.arguments[hidden].shape[0]
            counts[name] = counts.get(name, len(batches) > 1) and is_count
            seen = others.setdefault(name, [])
            if not any(value is v or (is_plain(v) and same(value, v)) for v in seen):
                seen.append(value)
    tails = {
        name: frozenset(tuple(call.arguments[name].shape[1:]) for call in calls) for name in tensors
    }
    return Arguments(
        names,
        positional_count(site.function),
        {name: value for name, value in defaults.items() if name in others},
        tails,
        {name: tuple(kept(v) for v in values) for name, values in others.items()},
        frozenset(name for name, is_count in counts.items() if is_count),
    )


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(item, (Tensor, nn.Module)) for _, item, _ in walk(value))


def _reads(
    site: Site,
    call: Call,
    window: nn.Linear,
    hidden: str,
    images: tuple[str, ...],
    shapes: list[Shape],
    arguments: Arguments,
) -> list[FastRead]:
    place = LayerAt.find(window, site.owner, call.arguments)
    numbers = call.output[0].numel()
    orders = [(images, False)]
    if len(images) == 2:
        orders += [(images[::-1], False), (images, True)]
    if len(images) > 1:  # what is given but not looked at
        orders += [((name,), False) for name in images]
    return [
        FastRead(
            place,
            N,
            AttentionSpec(),
            shape,
            order,
            hidden,
            canvas,
            tuple(call.output.shape[1:]),
            arguments,
        )
        for shape in shapes
        for order, canvas in orders
        if images
        and (N := grid_points(numbers, len(order) * shape[0])) is not None
        and all(call.arguments[name][0].numel() == math.prod(shape) for name in order)
    ]


def _writes(
    site: Site,
    call: Call,
    window: nn.Linear,
    layers: list[nn.Module],
    hidden: str,
    images: tuple[str, ...],
    shapes: list[Shape],
    arguments: Arguments,
) -> list[FastWrite]:
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or len(images) > 1:
        return []
    return [
        FastWrite(
            LayerAt.find(window, site.owner, call.arguments),
            LayerAt.find(layers[0], site.owner, call.arguments),
            N,
            AttentionSpec(),
            shape,
            hidden,
            images[0] if images else None,
            tuple(call.output.shape[1:]),
            arguments,
        )
        for shape in shapes
        if (N := grid_points(layers[0].out_features, shape[0])) is not None
        and call.output[0].numel() == math.prod(shape)
    ]


class _Trial:
    """One way to understand a site, and its numbers under windows of our choice."""

    def __init__(
        self,
        site: Site,
        call: Call,
        window: nn.Linear,
        hidden: str,
        replacement: Replacement,
    ) -> None:
        self.site, self.call, self.replacement = site, call, replacement
        B, K = call.arguments[hidden].shape
        weight = window.weight
        self.generator = torch.Generator("cpu").manual_seed(20)
        params, self.ordinary = self._targets(-(-_SAMPLES // B) * B)
        # The first five units are the five numbers; what other layers see of the state is random.
        # `untouched` lets us have these weights.
        hiddens = self._randn(len(params), max(K, 5)).to(weight)
        large = torch.arange(len(params), device="cpu") % 4 == 3
        hiddens[large.to(weight.device)] *= _LARGE
        hiddens[:, :5] = params.to(weight)
        self.params = hiddens[:, :5].clone()
        self.ordinary = self.ordinary.to(weight.device)
        with torch.no_grad():
            weight.copy_(torch.eye(5, K, device="cpu").to(weight))
            if window.bias is not None:
                window.bias.zero_()
            if K < 5:  # then some numbers stay at zero
                self.params[:, K:] = 0
        self.batches = []
        for state, big in zip(hiddens[:, :K].split(B), large.split(B)):
            arguments = {**call.arguments, hidden: state}
            for name, value in call.arguments.items():
                if is_float(value) and name != hidden:
                    image = self._randn(*value.shape)
                    image[big] *= _LARGE
                    arguments[name] = image.to(weight)
            self.batches.append(arguments)
        self.output = self._run(self.site.function)

    def _targets(self, samples: int) -> tuple[Tensor, Tensor]:
        """Raw numbers [samples, 5], and which of them are ordinary windows."""
        params = _ORDINARY * self._randn(samples, 5)
        ordinary = torch.ones(samples, dtype=torch.bool, device="cpu")
        for k in range(10):
            params[k, k % 5] = _EXTREME if k < 5 else -_EXTREME
        params[10:16] *= _WIDE / _ORDINARY
        ordinary[:16] = False
        return params, ordinary

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64, device="cpu")

    def _run(self, function: Callable[..., Any]) -> Tensor:
        with torch.no_grad():
            return torch.cat([function(**given).flatten(1) for given in self.batches])

    def window(self) -> Window:
        """What :func:`identify` looks at."""
        writes = isinstance(self.replacement, FastWrite)
        return Window(
            self.params,
            self.output,
            self.ordinary,
            lambda spec: self._run(self._replaced(spec)),
            self._written if writes else self._read,
            self.replacement.image_shape[1:],
            self.replacement.N,
        )

    def _replaced(self, spec: AttentionSpec) -> Callable[..., Any]:
        """The replacement under a convention, called by name as the original is."""
        candidate = replace(self.replacement, spec=spec)
        return lambda **given: candidate.run(self.site.owner, (), given)

    def _read(self, i: int, j: int) -> Tensor:
        """Gradient of number (i, j) of the first glimpse: γ·F_y[i] ⊗ F_x[j]."""
        assert isinstance(self.replacement, FastRead)
        name = self.replacement.images[0]
        gradients: list[Tensor] = []
        for given in self.batches:
            image = torch.zeros_like(given[name]).requires_grad_()
            output = self.site.function(**{**given, name: image}).flatten(1)
            number = output[:, i * self.replacement.N + j].sum()
            gradients += torch.autograd.grad(number, image)
        return torch.cat(gradients).reshape(-1, *self.replacement.image_shape)[:, 0]

    def _written(self, i: int, j: int) -> Tensor:
        """What a patch of a single one writes: F_y[i] ⊗ F_x[j] / γ."""
        assert isinstance(self.replacement, FastWrite)
        canvas = self.replacement.canvas
        layer = self.replacement.patch.of(self.site.owner, self.call.arguments)
        if layer.bias is None:
            raise NotAccelerated(f"{self.site.label} has a patch layer without bias")
        kept = layer.weight.detach().clone(), layer.bias.detach().clone()
        batches = self.batches
        if canvas is not None:
            batches = [{**given, canvas: torch.zeros_like(given[canvas])} for given in batches]
        try:
            with torch.no_grad():
                layer.weight.zero_()
                layer.bias.zero_()
                layer.bias[i * self.replacement.N + j] = 1
                written = torch.cat([self.site.function(**given) for given in batches])
        finally:
            with torch.no_grad():
                layer.weight.copy_(kept[0])
                layer.bias.copy_(kept[1])
        return written.reshape(-1, *self.replacement.image_shape)[:, 0]
