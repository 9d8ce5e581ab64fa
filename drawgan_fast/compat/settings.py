"""What a model's code looked at, in the model and outside it, and what it said then."""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from drawgan_fast.compat.contents import (
    INTERNAL,
    MISSING,
    Path,
    Snapshot,
    Step,
    children,
    follow,
    is_by_somebody,
    is_plain,
    is_somebodys,
    is_understood,
    module_paths,
    own_attributes,
    walk,
    written,
)


@dataclass(frozen=True)
class Outside:
    """Names in a place outside the model that its code looks at: a Python module, a class, a cell.

    Attributes:
        kind: ``"globals"``, ``"scope"``, ``"class"``, ``"cell"`` or ``"function"``.
        place: the Python module's name, the globals of one that nobody can import, the class, the
            cell, the function.
        then: what the names said.
    """

    kind: str
    place: Any
    then: Snapshot

    def now(self) -> Any:
        """What holds the names."""
        if self.kind == "globals":
            return vars(sys.modules[self.place])
        return vars(self.place) if self.kind == "class" else self.place

    def __reduce__(self) -> Any:
        # Functions stand where they stand: whoever loads this has the same code, or none of it.
        kept = {p: v for p, v in self.then.leaves.items() if is_plain(v)}
        code = tuple(p for p in self.then.leaves if p not in kept)
        place = None if self.kind in ("cell", "scope", "function") else self.place
        return (_outside_again, (self.kind, place, kept, code, self.then.containers))

    def has_data(self) -> bool:
        """Whether more than code was read."""
        return bool(
            self.then.plain
            or self.then.containers
            or any(isinstance(v, (Tensor, np.ndarray, set)) for _, v in self.then.others)
        )

    def for_graph(self) -> tuple[Any, Snapshot] | None:
        """What has the names as attributes, and what they said, without code; None elsewhere."""
        if self.kind not in ("globals", "class"):
            return None
        leaves = {p: v for p, v in self.then.leaves.items() if not isinstance(v, _IS_CODE)}

        def renamed(taken: dict[Path, Any]) -> dict[Path, Any]:
            return {(("attribute", p[0][1]), *p[1:]): v for p, v in taken.items()}

        holder = sys.modules[self.place] if self.kind == "globals" else self.place
        return holder, Snapshot(renamed(leaves), renamed(self.then.containers))

    def called(self) -> str:
        """As its author would write it."""
        if self.kind == "cell":
            return "a variable of an enclosing function"
        if self.kind == "function":
            return str(self.place.__qualname__)
        if self.kind == "scope":
            return str(self.place.get("__name__", "the globals"))
        return self.place if self.kind == "globals" else self.place.__qualname__


def _outside_again(
    kind: str, place: Any, kept: dict[Path, Any], code: tuple[Path, ...], containers: Any
) -> Outside:
    if place is None:  # it belongs to a function or a class that no pickle takes
        return Outside(kind, None, Snapshot({}, {}))
    found = Outside(kind, place, Snapshot(kept, containers))
    now = found.now()
    return Outside(kind, place, Snapshot(kept | {p: follow(now, p) for p in code}, containers))


# Ways to come by all modules, or all parameters, below one.
_ALL_BELOW = frozenset({"_modules", "modules", "named_modules", "children", "named_children"}) | {
    *("get_submodule", "parameters", "named_parameters", "state_dict", "__dict__")
}


def looked_at(model: nn.Module, names: dict[int, set[str]]) -> list[Path]:
    """The modules that code read something of, and torch's own that it came by in that way."""
    modules = module_paths(model)
    places = {id(module): path for path, module in modules.items()}
    found: set[Path] = {()}

    def add(module: nn.Module | None, everything: bool = False) -> None:
        if module is None or places[id(module)] in found:
            return
        found.add(places[id(module)])
        # What somebody's module was read of is noted itself.
        if everything or not is_by_somebody(type(module)):
            for child in module._modules.values():
                add(child, everything)

    for path, module in modules.items():
        read = names.get(id(module))
        if read:
            found.add(path)
            for name in read:
                add(module._modules.get(name))
            if read & _ALL_BELOW:
                for child in module._modules.values():
                    add(child, True)
    return [path for path in modules if path in found]


_IS_CODE = (
    *(types.FunctionType, types.BuiltinFunctionType, type, property, staticmethod, classmethod),
    functools.cached_property,
)


def settings_read(
    model: nn.Module,
    names: dict[int, set[str]],
    changed: set[Path],
    places: list[Path],
    below: Path,
) -> Snapshot:
    """What the code of a model read of it, as it is now.

    Args:
        model: as a whole.
        names: attributes read, by the ``id`` of their module.
        changed: attributes that forward itself sets: they are its doing, not a setting.
        places: paths of the modules that were looked at.
        below: what the paths of the result are relative to.
    """
    leaves: dict[Path, Any] = {}
    containers: dict[Path, tuple[type, int]] = {}
    modules = module_paths(model)
    for path in places:
        module = modules[path]
        read = names.get(id(module), set())
        if not is_by_somebody(type(module)) or "__dict__" in read:
            read = read | own_attributes(module).keys() | module._buffers.keys()
        for name in sorted(read):
            here = (*path, ("attribute", name))
            if name in INTERNAL or here in changed or name.startswith("__"):
                continue
            parameter = module._parameters.get(name)
            learned = parameter is not None and parameter.is_floating_point()
            if name in module._modules or learned:
                continue
            given = {**module._parameters, **module._buffers, **vars(module)}
            value = given[name] if name in given else _of_class(module, name)
            if value is _CODE:
                continue
            taken = Snapshot.of(value)
            relative = here[len(below) :]
            leaves |= {(*relative, *p): v for p, v in taken.leaves.items()}
            containers |= {(*relative, *p): v for p, v in taken.containers.items()}
    return Snapshot(leaves, containers)


_CODE = object()


def _of_class(module: nn.Module, name: str) -> Any:
    """A class's plain attribute; MISSING where there is none; ``_CODE`` for what runs."""
    for kind in type(module).__mro__:
        if name in vars(kind):
            value = vars(kind)[name]
            return value if is_plain(value) or children(value) else _CODE
    return MISSING


Code = dict[types.CodeType, dict[str, Any]]
"""Code that ran, with its globals."""


def outside_read(model: nn.Module, code: Code, used: Iterable[Any] = ()) -> tuple[Outside, ...]:
    """The classes, globals and functions' variables that the code that ran looks at.

    Args:
        model: whose code it is.
        code: that ran.
        used: values that it was found to look at: settings, whose classes count too.
    """
    found: list[Outside] = []
    names = {name for ran in code for name in ran.co_names}
    functions: dict[int, types.FunctionType] = {}
    classes: dict[type, None] = {}

    def meet(value: Any) -> None:
        """Take in what a value brings with it: its classes and its functions."""
        for _, item, _leaf in walk(value):
            for kind in (item if isinstance(item, type) else type(item)).__mro__:
                if is_by_somebody(kind) and "_drawgan_place" not in vars(kind):
                    classes.setdefault(kind)
            for function in functions_of(item):
                if function.__code__ in code:
                    functions.setdefault(id(function), function)

    for module in model.modules():
        for kind in type(module).__mro__:
            if is_by_somebody(kind) and "_drawgan_place" not in vars(kind):
                classes.setdefault(kind)
        for value in own_attributes(module).values():
            for function in functions_of(value):
                if function.__code__ in code:
                    functions.setdefault(id(function), function)
    for value in used:
        meet(value)
    for scope, wanted in _scopes(code):
        said: dict[Path, Any] = {}
        containers: dict[Path, tuple[type, int]] = {}
        for name in sorted(wanted):
            value = scope[name]
            if isinstance(value, types.ModuleType):
                continue
            if isinstance(value, nn.Module):  # nobody's child: nothing can be said of it
                said[(("item", name),)] = value
                continue
            meet(value)
            taken = Snapshot.of(value)
            said |= {(("item", name), *p): v for p, v in taken.leaves.items()}
            containers |= {(("item", name), *p): v for p, v in taken.containers.items()}
        if said or containers:
            called = str(scope.get("__name__"))
            known = called in sys.modules and vars(sys.modules[called]) is scope
            place: Any = called if known else scope
            kind_of_place = "globals" if known else "scope"
            found.append(Outside(kind_of_place, place, Snapshot(said, containers)))
    for kind in list(classes):
        taken = Snapshot({}, {})
        for name, raw in vars(kind).items():
            inside = [f for f in functions_of(raw) if f.__code__ in code]
            functions |= {id(f): f for f in inside}
            here = ("item", name)
            if inside:
                taken.leaves[(here,)] = raw
            elif name in names and not name.startswith("__") and not callable(raw):
                one = Snapshot.of(raw)
                taken.leaves.update({(here, *p): v for p, v in one.leaves.items()})
                taken.containers.update({(here, *p): v for p, v in one.containers.items()})
        if taken.leaves or taken.containers:
            found.append(Outside("class", kind, Snapshot(taken.leaves, taken.containers)))
    modules = {id(module) for module in model.modules()}
    waiting, done = list(functions.values()), set()
    while waiting:
        function = waiting.pop()
        if id(function) in done:
            continue
        done.add(id(function))
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # empty
                continue
            waiting += functions_of(value)
            if id(value) not in modules and not isinstance(value, type):
                found.append(Outside("cell", cell, _below("cell_contents", value)))
        given = {n: getattr(function, n) for n in ("__defaults__", "__kwdefaults__", "__dict__")}
        for name, value in given.items():
            if value and not (name == "__dict__" and set(value) <= {"__wrapped__"}):
                found.append(Outside("function", function, _below(name, value)))
    return tuple(found)


def _below(name: str, value: Any) -> Snapshot:
    here: Step = ("attribute", name)
    taken = Snapshot.of(value)
    if isinstance(value, nn.Module):  # of somebody else: nothing can be said of it
        return Snapshot({(here,): value}, {})
    return Snapshot(
        {(here, *p): v for p, v in taken.leaves.items()},
        {(here, *p): v for p, v in taken.containers.items()},
    )


def not_understood(settings: Snapshot, outside: Iterable[Outside]) -> str | None:
    """What was looked at of which nobody can say whether it is as it was; None if there is none.

    Args:
        settings: of a model.
        outside: of other places.
    """
    for called, taken in (
        ("model", settings),
        *((place.called(), place.then) for place in outside),
    ):
        for path, value in taken.leaves.items():
            if not is_understood(value):
                return f"{called}{written(path)}, a {type(value).__name__}"
        for path, (kind, _) in taken.containers.items():
            if issubclass(kind, nn.Module):
                return f"{called}{written(path)}, a {kind.__name__} that is no child of the model"
    return None


def is_computed_once(module: nn.Module, name: str) -> bool:
    """Whether an attribute is a ``cached_property``: set by whoever looks first, or by anybody."""
    static = inspect.getattr_static(type(module), name, None)
    return isinstance(static, functools.cached_property)


# By these names code comes by what no note of it says.
DYNAMIC = frozenset({"globals", "environ", "getenv", "import_module"})


def _scopes(code: Code) -> list[tuple[dict[str, Any], set[str]]]:
    """The globals of the code that ran, and of Python modules it uses, with the names it uses."""
    scopes: dict[int, tuple[dict[str, Any], set[str]]] = {}
    names = {name for ran in code for name in ran.co_names}
    waiting: list[dict[str, Any]] = []

    def use(scope: dict[str, Any], wanted: Iterable[str]) -> None:
        if id(scope) not in scopes:
            scopes[id(scope)] = (scope, set())
            waiting.append(scope)
        scopes[id(scope)][1].update(name for name in wanted if name in scope)

    for ran, scope in code.items():
        use(scope, ran.co_names)
    while waiting:
        scope = waiting.pop()
        for name in list(scopes[id(scope)][1]):
            value = scope[name]
            if isinstance(value, types.ModuleType) and is_somebodys(value.__name__):
                # getattr(config, name): any of them
                every = "getattr" in names
                use(vars(value), _public(value) if every else names)
    return list(scopes.values())


def _public(module: types.ModuleType) -> list[str]:
    return [name for name in vars(module) if not name.startswith("__")]


def functions_of(value: Any) -> Iterable[types.FunctionType]:
    """Python functions in what stands in a class or an attribute."""
    parts = [value, *(getattr(value, n, None) for n in ("__func__", "fget", "fset", "func"))]
    parts += [getattr(part, "__wrapped__", None) for part in list(parts)]
    return [part for part in parts if isinstance(part, types.FunctionType)]
