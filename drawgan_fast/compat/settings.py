"""What a model's code looked at, in the model and outside it, and what it said then."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from drawgan_fast.compat.contents import (
    INTERNAL,
    MISSING,
    Path,
    Snapshot,
    children,
    follow,
    is_by_somebody,
    is_installed,
    is_plain,
    is_somebodys,
    module_paths,
    own_attributes,
    walk,
)


@dataclass(frozen=True)
class Outside:
    """Names in a place outside the model that its code looks at: a Python module, a class, a cell.

    Attributes:
        kind: ``"globals"``, ``"scope"``, ``"class"`` or ``"cell"``.
        place: the Python module's name, the globals of one that nobody can import, the class, the
            cell.
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
        place = None if self.kind in ("cell", "scope") else self.place
        return (_outside_again, (self.kind, place, kept, code, self.then.containers))

    def called(self) -> str:
        """As its author would write it."""
        if self.kind == "cell":
            return "a variable of an enclosing function"
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
            if name in module._modules or name in module._parameters:
                continue
            value = vars(module).get(name, module._buffers.get(name, _of_class(module, name)))
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


def outside_read(model: nn.Module, code: Code) -> tuple[Outside, ...]:
    """The classes, globals and enclosing functions' variables that the code that ran looks at."""
    found: list[Outside] = []
    functions: dict[int, types.FunctionType] = {}
    classes = dict.fromkeys(
        kind
        for module in model.modules()
        for kind in type(module).__mro__
        if is_by_somebody(kind) and "_drawgan_place" not in vars(kind)
    )
    for kind in classes:
        ran: dict[Path, Any] = {}
        for name, raw in vars(kind).items():
            inside = [f for f in _functions_of(raw) if f.__code__ in code]
            functions |= {id(f): f for f in inside}
            if inside:
                ran[(("item", name),)] = raw
        if ran:
            found.append(Outside("class", kind, Snapshot(ran, {})))
    for _, value, leaf in walk(model):
        if leaf:
            functions |= {id(f): f for f in _functions_of(value) if f.__code__ in code}
    for scope, names in _scopes(code):
        leaves: dict[Path, Any] = {}
        containers: dict[Path, tuple[type, int]] = {}
        for used in sorted(names):
            value = scope[used]
            if isinstance(value, (types.ModuleType, nn.Module)):
                continue
            taken = Snapshot.of(value)
            leaves |= {(("item", used), *p): v for p, v in taken.leaves.items()}
            containers |= {(("item", used), *p): v for p, v in taken.containers.items()}
            functions |= {id(f): f for f in _functions_of(value) if f.__code__ in code}
        if leaves or containers:
            name = str(scope.get("__name__"))
            known = name in sys.modules and vars(sys.modules[name]) is scope
            place: Any = name if known else scope
            kind_of_place = "globals" if known else "scope"
            found.append(Outside(kind_of_place, place, Snapshot(leaves, containers)))
    for function in functions.values():
        for cell in function.__closure__ or ():
            found += _cell(cell)
    return tuple(found)


def _scopes(code: Code) -> list[tuple[dict[str, Any], set[str]]]:
    """The globals of the code that ran, and of Python modules it uses, with the names it uses."""
    scopes: dict[int, tuple[dict[str, Any], set[str]]] = {}

    def use(scope: dict[str, Any], names: Iterable[str]) -> None:
        used = scopes.setdefault(id(scope), (scope, set()))[1]
        used.update(name for name in names if name in scope)

    for ran, scope in code.items():
        use(scope, ran.co_names)
    for scope, names in list(scopes.values()):
        for name in names:
            value = scope[name]
            if isinstance(value, types.ModuleType) and _is_authors(value.__name__):
                for ran in code:
                    use(vars(value), ran.co_names)
    return list(scopes.values())


def _is_authors(name: str) -> bool:
    return is_somebodys(name) and not is_installed(name)


def _cell(cell: types.CellType) -> Iterator[Outside]:
    try:
        value = cell.cell_contents
    except ValueError:  # empty
        return
    if not isinstance(value, (nn.Module, Tensor, type)):
        here = ("attribute", "cell_contents")
        taken = Snapshot.of(value)
        yield Outside(
            "cell",
            cell,
            Snapshot(
                {(here, *p): v for p, v in taken.leaves.items()},
                {(here, *p): v for p, v in taken.containers.items()},
            ),
        )


def _functions_of(value: Any) -> Iterable[types.FunctionType]:
    """Python functions in what stands in a class or an attribute."""
    parts = [value, *(getattr(value, n, None) for n in ("__func__", "fget", "fset", "func"))]
    parts += [getattr(part, "__wrapped__", None) for part in list(parts)]
    return [part for part in parts if isinstance(part, types.FunctionType)]
