"""What hangs on a model: every value that its code could look at, by where it stands."""

from __future__ import annotations

import argparse
import builtins
import enum
import functools
import os
import random
import sys
import sysconfig
import types
from collections import UserDict, UserList, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.draw_config import DrawConfig

# What nn.Module keeps of its own in an instance; the rest is the model's author's.
INTERNAL = frozenset(nn.Module().__dict__)

# ("attribute", name) or ("item", index or key).
Step = tuple[str, Any]
Path = tuple[Step, ...]

PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), range, slice, enum.Enum, np.generic),
    *(frozenset, torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout),
)
"""Values that say all there is to say of them."""

_SEQUENCES = (list, tuple, deque)
_NAMESPACES = (types.SimpleNamespace, argparse.Namespace, UserDict, UserList)
_HEAP_TYPE = 1 << 9  # made by a class statement
_NOBODYS = frozenset({"torch", "numpy", "drawgan_fast"}) | (sys.stdlib_module_names - {"__main__"})

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""What draws numbers of its own."""


class Missing:
    """Stands for a value that is not there; there is one, also after pickling."""

    def __reduce__(self) -> str:
        return "MISSING"

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


@functools.cache
def _library_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(os.path.join(sysconfig.get_path(name), "") for name in names)


def is_somebodys(module_name: str | None) -> bool:
    """Whether a Python module is the model's author's: not torch's, NumPy's, Python's or ours.

    A file of one's own may have the name of one of Python's.

    >>> is_somebodys("draw_model"), is_somebodys("torch.nn.functional"), is_somebodys("random")
    (True, False, False)
    """
    if module_name is None:  # what was executed without a module
        return True
    top = module_name.split(".")[0]
    if top in _NOBODYS:
        return False
    if top in sys.stdlib_module_names and top != "__main__":
        file = getattr(sys.modules.get(top), "__file__", None)
        return file is not None and not file.startswith(_library_folders())
    return True


def is_by_somebody(kind: type) -> bool:
    """Whether a class is the model's author's; one that was executed without a module, too."""
    written = kind.__flags__ & _HEAP_TYPE and not hasattr(builtins, kind.__name__)
    loose = kind.__module__ == "builtins" and written
    return is_somebodys(None if loose else kind.__module__)


def is_installed(module_name: str) -> bool:
    """Whether a Python module lies among installed libraries.

    >>> is_installed("hypothesis_of_nobody"), is_installed("torch")
    (False, True)
    """
    module = sys.modules.get(module_name.split(".")[0])
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return origin is not None and origin.startswith(_library_folders())


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Instance attributes that are not nn.Module's own bookkeeping."""
    return {name: value for name, value in vars(module).items() if name not in INTERNAL}


def class_of(module: nn.Module) -> type:
    """A module's class as its author wrote it, accelerated or not."""
    place = vars(type(module)).get("_drawgan_place")
    return type(module) if place is None else place[0]


def subclass_unnoticed(own: type, body: dict[str, Any]) -> type:
    """A subclass of the same name, without calling what its author calls of each subclass."""
    made = type.__new__(type(own), own.__name__, (nn.Module,), body)
    made.__bases__ = (own,)
    return made


def is_plain(value: Any) -> bool:
    """Whether a value says all there is to say of it."""
    return isinstance(value, PLAIN)


def has_attributes(value: Any) -> bool:
    """Whether a value is an object of somebody's class whose attributes are its contents."""
    return isinstance(value, _NAMESPACES) or (
        is_by_somebody(type(value))
        and not isinstance(value, (nn.Module, Tensor, type, types.ModuleType, types.FunctionType))
    )


def children(value: Any) -> list[tuple[Step, Any]]:
    """The contents of a container, by the step that leads there; nothing for anything else.

    Of a module: its author's attributes, its buffers and its submodules, but no parameter, which
    training changes. Of an object what its class gives it too, and of a class the same.

    >>> children({"a": 1, "b": [2]})
    [(('item', 'a'), 1), (('item', 'b'), [2])]
    """
    if isinstance(value, nn.Module):
        named = {**own_attributes(value), **value._buffers, **value._modules}
        return _named(named)
    if isinstance(value, type):
        return _named(_of_classes(value)) if is_by_somebody(value) else []
    found: list[tuple[Step, Any]] = []
    if isinstance(value, dict):
        found = [(("item", key), item) for key, item in value.items()]
    elif isinstance(value, _SEQUENCES) and not is_plain(value):
        found = [(("item", i), item) for i, item in enumerate(value)]
    elif isinstance(value, functools.partial):
        return _named({n: getattr(value, n) for n in ("func", "args", "keywords")})
    elif isinstance(value, types.MethodType):
        # Whose method it is belongs to its contents, unless it is a module's own.
        owner = value.__self__
        of_module = isinstance(owner, (nn.Module, type))
        return _named({"__func__": value.__func__} | ({} if of_module else {"__self__": owner}))
    if has_attributes(value) and not is_plain(value):
        found += _named(_of_classes(type(value)) | _of_instance(value))
    return found


def _named(attributes: dict[str, Any]) -> list[tuple[Step, Any]]:
    return [(("attribute", name), item) for name, item in attributes.items()]


def _of_classes(kind: type) -> dict[str, Any]:
    """What somebody's classes give their instances to look at, and is no code."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if is_by_somebody(base) and "_drawgan_place" not in vars(base):
            for name, value in vars(base).items():
                shown = is_plain(value) or isinstance(value, (Tensor, set, np.ndarray, *_SEQUENCES))
                if not name.startswith("__") and (shown or isinstance(value, dict)):
                    found[name] = value
    return found


def _of_instance(value: Any) -> dict[str, Any]:
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return found | dict(getattr(value, "__dict__", {}))


def _slots(kind: type) -> tuple[str, ...]:
    given = vars(kind).get("__slots__", ())
    return (given,) if isinstance(given, str) else tuple(n for n in given if n != "__dict__")


def module_paths(model: nn.Module) -> dict[Path, nn.Module]:
    """Every module once, by the path of attributes that leads to it."""
    return {
        tuple(("attribute", name) for name in path.split(".")) if path else (): module
        for path, module in model.named_modules()
    }


def walk(
    value: Any, path: Path = (), seen: set[int] | None = None
) -> Iterator[tuple[Path, Any, bool]]:
    """Every value that can be reached: its path, itself, and whether it is a leaf.

    A container is visited once, wherever else it stands too; circles end there.

    >>> [(path, item) for path, item, leaf in walk({"a": [1, 2]}) if leaf]
    [((('item', 'a'), ('item', 0)), 1), ((('item', 'a'), ('item', 1)), 2)]
    """
    seen = set() if seen is None else seen
    if is_plain(value) or isinstance(value, GENERATORS):
        yield path, value, True
        return
    inside = children(value)
    if not inside and not isinstance(value, (nn.Module, dict, *_SEQUENCES)):
        yield path, value, True
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    yield path, value, False
    for step, item in inside:
        yield from walk(item, (*path, step), seen)


def is_understood(value: Any) -> bool:
    """Whether it can be said of a leaf that it is as it was: by what it says, or by which it is."""
    kinds = (Tensor, np.ndarray, set, type, Missing, np.ufunc, *GENERATORS, *_CODE)
    if is_plain(value) or isinstance(value, kinds):
        return True
    if isinstance(value, nn.Module) or is_by_somebody(type(value)):
        return False
    if isinstance(value, (AttentionSpec, DrawConfig)):  # of ours, and frozen
        return True
    return callable(value) and type(value).__module__.split(".")[0] in ("torch", "functools")


_CODE = (
    *(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.MethodType),
    *(types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType),
    *(property, staticmethod, classmethod, functools.cached_property),
)


def follow(value: Any, path: Path) -> Any:
    """What stands at the end of a path, or :data:`MISSING`.

    >>> follow({"a": [1, 2]}, (("item", "a"), ("item", 1)))
    2
    """
    for kind, name in path:
        value = _step(value, kind, name)
    return value


def _step(value: Any, kind: str, name: Any) -> Any:
    try:
        if kind == "item":
            return value[name]
        # What stands in the instance, not what a replaced method makes of it.
        if isinstance(value, nn.Module) and name in vars(value):
            return vars(value)[name]
        return getattr(value, name)
    except (AttributeError, KeyError, IndexError, TypeError):
        return MISSING


def written(path: Path) -> str:
    """A path as its author would write it.

    >>> written((("attribute", "sizes"), ("item", 0)))
    '.sizes[0]'
    """
    return "".join(f".{name}" if kind == "attribute" else f"[{name!r}]" for kind, name in path)


def same(now: Any, then: Any) -> bool:
    """Whether two leaves are interchangeable for whoever only reads them.

    Plain values and arrays by what they say, so that a copy counts as the same; functions and
    classes by which one they are; anything else as it compares itself.

    >>> same(2.0, 2.0), same(1, True), same(len, print)
    (True, False, False)
    """
    if type(now) is not type(then):
        return False
    if now is then:
        return True
    if isinstance(now, Tensor):
        return _same_tensor(now, then)
    if isinstance(now, GENERATORS):
        return True  # its state goes on by itself
    try:
        if isinstance(now, np.ndarray):
            return now.dtype == then.dtype and np.array_equal(now, then, equal_nan=True)
        return bool(now == then) or bool(now != now and then != then)
    except Exception:  # whatever another's comparison may raise
        return False


def _same_tensor(now: Tensor, then: Tensor) -> bool:
    if now.shape != then.shape or now.dtype != then.dtype:
        return False
    try:
        return bool(torch.equal(now.detach().to(then.device), then.detach()))
    except RuntimeError:  # under a transform nobody may look at numbers
        return False


@dataclass(frozen=True)
class Snapshot:
    """What a value said when it was taken, to hold another moment, or a copy, against.

    Args:
        leaves: by path; tensors and arrays are copies.
        containers: type and number of contents of everything above the leaves.
    """

    leaves: dict[Path, Any]
    containers: dict[Path, tuple[type, int]]
    # For a compiler, which cannot trace how they are told apart.
    plain: tuple[tuple[Path, Any], ...] = ()
    others: tuple[tuple[Path, Any], ...] = ()
    sizes: tuple[tuple[Path, int], ...] = ()

    def __post_init__(self) -> None:
        counted = tuple(
            (path, count)
            for path, (kind, count) in self.containers.items()
            if kind in (list, tuple, dict)
        )
        object.__setattr__(self, "sizes", counted)
        for name, wanted in (("plain", True), ("others", False)):
            kept = tuple((p, v) for p, v in self.leaves.items() if is_plain(v) is wanted)
            object.__setattr__(self, name, kept)

    @classmethod
    def of(cls, value: Any) -> Snapshot:
        """Take one.

        >>> Snapshot.of([1, [2]]).difference([1, [3]])
        (('item', 1), ('item', 0))
        """
        leaves: dict[Path, Any] = {}
        containers: dict[Path, tuple[type, int]] = {}
        for path, item, leaf in walk(value):
            if not leaf:
                containers[path] = (type(item), len(children(item)))
            elif isinstance(item, Tensor):
                leaves[path] = item.detach().clone()
            elif isinstance(item, (np.ndarray, set)):
                leaves[path] = item.copy()
            else:
                leaves[path] = item
        return cls(leaves, containers)

    def values(self) -> list[Any]:
        """The leaves."""
        return list(self.leaves.values())

    def difference(self, value: Any) -> Path | None:
        """The first path at which a value says something else; None where it says the same."""
        for path, (kind, count) in self.containers.items():
            item = follow(value, path)
            if type(item) is not kind or len(children(item)) != count:
                return path
        for path, then in self.leaves.items():
            if not same(follow(value, path), then):
                return path
        return None

    def holds_in_graph(self, value: Any) -> bool:
        """Whether it still says the same, by comparisons that become a compiler's guards."""
        for path, then in self.plain:
            if _value_at(value, path) != then:
                return False
        for path, count in self.sizes:
            if len(_value_at(value, path)) != count:
                return False
        for path, then in self.others:
            if isinstance(then, Tensor) or _value_at(value, path) is not then:
                return False
        return True


def _value_at(value: Any, path: Path) -> Any:
    for kind, name in path:
        if kind == "item":
            value = value[name]
        elif isinstance(value, nn.Module) and name in value.__dict__:
            value = value.__dict__[name]
        else:
            value = getattr(value, name, MISSING)
    return value
