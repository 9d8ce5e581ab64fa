"""How replacements stand in a model: its class becomes one that asks the proof before each call.

A class, not attributes of the instance, since a method is given the model it was called on: deep,
shallow and unpickled copies and the replicas of ``DataParallel`` use their own parameters.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from drawgan_fast.compat.conditions import Conditions
from drawgan_fast.compat.contents import MISSING, Path, follow, subclass_unnoticed
from drawgan_fast.compat.fused import FusedForward
from drawgan_fast.compat.replacements import Replacement

Key = tuple[Path, str]
"""A method: the path of the module that owns it, and its name."""

_log = logging.getLogger("drawgan_fast")


@dataclass
class Part:
    """A method's replacement, and the conditions of its proof.

    Attributes:
        replacement: what runs.
        in_forward: asked of the model when a forward pass begins.
        volatile: whether some code could change what they ask while the pass is under way, so that
            they are asked at each call.
        alone: asked of the owner in a call that no forward pass of the model makes
            (``model.generate()``); None where they depend on more than the owner.
    """

    replacement: Replacement
    in_forward: Conditions | None = None
    volatile: bool = True
    alone: Conditions | None = None


@dataclass(eq=False)
class Proof:
    """What was proved of a model, and under which conditions. It belongs to no one model.

    Attributes:
        parts: replaced methods.
        whole: the fused forward, if there is one.
        whole_conditions: of the fused forward.
        proving: everything runs, unconditionally, and is counted.
        ran: how often what has run, while it is being proved.
        reasons: why the original ran, and how often.
    """

    parts: dict[Key, Part]
    whole: FusedForward | None = None
    whole_conditions: Conditions | None = None
    proving: bool = True
    ran: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    _local: threading.local = field(default_factory=threading.local)
    _classes: dict[tuple[type, Path], type] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> Proof:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_local", "_classes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _local=threading.local(), _classes={})

    def forward(
        self, model: nn.Module, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """A model's forward pass."""
        if torch.compiler.is_compiling():
            # A graph asks once, while it is traced; the compiler guards what was looked at.
            conditions = self.whole_conditions
            if (
                self.whole is not None
                and conditions is not None
                and conditions.holds_in_graph(model)
            ):
                result = self.whole.run(model, args, kwargs)
                if result is not NotImplemented:
                    return result
            return original(*args, **kwargs)
        if self.whole is not None:
            reason = None if self.proving else self._broken(self.whole_conditions, model)
            if reason is None:
                result = self.whole.run(model, args, kwargs)
                if result is not NotImplemented:
                    if self.proving:
                        self.ran["forward"] += 1
                    return result
                reason = "such a call was not proved"
            self.note(reason)
        outer = getattr(self._local, "run", None)
        verdicts: dict[Key, str | None] = {}
        if not self.proving:
            verdicts = {key: self._broken(p.in_forward, model) for key, p in self.parts.items()}
        self._local.run = (weakref.ref(model), verdicts)
        try:
            return original(*args, **kwargs)
        finally:
            self._local.run = outer

    def part(
        self, owner: nn.Module, key: Key, original: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """A call of a replaced method."""
        part = self.parts.get(key)
        if part is not None and self._may_run(owner, key, part):
            result = part.replacement.run(owner, args, kwargs)
            if result is not NotImplemented:
                if self.proving:
                    self.ran[label(key)] += 1
                return result
            self.note(f"{label(key)}: such a call was not proved")
        return original(*args, **kwargs)

    def _may_run(self, owner: nn.Module, key: Key, part: Part) -> bool:
        if torch.compiler.is_compiling():
            return part.alone is not None and part.alone.holds_in_graph(owner)
        if self.proving:
            return True
        reason = self._reason(owner, key, part)
        if reason is not None:
            self.note(f"{label(key)}: {reason}")
        return reason is None

    def _reason(self, owner: nn.Module, key: Key, part: Part) -> str | None:
        """Why a part may not run now; None if it may."""
        run = getattr(self._local, "run", None)
        if run is not None:
            model, verdicts = run[0](), run[1]
            # A copy's pass may call another copy's methods.
            if follow(model, key[0]) is owner:
                if part.volatile and verdicts[key] is None:
                    return self._broken(part.in_forward, model)
                return cast("str | None", verdicts[key])
        return self._broken(part.alone, owner)

    def _broken(self, conditions: Conditions | None, module: nn.Module) -> str | None:
        if conditions is None:
            return "its conditions can only be checked in a forward pass of the model"
        return conditions.broken(module)

    def note(self, reason: str) -> None:
        """Count a reason, and say it the first time. A graph that is traced says nothing."""
        if not self.proving and not torch.compiler.is_compiling():
            self.reasons[reason] += 1
            if self.reasons[reason] == 1:
                _log.warning("the model's original code runs: %s", reason)


def label(key: Key) -> str:
    """A method as its author would write it."""
    return ".".join([*(name for _, name in key[0]), key[1]])


def install(model: nn.Module, proof: Proof) -> Callable[[], None]:
    """Put a proof's replacements into a model; returns what undoes that."""
    places = {path for path, _ in proof.parts} | {()}
    before: list[tuple[nn.Module, type, type]] = []
    for path in places:
        module = follow(model, path)
        own, made = type(module), _class_for(type(module), proof, path)
        module.__class__ = made
        before.append((module, own, made))

    def undo() -> None:
        for module, own, made in before:
            if type(module) is made:
                module.__class__ = own
            elif issubclass(type(module), made):
                raise RuntimeError(
                    f"{own.__name__} cannot be put back: its class is {type(module).__name__} by "
                    "now, which is built on the accelerated one (a parametrisation?); remove that "
                    "first, and call restore() again"
                )

    return undo


def proof_in(module: nn.Module) -> Proof | None:
    """The proof by which a module is accelerated, None if it is not."""
    return getattr(type(module), "_drawgan_proof", None)


def _class_for(own: type, proof: Proof, path: Path) -> type:
    made = proof._classes.get((own, path))
    if made is not None:
        return made
    names = {name for place, name in proof.parts if place == path}
    body: dict[str, Any] = {
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "__doc__": own.__doc__,
        "__reduce_ex__": _reduce,
        "_drawgan_proof": proof,
        "_drawgan_place": (own, path),
    }
    for name in sorted(names | ({"forward"} if path == () else set())):
        key = (path, name)
        if inspect.getattr_static(own, name, MISSING) is MISSING:
            body[name] = _Bound(proof, key)
        elif path == () and name == "forward" and key not in proof.parts:
            body[name] = _forward(own, proof)
        else:
            body[name] = _method(own, proof, key)
    made = subclass_unnoticed(own, body)
    proof._classes[(own, path)] = made
    return made


def _forward(own: type, proof: Proof) -> Callable[..., Any]:
    original: Any = inspect.getattr_static(own, "forward")

    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        above: Any = super(_made(proof, own, ()), self)
        return proof.forward(self, above.forward, args, kwargs)

    return forward


def _method(own: type, proof: Proof, key: Key) -> Any:
    @functools.wraps(getattr(own, key[1]))
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        above: Any = super(_made(proof, own, key[0]), self)
        original = getattr(above, key[1])
        return proof.part(self, key, original, args, kwargs)

    return method


def _made(proof: Proof, own: type, path: Path) -> Any:
    return proof._classes[(own, path)]


class _Bound:
    """Stands for a function that a model's author bound to the instance, which stays there."""

    def __init__(self, proof: Proof, key: Key) -> None:
        self.proof, self.key = proof, key

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        name = self.key[1]
        if owner is None:
            raise AttributeError(name)
        own = vars(owner).get(name, owner._modules.get(name, MISSING))
        if own is MISSING:
            raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")
        if isinstance(own, nn.Module):
            return own

        @functools.wraps(own)
        def bound(*args: Any, **kwargs: Any) -> Any:
            return self.proof.part(owner, self.key, own, args, kwargs)

        return bound

    def __set__(self, owner: Any, value: Any) -> None:
        vars(owner)[self.key[1]] = value

    def __delete__(self, owner: Any) -> None:
        del vars(owner)[self.key[1]]


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle and copy as the model's own class does, and become accelerated again."""
    made: Any = next(kind for kind in type(self).__mro__ if "_drawgan_place" in vars(kind))
    own, path = made._drawgan_place
    reduced = super(made, self).__reduce_ex__(protocol)
    if not isinstance(reduced, tuple) or len(reduced) < 2 or made not in reduced[1]:
        return reduced
    args = tuple(own if arg is made else arg for arg in reduced[1])
    return (_again, (made._drawgan_proof, path, reduced[0], args), *reduced[2:])


def _again(proof: Proof, path: Path, make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    made = make(*args)
    made.__class__ = _class_for(type(made), proof, path)
    return made
