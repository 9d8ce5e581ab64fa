"""Where a model reads and writes, found by watching it run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

WORDS = ("read", "write")


@dataclass(frozen=True)
class Site:
    """A method, or a function bound in ``__init__``, that may be a read or a write.

    Names only narrow down where to look; what a site does is decided by its numbers.
    """

    owner: nn.Module
    attribute: str
    label: str  # as its author would write it: "read", "reader.forward"

    @property
    def function(self) -> Callable[..., Any]:
        """What stands there now."""
        return getattr(self.owner, self.attribute)

    def put(self, function: Callable[..., Any]) -> Callable[[], None]:
        """Put another function in its place; returns what undoes that."""
        attributes, name = vars(self.owner), self.attribute
        bound = name in attributes
        original = attributes.get(name)
        attributes[name] = function

        def undo() -> None:
            if bound:
                attributes[name] = original
            else:
                attributes.pop(name, None)

        return undo


@dataclass
class Event:
    """One call of a Linear or a cell."""

    module: nn.Module
    inputs: tuple[Any, ...]
    output: Any


@dataclass
class Call:
    """One call of a site."""

    arguments: dict[str, Any]  # by parameter name
    output: Any
    begin: int  # of its events
    end: int
    depth: int  # 0 unless another site called it


@dataclass
class Recording:
    """What happened while a model ran."""

    events: list[Event] = field(default_factory=list)
    calls: dict[Site, list[Call]] = field(default_factory=dict)
    depth: int = 0

    def of(self, call: Call) -> list[Event]:
        """Events inside a call."""
        return self.events[call.begin : call.end]


def find_sites(model: nn.Module) -> list[Site]:
    """Everything callable on the model and its submodules that is named as a read or a write."""
    sites = []
    for path, module in model.named_modules():
        if type(module).__module__.split(".")[0] == "torch":
            continue  # fc_write, read_linear: layers
        prefix = f"{path}." if path else ""
        for name in sorted(set(dir(type(module))) | set(vars(module))):
            named = any(word in name.lower() for word in WORDS)
            if not named or name.startswith("__") or hasattr(nn.Module, name):
                continue
            if callable(getattr(module, name)) and not isinstance(getattr(module, name), type):
                sites.append(Site(module, name, prefix + name))
        for name, child in module._modules.items():
            named = any(word in name.lower() for word in WORDS)
            if named and child is not None and type(child).__module__.split(".")[0] != "torch":
                sites.append(Site(child, "forward", f"{prefix}{name}.forward"))
    return sites


@contextmanager
def recording(model: nn.Module, sites: list[Site]) -> Iterator[Recording]:
    """Record every call of the sites, of Linears and of cells while the block runs."""
    record = Recording()

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        record.events.append(Event(module, (*args, *kwargs.values()), output))

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.RNNCellBase)):
                handle = module.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        for site in sites:
            record.calls[site] = []
            stack.callback(site.put(_Recorder(site, record)))
        yield record


class _Recorder:
    def __init__(self, site: Site, record: Recording) -> None:
        self.site, self.record, self.function = site, record, site.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        record = self.record
        begin, depth = len(record.events), record.depth
        record.depth += 1
        try:
            output = self.function(*args, **kwargs)
        finally:
            record.depth -= 1
        arguments = bind(self.function, args, kwargs)
        record.calls[self.site].append(Call(arguments, output, begin, len(record.events), depth))
        return output


def bind(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments of a call by parameter name, without those left at their defaults."""
    return dict(inspect.signature(function).bind(*args, **kwargs).arguments)


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's parameters, in the order of positional arguments."""
    return tuple(inspect.signature(function).parameters)


def is_float(value: Any) -> bool:
    """Whether a value is a tensor of floating point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()
