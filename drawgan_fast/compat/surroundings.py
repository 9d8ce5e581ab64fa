"""What a model's code keeps outside of the model: globals, attributes of classes, caches."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from drawgan_fast.compat.contents import is_by_somebody, is_plain, walk, written

_NOTHING = object()
_MOST = 4096  # values below one name, beyond which it is somebody's data set


class Surroundings:
    """The globals and class attributes that the methods of a model's classes name.

    Args:
        model: whose.
    """

    def __init__(self, model: nn.Module) -> None:
        kinds = {kind for module in model.modules() for kind in type(module).__mro__}
        written = (kind for kind in kinds if "_drawgan_place" not in vars(kind))
        self.classes = [kind for kind in written if is_by_somebody(kind)]
        self.scopes: dict[int, tuple[dict[str, Any], set[str]]] = {}
        self.cells: dict[int, types.CellType] = {}
        waiting = [f for kind in self.classes for raw in vars(kind).values() for f in _code_of(raw)]
        for _, value, leaf in walk(model):
            waiting += _code_of(value) if leaf else []
        done: set[int] = set()
        while waiting:
            function = waiting.pop()
            if id(function) in done:
                continue
            done.add(id(function))
            scope = function.__globals__
            names = self.scopes.setdefault(id(scope), (scope, set()))[1]
            for name in _names_of(function.__code__):
                names.add(name)
                waiting += _code_of(scope.get(name))
            for cell in function.__closure__ or ():
                self.cells[id(cell)] = cell
                waiting += _code_of(_content(cell))

    def held(self) -> Iterator[tuple[str, Any]]:
        """Everything that can be seen from there and is no code, by what its author calls it."""
        for label, root in self._roots():
            found = []
            for path, value, _ in walk(root):
                found.append((f"{label}{written(path)}", value))
                if len(found) > _MOST:
                    break
            else:
                yield from found

    def said(self) -> dict[str, Any]:
        """What stands there now, to be compared; arrays and tensors by which they are."""
        return {
            label: value if is_plain(value) else (id(value), len(value) if _has_len(value) else 0)
            for label, value in self.held()
        }

    def forget_caches(self) -> None:
        """Empty what ``functools.lru_cache`` keeps: it may be of another dtype."""
        for value in self._values():
            clear = getattr(value, "cache_clear", None)
            if callable(clear):
                clear()

    def way_back(self) -> Callable[[], None]:
        """What puts every name back to the object that it means now."""
        scopes = [
            (scope, {n: scope.get(n, _NOTHING) for n in names}) for scope, names in self._named()
        ]
        classes = [(kind, dict(vars(kind))) for kind in self.classes]
        cells = [(cell, _content(cell)) for cell in self.cells.values()]

        def back() -> None:
            for scope, before in scopes:
                for name, value in before.items():
                    if value is _NOTHING:
                        scope.pop(name, None)
                    else:
                        scope[name] = value
            for kind, attributes in classes:
                for name in vars(kind).keys() - attributes.keys():
                    delattr(kind, name)
                for name, value in attributes.items():
                    if vars(kind)[name] is not value:
                        setattr(kind, name, value)
            for cell, value in cells:
                if value is not _NOTHING and _content(cell) is not value:
                    cell.cell_contents = value
            self.forget_caches()

        return back

    def _named(self) -> Iterator[tuple[dict[str, Any], set[str]]]:
        yield from self.scopes.values()

    def _values(self) -> Iterator[Any]:
        for scope, names in self._named():
            yield from (scope[name] for name in names if name in scope)
        for kind in self.classes:
            yield from vars(kind).values()
        yield from map(_content, self.cells.values())

    def _roots(self) -> Iterator[tuple[str, Any]]:
        for scope, names in self._named():
            for name in sorted(names):
                if name in scope and _is_data(scope[name]):
                    yield f"the global {name}", scope[name]
        for kind in self.classes:
            for name, value in vars(kind).items():
                if not name.startswith("__") and _is_data(value):
                    yield f"{kind.__qualname__}.{name}", value
        for number, cell in enumerate(self.cells.values()):
            if _is_data(_content(cell)):
                yield f"variable {number} of an enclosing function", _content(cell)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return _NOTHING


def _is_data(value: Any) -> bool:
    if isinstance(value, (type, types.ModuleType, types.FunctionType, nn.Module)):
        return False
    shown = is_plain(value) or isinstance(value, (list, tuple, dict, set, Tensor, np.ndarray))
    return shown or is_by_somebody(type(value))


def _has_len(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict, set))


def _code_of(value: Any) -> list[types.FunctionType]:
    parts = [value, *(getattr(value, n, None) for n in ("__func__", "fget", "func", "__wrapped__"))]
    return [part for part in parts if isinstance(part, types.FunctionType)]


def _names_of(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*(_names_of(c) for c in inner))
