"""Running somebody else's model without leaving a trace in it."""

from __future__ import annotations

import copy
import pickle
import random
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from drawgan_fast.compat.contents import (
    GENERATORS,
    Path,
    children,
    has_attributes,
    own_attributes,
    walk,
    written,
)
from drawgan_fast.compat.surroundings import Surroundings


@contextmanager
def untouched(model: nn.Module, dtype: torch.dtype) -> Iterator[dict[str, nn.Parameter]]:
    """Let a model run in ``dtype`` on copies of its numbers; afterwards everything is as before.

    Parameters, buffers, attributes and whatever hangs on them (lists, dictionaries, deques,
    objects, arrays, at any depth), modes, gradients, generators (torch's, NumPy's, Python's and
    the model's own) and the default dtype: whatever the block does to them ends with it. A new
    default dtype is what carries ``torch.zeros`` and ``torch.arange`` inside the model along.

    Yields:
        The copies of the parameters by their names in ``model.named_parameters()``, all of which
        want a gradient.
    """
    default = torch.get_default_dtype()
    kind = next(model.parameters()).device.type
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=devices),
        torch.autocast(kind, enabled=False),
        torch.enable_grad(),
        ExitStack() as stack,
    ):
        stack.callback(random.setstate, random.getstate())
        legacy = np.random.mtrand._rand  # what np.random's functions draw from
        stack.callback(_generator_back(legacy))
        stack.callback(torch.set_default_dtype, default)
        copies = _Copies(dtype)
        # All is remembered before anything is changed: what was found twice must be put back once.
        found = [item for _, item, _ in walk(model)]
        around = Surroundings(model)
        around.forget_caches()
        found += [item for _, item in around.held()]
        for item in found:
            stack.callback(_way_back(item))
        stack.callback(around.way_back())
        for item in found:
            copies.put_into(item)
        torch.set_default_dtype(dtype)
        yield dict(model.named_parameters())


def _way_back(value: Any) -> Callable[[], None]:
    """What puts a value's contents back to what they are now."""
    if isinstance(value, nn.Module):
        return _module_back(value)
    if isinstance(value, (list, deque, dict, set)):
        content = value.copy()
        return lambda: _refill(value, content)
    if isinstance(value, np.ndarray):
        array = value.copy()
        return lambda: np.copyto(value, array) if value.flags.writeable else None
    if isinstance(value, GENERATORS):
        return _generator_back(value)
    if has_attributes(value) and hasattr(value, "__dict__"):
        attributes = dict(vars(value))
        return lambda: _refill(vars(value), attributes)
    if has_attributes(value) and not isinstance(value, tuple):
        slots = {name: getattr(value, name) for (_, name), _ in children(value)}

        def slots_back() -> None:
            for name, item in slots.items():
                setattr(value, name, item)

        return slots_back
    return lambda: None


def _module_back(module: nn.Module) -> Callable[[], None]:
    own, training = own_attributes(module), module.training
    kept = [dict(d) for d in (module._parameters, module._buffers, module._modules)]

    def back() -> None:
        attributes = vars(module)
        for name in own_attributes(module).keys() - own.keys():
            del attributes[name]
        attributes.update(own)
        attributes["training"] = training
        # In place: torch may hold on to these dictionaries.
        now = (module._parameters, module._buffers, module._modules)
        for content, before in zip(now, kept):
            _refill(content, before)

    return back


def _generator_back(generator: Any) -> Callable[[], None]:
    if isinstance(generator, torch.Generator):
        state = generator.get_state()
        return lambda: _ignored(generator.set_state(state))
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        inner = bits.state
        return lambda: setattr(bits, "state", inner)
    if isinstance(generator, np.random.RandomState):
        old = generator.get_state()
        return lambda: generator.set_state(old)
    before = generator.getstate()
    return lambda: generator.setstate(before)


def _ignored(result: object) -> None:
    pass


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(content)
    else:
        container.update(content)


class _Copies:
    """Copies of tensors in a dtype, one for each."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.made: dict[int, tuple[Tensor, Tensor]] = {}  # the first keeps its id from reuse

    def of(self, tensor: Tensor) -> Tensor:
        """A float in the dtype, anything else as it is; a parameter for a parameter."""
        if id(tensor) not in self.made:
            dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
            copy = tensor.detach().to(dtype, copy=True)
            if isinstance(tensor, nn.Parameter):
                copy = nn.Parameter(copy, requires_grad=copy.is_floating_point())
            self.made[id(tensor)] = (tensor, copy)
        return self.made[id(tensor)][1]

    def put_into(self, value: Any) -> None:
        """Put copies in the place of the tensors that a container holds itself."""
        if isinstance(value, nn.Module):
            for held in (value._parameters, value._buffers):
                for name, tensor in held.items():
                    if tensor is not None:
                        held[name] = self.of(tensor)  # type: ignore[assignment]
            for name, item in own_attributes(value).items():
                vars(value)[name] = self._inside(item)
        elif isinstance(value, dict):
            for key, item in list(value.items()):
                replaced = self._inside(item)
                if replaced is not item:
                    value[key] = replaced
        elif isinstance(value, (list, deque)):
            for i, item in enumerate(value):
                value[i] = self._inside(item)
        elif has_attributes(value) and hasattr(value, "__dict__"):
            for name, item in list(vars(value).items()):
                vars(value)[name] = self._inside(item)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.of(value)
        if isinstance(value, Iterator) and not isinstance(value, Generator):
            return copy.copy(value)  # it goes on, and cannot be put back
        if isinstance(value, tuple) and any(isinstance(v, (Tensor, tuple)) for v in value):
            parts = [self._inside(item) for item in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return value


def generator_states() -> dict[str, int]:
    """The states of the generators that everybody draws from, each in a number."""
    return {
        "random": hash(random.getstate()),
        "numpy.random": hash(pickle.dumps(np.random.mtrand._rand.get_state(legacy=False))),
        "torch": hash(torch.get_rng_state().numpy().tobytes()),
    }


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested lists, tuples, dictionaries and distributions, by where it stands.

    Arrays become tensors, which is what they are compared as.

    >>> flatten({"a": [1, 2]})
    {"['a'][0]": 1, "['a'][1]": 2}
    """
    if isinstance(value, torch.distributions.Distribution):
        given = distribution_arguments(value)
        parts = [flatten(item, f"{path}.{key}") for key, item in given.items()]
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {path: torch.from_numpy(value.copy())}
    elif isinstance(value, nn.Module) or not children(value):
        return {path: value}
    else:
        parts = [flatten(item, path + written((step,))) for step, item in children(value)]
    return {key: leaf for part in parts for key, leaf in part.items()}


def distribution_arguments(value: torch.distributions.Distribution) -> dict[str, Tensor]:
    """The tensors that a distribution was made of, by its constructor's names."""
    return {
        name: vars(value)[name]
        for name in value.arg_constraints
        if isinstance(vars(value).get(name), Tensor)
    }


def remember(model: nn.Module) -> dict[Path, Any]:
    """What :func:`exposed` compares with; it keeps the objects alive, so that none is reused."""
    return {
        path: _Leaf(value) if leaf else type(value)
        for path, value, leaf in walk(model)
        if not isinstance(value, nn.Module)
    }


def exposed(model: nn.Module, before: dict[Path, Any]) -> dict[Path, Any]:
    """Attributes that forward passes have set, filled or changed inside since ``before``.

    Returns:
        The whole attribute's value, by the path of its module and its name.
    """
    owners: dict[Path, Path] = {}
    now: dict[Path, Any] = {}
    for path, value, leaf in walk(model):
        if not isinstance(value, nn.Module):
            now[path] = value if leaf else type(value)
            owners[path] = _attribute(model, path)
    changed = {
        owners[path]
        for path, value in now.items()
        if path not in before or not _unchanged(value, before[path])
    }
    # A container that has become shorter is one, too.
    changed |= {_attribute(model, path) for path in before.keys() - now.keys()}
    return {path: _value(model, path) for path in sorted(changed, key=str)}


def _attribute(model: nn.Module, path: Path) -> Path:
    """The part of a path that leads to an attribute of a module, whatever lies inside that."""
    module: Any = model
    for i, (_, name) in enumerate(path):
        child = module._modules.get(name)
        if child is None:
            return path[: i + 1]
        module = child
    return path


def _value(model: nn.Module, path: Path) -> Any:
    module: Any = model
    for _, name in path[:-1]:
        module = module._modules[name]
    name = path[-1][1]
    return vars(module).get(name, module._buffers.get(name, module._modules.get(name)))


class _Leaf:
    """A value, and for a tensor or an array what it held."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.version = value._version if isinstance(value, Tensor) else None
        self.content: Any = value.copy() if isinstance(value, (np.ndarray, set)) else None


def _unchanged(value: Any, before: Any) -> bool:
    if not isinstance(before, _Leaf):
        return value is before  # a container's type
    if isinstance(value, Tensor):
        return value is before.value and value._version == before.version
    if isinstance(value, np.ndarray):
        return value is before.value and np.array_equal(value, before.content, equal_nan=True)
    if isinstance(value, set):
        return value is before.value and value == before.content
    # A number is what it says, anything else is which one it is.
    plain = isinstance(value, (int, float, str, bool, type(None)))
    then = before.value
    return value is then or (plain and type(value) is type(then) and value == then)


def converted(arg: Any, dtype: torch.dtype) -> Any:
    """Float tensors in ``dtype``, wanting a gradient, in tuples, lists and dictionaries too."""
    if isinstance(arg, Tensor):
        if arg.is_floating_point():
            return arg.detach().to(dtype, copy=True).requires_grad_()
        return arg
    if isinstance(arg, (list, tuple)) and type(arg) in (list, tuple):
        return type(arg)(converted(item, dtype) for item in arg)
    if type(arg) is dict:
        return {key: converted(item, dtype) for key, item in arg.items()}
    return arg


def sized(value: Any, batch: int, dtype: torch.dtype) -> Any:
    """Recorded arguments with another number of samples, in a dtype, wanting gradients."""
    if isinstance(value, Tensor):
        if value.dim() == 0 or not value.is_floating_point():
            return value
        rows = torch.arange(batch, device=value.device) % max(len(value), 1)
        return value.detach()[rows].to(dtype).requires_grad_()
    if type(value) in (tuple, list):
        return type(value)(sized(item, batch, dtype) for item in value)
    if type(value) is dict:
        return {key: sized(item, batch, dtype) for key, item in value.items()}
    return value
