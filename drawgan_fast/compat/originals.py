"""What a model does before anything is replaced, in every way in which it is then held to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.conditions import modes_of
from drawgan_fast.compat.contents import Path
from drawgan_fast.compat.discovery import other_batch
from drawgan_fast.compat.probing import converted, untouched
from drawgan_fast.compat.proof import (
    LIMIT_FLOAT64,
    Behaviour,
    Probe,
    behaviour,
    compare,
    differing,
    limits_of,
)
from drawgan_fast.compat.report import Agreement, NotAccelerated
from drawgan_fast.compat.sites import Recording, Site, recording

# Samples of an example by which something can be told, and not at length.
_FEW, _ENOUGH = 3, 16
# Odd, since of even ones the numbers that a generator gives at once and in steps may be the same.
_BATCH, _OTHER = 7, 5
_MANY = 65


@dataclass
class Original:
    """The original's side of a proof.

    Attributes:
        args: of forward, floats in float64.
        dtype: of the parameters.
        runs: a probe, what the original does in it, and how far from that is allowed.
        single: the same of a single sample, None where one does not run.
        modes: by what is given to ``train()``: the modes of all modules then, a probe, a behaviour.
        other: arguments for another batch, None if no other runs.
        most: samples of the largest batch that runs, None if many do.
        counted: whether a number among the arguments that equals the batch size counts it.
        unstable: what differs between two passes that should be the same.
    """

    args: tuple[Any, ...]
    dtype: torch.dtype
    runs: list[tuple[Probe, Behaviour, dict[str, float]]] = field(default_factory=list)
    single: tuple[Probe, Behaviour] | None = None
    modes: dict[bool, tuple[dict[Path, bool], Probe, Behaviour]] = field(default_factory=dict)
    other: tuple[Any, ...] | None = None
    unstable: frozenset[str] = frozenset()
    counted: bool = True
    most: int | None = None

    @property
    def only(self) -> int | None:
        """The one batch size that runs, None if others do."""
        return None if self.other is not None else batch_of(self.args)

    @property
    def odd(self) -> tuple[Any, ...]:
        """Arguments for an odd number of samples, if such a batch runs."""
        if batch_of(self.args) % 2 == 0 and self.other is not None:
            return tuple(converted(arg, torch.float64) for arg in self.other)
        return self.args

    @property
    def behaviours(self) -> list[Behaviour]:
        """All of them in the mode in which the model is."""
        single = [] if self.single is None else [self.single[1]]
        return [run for _, run, _ in self.runs] + single

    @property
    def changed(self) -> set[Path]:
        """Attributes that a forward pass sets, in whatever mode."""
        every = [*self.behaviours, *(run for _, _, run in self.modes.values())]
        return set().union(*(run.changed for run in every))

    def agreement(self, model: nn.Module) -> list[Agreement]:
        """Hold the model as it is now against it, in its own mode.

        Raises:
            NotAccelerated: they differ.
        """
        found = []
        for probe, truth, limits in self.runs:
            ours = behaviour(model, probe)
            found += compare(truth, ours, probe.what, limits, self.unstable)
        return found

    def difference_of_one(self, model: nn.Module) -> bool:
        """Whether a single sample is something else, as where somebody squeezes it away."""
        if self.single is None:
            return True
        probe, truth = self.single
        return not _agree(model, probe, truth, self.unstable)

    def disagreeing_modes(self, model: nn.Module) -> list[bool]:
        """What, given to ``train()``, makes the model differ from the original."""
        return [
            flag
            for flag, (_, probe, truth) in self.modes.items()
            if not _agree(model, probe, truth, self.unstable)
        ]


def _agree(model: nn.Module, probe: Probe, truth: Behaviour, without: frozenset[str]) -> bool:
    try:
        compare(truth, behaviour(model, probe), probe.what, _exact(), without)
    except Exception:  # it raises where the original does not
        return False
    return True


def _exact() -> dict[str, float]:
    return dict.fromkeys(("outputs", "gradients"), LIMIT_FLOAT64)


def observe(model: nn.Module, args: tuple[Any, ...]) -> Original:
    """Run a model in every way that it is to be held to.

    Raises:
        NotAccelerated: it does not run in float64, or differently each time.
    """
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    double = torch.float64
    # A number that equals the batch counts it where nothing else will do.
    B = batch_of(args)
    uncounted = other_batch(args, B + 1, 5, counted=False)
    numbers = any(type(arg) is int and arg == B for arg in args)
    counted = not (numbers and uncounted is not None and _runs(model, Probe("", uncounted, double)))
    more = other_batch(args, _BATCH, 5, counted)
    awkward = not _FEW <= batch_of(args) <= _ENOUGH
    if more is not None and awkward and _runs(model, Probe("", more, double)):
        args = more
    found = Original(tuple(converted(arg, double) for arg in args), dtype, counted=counted)
    first = Probe("float64", args, double)
    try:
        truth = behaviour(model, first)
    except Exception as error:  # whatever another's code may raise
        raise NotAccelerated(
            "nothing was changed: in float64, in which probes run, forward raises "
            f"{type(error).__name__}: {error}"
        ) from error
    found.unstable = differing(behaviour(model, first), truth)
    tensors = [name for name in found.unstable if isinstance(truth.outputs.get(name), Tensor)]
    if tensors:
        raise NotAccelerated(
            f"nothing was changed: {tensors[0]!r} differs between two passes from the same seed, "
            "so nothing can be compared with it"
        )
    found.runs.append((first, truth, _exact()))

    B = batch_of(args)
    other = other_batch(args, _OTHER if B != _OTHER else _BATCH, 6, counted)
    probe = None if other is None else Probe("float64, another batch", other, double, seed=1)
    if probe is not None and (run := _runs(model, probe)) is not None:
        found.other = other
        found.runs.append((probe, run, _exact()))
    far = replace(probe or first, what="float64, larger weights and images", moved=3, seed=2)
    for trial in (replace(far, args=_larger(far.args)), far):
        run = _runs(model, trial)
        if run is not None and run.is_finite():
            found.runs.append((trial, run, limits_of(model, trial, run)))
            break
    twice = Probe("float64, second pass", args, double, seed=3, calls=2)
    if (run := _runs(model, twice)) is not None:
        found.runs.append((twice, run, _exact()))
    if found.other is not None:
        many = other_batch(args, _MANY, 9, counted)
        assert many is not None
        plain = Probe("float64, many samples, no gradients", many, double, gradients=False)
        run = _runs(model, plain)
        if run is None:
            found.most = max(B, batch_of(found.other))
        else:
            found.runs.append((plain, run, _exact()))
    one = other_batch(args, 1, 7, counted)
    if one is not None and B != 1:
        single = Probe("float64, one sample", one, double, seed=4)
        run = _runs(model, single)
        found.single = None if run is None else (single, run)
    if dtype != double:
        kind = Probe(str(dtype).removeprefix("torch."), args, dtype)
        run = behaviour(model, kind)
        found.runs.append((kind, run, limits_of(model, kind, run)))
    for flag in (True, False):
        with untouched(model, double):
            before = modes_of(model)
            model.train(flag)
            after = modes_of(model)
        probe = replace(first, what="float64, " + ("train()" if flag else "eval()"), training=flag)
        if after != before and (run := _runs(model, probe)) is not None:
            found.modes[flag] = (after, probe, run)
    return found


def _runs(model: nn.Module, probe: Probe) -> Behaviour | None:
    try:
        return behaviour(model, probe)
    except Exception:  # whatever another's code may raise
        return None


def _larger(value: Any) -> Any:
    """Images beyond [0, 1]."""
    if isinstance(value, Tensor):
        return 3 * value - 1 if value.is_floating_point() else value
    return tuple(_larger(v) for v in value) if type(value) is tuple else value


def batch_of(args: tuple[Any, ...]) -> int:
    """Samples of the first tensor, 0 if there is none."""
    for arg in args:
        inside = arg if isinstance(arg, (list, tuple)) else (arg,)
        for value in inside:
            if isinstance(value, Tensor) and value.dim() > 0:
                return len(value)
    return 0


def record(
    model: nn.Module, original: Original, sites: list[Site]
) -> tuple[Recording, dict[bool, Recording]]:
    """Watch the passes of a model in its own mode, another batch first, and one in each other mode.

    The tensors that were recorded are gone from the model; only within ``untouched`` it may be
    called again as it was then.
    """
    own = Recording()
    if original.other is not None:
        with recording(model, sites, own):
            model(*(converted(arg, torch.float64) for arg in original.other))
    with recording(model, sites, own):
        model(*original.args)
    others = {}
    for flag in original.modes:
        with untouched(model, torch.float64):
            model.train(flag)
            with recording(model, sites) as others[flag]:
                model(*original.args)
    return own, others
