"""Where a model reads and writes, found by watching it run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from drawgan_fast.compat.contents import is_by_somebody
from drawgan_fast.compat.watching import Notes, watching

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
    modules: list[nn.Module]  # that it called, directly or not


@dataclass
class Recording:
    """What happened while a model ran."""

    events: list[Event] = field(default_factory=list)
    calls: dict[Site, list[Call]] = field(default_factory=dict)
    modules: list[nn.Module] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @property
    def depth(self) -> int:
        """How many sites are being called."""
        return len(self.notes.under_way)

    def of(self, call: Call) -> list[Event]:
        """Events inside a call."""
        return self.events[call.begin : call.end]


def find_sites(model: nn.Module) -> list[Site]:
    """Everything callable on the model and its submodules that is named as a read or a write."""
    sites = []
    for path, module in model.named_modules():
        if not is_by_somebody(type(module)):
            continue  # fc_write, read_linear: layers
        prefix = f"{path}." if path else ""
        for name in sorted(set(dir(type(module))) | set(vars(module))):
            named = any(word in name.lower() for word in WORDS)
            if not named or name.startswith("__") or hasattr(nn.Module, name):
                continue
            # Without calling properties, which may raise anything.
            static = inspect.getattr_static(module, name)
            if isinstance(static, (staticmethod, classmethod)):
                static = static.__func__
            if callable(static) and not isinstance(static, type):
                sites.append(Site(module, name, prefix + name))
        for name, child in module._modules.items():
            named = any(word in name.lower() for word in WORDS)
            if named and child is not None and is_by_somebody(type(child)):
                sites.append(Site(child, "forward", f"{prefix}{name}.forward"))
    return sites


@contextmanager
def recording(
    model: nn.Module, sites: list[Site], record: Recording | None = None
) -> Iterator[Recording]:
    """Record, while the block runs, every call of the sites, of Linears and of cells, which other
    modules were called, and what the model's code looked at and did."""
    record = Recording() if record is None else record
    known = record

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        known.events.append(Event(module, (*args, *kwargs.values()), output))

    def note(module: nn.Module, args: Any) -> None:
        known.modules.append(module)

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(note).remove)
            if isinstance(module, (nn.Linear, nn.RNNCellBase)):
                handle = module.register_forward_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
        for site in sites:
            record.calls.setdefault(site, [])
            stack.callback(site.put(_Recorder(site, record)))
        stack.enter_context(watching(model, record.notes))
        yield record


class _Recorder:
    def __init__(self, site: Site, record: Recording) -> None:
        self.site, self.record, self.function = site, record, site.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        record = self.record
        begin, called, depth = len(record.events), len(record.modules), record.depth
        record.notes.under_way.append(self.site)
        try:
            output = self.function(*args, **kwargs)
        finally:
            record.notes.under_way.pop()
        arguments = bind(self.function, args, kwargs)
        record.calls[self.site].append(
            Call(arguments, output, begin, len(record.events), depth, record.modules[called:])
        )
        return output


def bind(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Arguments of a call by parameter name, without those left at their defaults."""
    return dict(inspect.signature(function).bind(*args, **kwargs).arguments)


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's parameters, in the order of positional arguments; not ``*args``."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def positional_count(function: Callable[..., Any]) -> int:
    """How many of a function's parameters may be given by position."""
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """What a function's parameters say where they are left out."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def is_float(value: Any) -> bool:
    """Whether a value is a tensor of floating point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()
