"""Running somebody else's model without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# What nn.Module keeps of its own in an instance; the rest is the model's author's.
_INTERNAL = frozenset(nn.Module().__dict__)


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """Instance attributes that are not nn.Module's own bookkeeping."""
    return {name: value for name, value in vars(module).items() if name not in _INTERNAL}


@contextmanager
def untouched(model: nn.Module, dtype: torch.dtype) -> Iterator[dict[str, nn.Parameter]]:
    """Let a model run in ``dtype`` on copies of its numbers; afterwards everything is as before.

    Parameters, buffers, tensors and containers among the attributes, gradients, random number
    generators and the default dtype: whatever the block does to them ends with it. A new default
    dtype is what carries ``torch.zeros`` and ``torch.arange`` inside the model along.

    Yields:
        The copies of the parameters by their names in ``model.named_parameters()``, all of which
        want a gradient.
    """
    copies: dict[int, nn.Parameter] = {}
    undo: list[tuple[nn.Module, dict[str, Any], dict[str, Any], dict[str, Any], list[Any]]] = []
    default = torch.get_default_dtype()
    devices = [p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"]
    kind = next(model.parameters()).device.type
    try:
        with (
            torch.random.fork_rng(devices=sorted(set(devices))),
            torch.autocast(kind, enabled=False),
            torch.enable_grad(),
        ):
            for module in model.modules():
                attributes = vars(module)
                undo.append(
                    (
                        module,
                        own_attributes(module),
                        dict(module._parameters),
                        dict(module._buffers),
                        [_contents(value) for value in own_attributes(module).values()],
                    )
                )
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        copy = copies.get(id(parameter))
                        if copy is None:
                            copy = nn.Parameter(
                                parameter.detach().to(_to(parameter, dtype), copy=True)
                            )
                            copies[id(parameter)] = copy
                        module._parameters[name] = copy
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = buffer.detach().to(_to(buffer, dtype), copy=True)
                for name, value in own_attributes(module).items():
                    if isinstance(value, Tensor):
                        attributes[name] = value.detach().to(_to(value, dtype), copy=True)
            torch.set_default_dtype(dtype)
            yield dict(model.named_parameters())
    finally:
        torch.set_default_dtype(default)
        for module, before, parameters, buffers, contents in undo:
            for name in own_attributes(module).keys() - before.keys():
                del vars(module)[name]
            vars(module).update(before)
            # In place: torch may hold on to these dictionaries, the author to the containers.
            _refill(module._parameters, parameters)
            _refill(module._buffers, buffers)
            for value, content in zip(before.values(), contents):
                if content is not None:
                    _refill(value, content)


def _to(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if tensor.is_floating_point() else tensor.dtype


def _contents(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else None


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested lists, tuples, dictionaries and distributions, by where it stands.

    >>> flatten({"a": [1, 2]})
    {"['a'][0]": 1, "['a'][1]": 2}
    """
    if isinstance(value, (list, tuple)):
        parts = [flatten(item, f"{path}[{i}]") for i, item in enumerate(value)]
    elif isinstance(value, dict):
        parts = [flatten(item, f"{path}[{key!r}]") for key, item in value.items()]
    elif isinstance(value, torch.distributions.Distribution):
        given = distribution_arguments(value)
        parts = [flatten(item, f"{path}.{key}") for key, item in given.items()]
    else:
        return {path: value}
    return {key: leaf for part in parts for key, leaf in part.items()}


def distribution_arguments(value: torch.distributions.Distribution) -> dict[str, Tensor]:
    """The tensors that a distribution was made of, by its constructor's names."""
    return {
        name: vars(value)[name]
        for name in value.arg_constraints
        if isinstance(vars(value).get(name), Tensor)
    }


def exposed(model: nn.Module, before: dict[str, Any]) -> dict[str, Any]:
    """Attributes that a forward pass has set or filled since ``before`` was taken by `remember`."""
    return {
        name: value
        for name, value in own_attributes(model).items()
        if name not in before or not _unchanged(value, before[name])
    }


def remember(model: nn.Module) -> dict[str, Any]:
    """What :func:`exposed` compares with; it keeps the objects alive, so that none is reused."""
    return {name: _frozen(value) for name, value in own_attributes(model).items()}


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_frozen(item) for item in value]
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _unchanged(value: Any, before: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return (
            isinstance(before, list)
            and len(value) == len(before)
            and all(map(_unchanged, value, before))
        )
    if isinstance(value, dict):
        return (
            isinstance(before, dict)
            and value.keys() == before.keys()
            and all(_unchanged(value[key], before[key]) for key in value)
        )
    # A number is what it says, a tensor is which one it is.
    plain = isinstance(value, (int, float, str, bool, type(None)))
    return value is before or (plain and type(value) is type(before) and value == before)


def converted(arg: Any, dtype: torch.dtype) -> Any:
    """A float tensor in ``dtype``, wanting a gradient; anything else as it is."""
    if isinstance(arg, Tensor) and arg.is_floating_point():
        return arg.detach().to(dtype, copy=True).requires_grad_()
    return arg
