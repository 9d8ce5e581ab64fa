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
    is_installed,
    is_plain,
    is_somebodys,
    module_paths,
    own_attributes,
    walk,
)
from drawgan_fast.compat.watching import Notes


@dataclass(frozen=True)
class Outside:
    """Names in a place outside the model that its code looks at: a Python module, a class, a cell.

    Attributes:
        kind: ``"globals"``, ``"class"`` or ``"cell"``.
        place: the Python module's name, the class, the cell.
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
        place = None if self.kind == "cell" else self.place
        return (_outside_again, (self.kind, place, kept, code, self.then.containers))

    def called(self) -> str:
        """As its author would write it."""
        if self.kind == "cell":
            return "a variable of an enclosing function"
        return self.place if self.kind == "globals" else self.place.__qualname__


def _outside_again(
    kind: str, place: Any, kept: dict[Path, Any], code: tuple[Path, ...], containers: Any
) -> Outside:
    if kind == "cell":  # of a function, which no pickle takes
        return Outside("cell", None, Snapshot({}, {}))
    found = Outside(kind, place, Snapshot(kept, containers))
    now = found.now()
    return Outside(kind, place, Snapshot(kept | {p: follow(now, p) for p in code}, containers))


def settings_read(
    model: nn.Module, names: dict[int, set[str]], changed: set[Path], below: Path = ()
) -> Snapshot:
    """What the code of a model read of it, as it is now.

    Args:
        model: as a whole.
        names: attributes read, by the ``id`` of their module.
        changed: attributes that forward itself sets: they are its doing, not a setting.
        below: only of modules under this path, and relative to it.
    """
    leaves: dict[Path, Any] = {}
    containers: dict[Path, tuple[type, int]] = {}
    for path, module in module_paths(model).items():
        if path[: len(below)] != below:
            continue
        read = names.get(id(module), set())
        if not is_somebodys(type(module).__module__) or "__dict__" in read:
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


def outside_read(model: nn.Module, notes: Notes) -> tuple[Outside, ...]:
    """The classes, globals and enclosing functions' variables that the code that ran looks at."""
    found: list[Outside] = []
    functions: dict[int, types.FunctionType] = {}
    classes = dict.fromkeys(
        kind
        for module in model.modules()
        for kind in type(module).__mro__
        if is_somebodys(kind.__module__) and "_drawgan_place" not in vars(kind)
    )
    for kind in classes:
        ran: dict[Path, Any] = {}
        for name, raw in vars(kind).items():
            inside = [f for f in _functions_of(raw) if f.__code__ in notes.code]
            functions |= {id(f): f for f in inside}
            if inside:
                ran[(("item", name),)] = raw
        if ran:
            found.append(Outside("class", kind, Snapshot(ran, {})))
    for _, value, leaf in walk(model):
        if leaf:
            functions |= {id(f): f for f in _functions_of(value)}
    by_module: dict[str, set[str]] = {}
    for code, scope in notes.code.items():
        name = str(scope.get("__name__"))
        if name in sys.modules and vars(sys.modules[name]) is scope:
            by_module.setdefault(name, set()).update(n for n in code.co_names if n in scope)
    for name, names in list(by_module.items()):
        for used in names:
            value = vars(sys.modules[name])[used]
            if isinstance(value, types.ModuleType) and _is_authors(value.__name__):
                inner = {n for code in notes.code for n in code.co_names if n in vars(value)}
                by_module.setdefault(value.__name__, set()).update(inner)
    for name, names in by_module.items():
        if name not in sys.modules:
            continue
        leaves: dict[Path, Any] = {}
        containers: dict[Path, tuple[type, int]] = {}
        for used in sorted(names):
            value = vars(sys.modules[name])[used]
            if isinstance(value, (types.ModuleType, nn.Module)):
                continue
            taken = Snapshot.of(value)
            leaves |= {(("item", used), *p): v for p, v in taken.leaves.items()}
            containers |= {(("item", used), *p): v for p, v in taken.containers.items()}
            functions |= {id(f): f for f in _functions_of(value)}
        if leaves or containers:
            found.append(Outside("globals", name, Snapshot(leaves, containers)))
    for function in functions.values():
        for cell in function.__closure__ or ():
            found += _cell(cell)
    return tuple(found)


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
