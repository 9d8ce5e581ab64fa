"""The conditions under which a proof holds, and the check that they hold now.

A proof held fixed whatever the model's code looked at: settings wherever they live, modes, layers,
functions, globals. :class:`Conditions` notes all of it, free of any one model, so that copies can
be held against it, and asks of a model, each time before a replacement runs, whether it still says
the same. The first answer for a model is worked out in full; later ones compare identities, a few
microseconds, and only where one differs is it worked out again.
"""

from __future__ import annotations

import types
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import is_, itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast.compat.contents import (
    MISSING,
    Path,
    Snapshot,
    Step,
    class_of,
    follow,
    has_attributes,
    is_by_somebody,
    module_paths,
    own_attributes,
    same,
    written,
)
from drawgan_fast.compat.settings import Outside

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SMALL = 64
_GLOBAL_HOOKS = tuple(
    getattr(torch.nn.modules.module, f"_global{name}")
    for name in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
)


def shared_paths(model: nn.Module) -> dict[Path, Path]:
    """Every further path that leads to a module, and the first."""
    first: dict[int, Path] = {}
    found: dict[Path, Path] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        here = tuple(("attribute", name) for name in path.split(".")) if path else ()
        if first.setdefault(id(module), here) != here:
            found[here] = first[id(module)]
    return found


def modes_of(model: nn.Module) -> dict[Path, bool]:
    """``training`` of every module."""
    return {path: module.training for path, module in module_paths(model).items()}


# What DataParallel leaves in a replica, whose parameters are attributes.
_OF_REPLICAS = frozenset({"_former_parameters", "_is_replica"})


@dataclass(frozen=True)
class Layer:
    """What a module was, and for one of torch's the names of all that hung on it.

    Attributes:
        kind: its class.
        children: names of a container's modules.
        attributes: names of all attributes and parameters.
        absent: what only its class gave it, and what the instance therefore must not have: its
            forward, and whatever methods of it were looked at.
    """

    kind: type
    children: tuple[str, ...] | None
    attributes: frozenset[str] | None
    absent: frozenset[str] = frozenset()

    @classmethod
    def of(cls, module: nn.Module, read: Iterable[str] = ()) -> Layer:
        """Note it, and that of what was read the class gave what the instance does not have."""
        kind = class_of(module)
        if is_by_somebody(kind):
            own = vars(module).keys() | module._buffers.keys()
            own |= module._modules.keys() | module._parameters.keys()
            return cls(kind, None, None, frozenset({"forward", *read}) - own)
        own = own_attributes(module).keys() | module._parameters.keys()
        return cls(kind, tuple(module._modules), frozenset(own - _OF_REPLICAS))

    def difference(self, module: Any) -> str | None:
        """What is other about a module; None if it is such a layer."""
        if not isinstance(module, nn.Module):
            return "is gone"
        now = Layer.of(module)
        if now.kind is not self.kind:
            return f"is a {now.kind.__name__}"
        if (now.children, now.attributes) != (self.children, self.attributes):
            return "has other contents"
        given = self.absent & (vars(module).keys() | module._modules.keys())
        return f".{min(given)} is its own" if given else None


# Of torch's modules those that compute the same in every mode.
_MODELESS = (
    *(nn.Linear, nn.Bilinear, nn.RNNCellBase, nn.Identity, nn.Embedding, nn.Flatten, nn.Unflatten),
    *(nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict),
    *(nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus),
    *(nn.Softmax, nn.LogSoftmax, nn.LayerNorm, nn.Conv2d, nn.ConvTranspose2d),
)


def has_modes(module: nn.Module, read: Iterable[str]) -> bool:
    """Whether ``training`` makes a difference to a module, as far as anybody can say."""
    if is_by_somebody(class_of(module)):
        return "training" in read
    return not isinstance(module, _MODELESS)


@dataclass(eq=False)
class Conditions:
    """What a proof held fixed, relative to one module.

    Attributes:
        layers: the modules that were looked at or called.
        shared: further paths to them, and the first.
        settings: what was read and what it said.
        outside: the same of places that no model owns.
        moded: paths of the modules to which their mode makes a difference.
        modes: combinations of their ``training`` that were proved.
        silent: paths of modules that the original calls and the replacement does not, so that a
            hook on them must bring the original back.
    """

    layers: dict[Path, Layer]
    shared: dict[Path, Path]
    settings: Snapshot
    outside: tuple[Outside, ...]
    moded: tuple[Path, ...]
    modes: set[tuple[bool, ...]]
    silent: frozenset[Path]
    _known: weakref.WeakKeyDictionary[nn.Module, _Known] = field(
        default_factory=weakref.WeakKeyDictionary
    )
    _in_graph: tuple[tuple[Any, Snapshot] | None, ...] | None = None

    def __post_init__(self) -> None:
        self._places()

    def broken(self, model: nn.Module) -> str | None:
        """Why the proof says nothing of a model as it is now; None where it holds."""
        known = self._known.get(model)
        if known is None or not known.unchanged():
            reason = self._difference(model)
            if reason is not None:
                return reason
            known = self._known[model] = _Known(self, model)
        if tuple([mapping["training"] for mapping in known.moded]) not in self.modes:
            return "it is in a mode that was not proved"
        if any(known.hooks):
            return "a layer that would not be called has a hook"
        return None

    def holds_in_graph(self, model: nn.Module) -> bool:
        """Whether it holds, for a compiler that traces it: plain comparisons become its guards."""
        for path, layer in self.layers.items():
            module = _attribute_of(model, path)
            if layer.attributes is not None and type(module) is not layer.kind:
                return False
            if "forward" in module.__dict__:
                return False
            if path in self.silent:
                for name in _HOOKS:
                    if len(getattr(module, name)) > 0:
                        return False
        modes = [_attribute_of(model, path).training for path in self.moded]
        if tuple(modes) not in self.modes:
            return False
        for place in self._places():
            if place is None:
                return False
            holder, then = place
            if not then.holds_in_graph(holder):
                return False
        # A tensor's numbers no graph can look at, so that the original runs where they matter.
        return self.settings.holds_in_graph(model)

    def _places(self) -> tuple[tuple[Any, Snapshot] | None, ...]:
        """Modules and classes with the data that was read of them; None for what no graph asks."""
        if self._in_graph is None:
            self._in_graph = tuple(place.for_graph() for place in self.outside if place.has_data())
        return self._in_graph

    def _difference(self, model: nn.Module) -> str | None:
        for path, layer in self.layers.items():
            other = layer.difference(follow(model, path))
            if other is not None:
                space = "" if other.startswith(".") else " "
                return f"model{written(path)}{space}{other}"
        if self.shared.items() - shared_paths(model).items():
            return "its modules are shared in another way"
        changed = self.settings.difference(model)
        if changed is not None:
            return f"model{written(changed)} has changed"
        for place in self.outside:
            changed = place.then.difference(place.now())
            if changed is not None:
                return f"{written(changed)} of {place.called()} has changed"
        return None

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in vars(self).items() if k not in ("_known", "_in_graph")}
        # A function without a name no pickle takes; the model that is pickled has none either.
        leaves = {p: v for p, v in self.settings.leaves.items() if not _is_nameless(v)}
        return kept | {"settings": Snapshot(leaves, self.settings.containers)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _known=weakref.WeakKeyDictionary(), _in_graph=None)
        self._places()


def _is_nameless(value: Any) -> bool:
    return isinstance(value, types.FunctionType) and "<" in value.__qualname__


def _attribute_of(value: Any, path: Path) -> Any:
    for _, name in path:
        value = getattr(value, name)
    return value


class _Known:
    """Where a model that has been looked at keeps what it was asked about, and which objects."""

    def __init__(self, conditions: Conditions, model: nn.Module) -> None:
        modules = {path: follow(model, path) for path in conditions.layers}
        self.moded = [vars(modules[path]) for path in conditions.moded]
        silent = [modules[path] for path in conditions.silent]
        self.hooks = [getattr(m, name) for m in silent for name in _HOOKS]
        self.hooks += list(_GLOBAL_HOOKS) if silent else []
        # (a dictionary, how many it holds or None, what gives its values, these values)
        self.mappings: list[tuple[Any, int | None, Any, tuple[Any, ...]]] = []
        self.sequences: list[tuple[Any, tuple[Any, ...]]] = []
        self.attributes: list[tuple[Any, str, Any]] = []
        self.tensors: list[tuple[Tensor, int]] = []
        # Of small ones the numbers too: ``.data`` changes them and counts no version.
        self.numbers: list[tuple[Tensor, Tensor]] = []
        self.mutable: list[tuple[Any, Any]] = []
        children: dict[Path, list[Any]] = {}
        for path in (*conditions.layers, *conditions.shared):
            if path:
                children.setdefault(path[:-1], []).append(path[-1][1])
        for path, names in children.items():
            self._some(follow(model, path)._modules, names, whole=False)
        for path, layer in conditions.layers.items():
            module = modules[path]
            self._size(vars(module))
            if layer.attributes is not None:
                self._size(module._parameters)
                self._size(module._modules)
        self._contents(model, conditions.settings)
        for place in conditions.outside:
            self._contents(place.now(), place.then)

    def unchanged(self) -> bool:
        """Whether every one of them is the same object as then."""
        for mapping, size, get, values in self.mappings:
            if size is not None and len(mapping) != size:
                return False
            try:
                if not all(map(is_, get(mapping), values)):
                    return False
            except KeyError:
                return False
        for sequence, values in self.sequences:
            if len(sequence) != len(values) or not all(map(is_, sequence, values)):
                return False
        for holder, name, value in self.attributes:
            if getattr(holder, name, MISSING) is not value:
                return False
        try:
            for tensor, version in self.tensors:
                if tensor._version != version:
                    return False
            for tensor, then in self.numbers:
                if not torch.equal(tensor, then):
                    return False
        except RuntimeError:  # an inference tensor counts no versions
            return False
        return all(same(now, then) for now, then in self.mutable)

    def _size(self, mapping: Any) -> None:
        self.mappings.append((mapping, len(mapping), _nothing, ()))

    def _some(self, mapping: Any, keys: list[Any], *, whole: bool) -> None:
        size = len(mapping) if whole else None
        if not keys:
            get: Any = _nothing
        elif len(keys) == 1:
            get = _One(keys[0])
        else:
            get = itemgetter(*keys)
        self.mappings.append((mapping, size, get, tuple(get(mapping))))

    def _contents(self, root: Any, snapshot: Snapshot) -> None:
        names: dict[Path, list[Step]] = {}
        for path in (*snapshot.leaves, *snapshot.containers):
            if path:
                names.setdefault(path[:-1], []).append(path[-1])
        for path in snapshot.containers:
            names.setdefault(path, [])
        for path, steps in names.items():
            holder = follow(root, path)
            whole = path in snapshot.containers
            keys = [name for _, name in steps]
            if isinstance(holder, nn.Module):
                self._module(holder, keys)
            elif isinstance(holder, (list, tuple, deque)):
                self.sequences.append((holder, tuple(holder)))
            else:
                items = [name for kind, name in steps if kind == "item"]
                if isinstance(holder, (dict, types.MappingProxyType)):
                    self._some(holder, items, whole=whole)
                own = getattr(holder, "__dict__", {}) if has_attributes(holder) else {}
                named = [name for kind, name in steps if kind == "attribute"]
                self._some(own, [n for n in named if n in own], whole=whole)
                # A slot, a class's, a partial's, a cell's.
                others = [n for n in named if n not in own]
                self.attributes += [(holder, n, getattr(holder, n, MISSING)) for n in others]
        for path, then in snapshot.leaves.items():
            now = follow(root, path)
            if isinstance(then, Tensor):
                self.tensors.append((now, _version(now)))
                if now.device.type == "cpu" and now.numel() <= _SMALL:
                    self.numbers.append((now, then))
            elif isinstance(then, (np.ndarray, set)):
                self.mutable.append((now, then))

    def _module(self, module: nn.Module, keys: list[Any]) -> None:
        own = vars(module)
        for held in (own, module._buffers, module._parameters):
            here = [key for key in keys if key in held and not _is_own_method(held[key], module)]
            if here:
                self._some(held, here, whole=False)
        absent = [k for k in keys if not (k in own or k in module._buffers)]
        absent = [k for k in absent if k not in module._parameters]
        if absent:  # of its class, or nowhere: whatever comes makes one of these longer
            self._size(vars(module))
            self._size(module._buffers)
            self.attributes += [
                (type(module), key, getattr(type(module), key))
                for key in absent
                if hasattr(type(module), key)
            ]


def _is_own_method(value: Any, module: nn.Module) -> bool:
    """A method of a module bound to it would keep it alive for ever; it is what its class has."""
    return isinstance(value, types.MethodType) and value.__self__ is module


class _One:
    """``itemgetter`` of one key, as a tuple."""

    def __init__(self, key: Any) -> None:
        self.get = itemgetter(key)

    def __call__(self, mapping: Any) -> tuple[Any]:
        return (self.get(mapping),)


def _nothing(mapping: Any) -> tuple[()]:
    return ()


def _version(tensor: Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:
        return -1
