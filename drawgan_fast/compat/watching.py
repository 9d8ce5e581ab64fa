"""What a model's own code looks at and does while it runs.

A run is a function of what it looked at: where all of it is as it was, the same code goes the same
way again. So these notes are the conditions under which what was proved of one run is true of
another.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from drawgan_fast.compat.contents import is_by_somebody, is_installed, is_plain, is_somebodys

# Real-analytic functions of their inputs, and those that only move numbers. Two compositions of
# them that agree on random numbers agree everywhere; of a clamp, a comparison or a branch, which a
# probe may not reach, nothing of the kind is true.
_MOVES = (
    "view _unsafe_view reshape _reshape_alias _reshape_copy view_copy expand expand_as permute "
    "transpose t movedim slice select split split_with_sizes chunk unbind squeeze unsqueeze "
    "flatten cat stack clone copy _to_copy detach alias contiguous as_strided narrow diagonal "
    "flip repeat index_select constant_pad_nd tile unfold lift lift_fresh lift_fresh_copy "
    "_conj resolve_conj resolve_neg is_same_size requires_grad_ repeat_interleave "
    "unsafe_split unsafe_chunk unsafe_split_with_sizes"
)
_CONSTANTS = (
    "zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full empty empty_like "
    "new_empty empty_strided new_empty_strided zero zero_ fill fill_ arange linspace scalar_tensor "
    "eye"
)
_ANALYTIC = (
    "add sub rsub mul div true_divide neg exp exp2 log log1p expm1 sigmoid tanh softplus "
    "log_sigmoid_forward pow square sqrt rsqrt reciprocal addmm mm bmm matmul baddbmm addbmm addmv "
    "mv "
    "dot linear einsum sum mean addcmul addcdiv _softmax _log_softmax logsumexp lerp sin cos erf "
    "lstm_cell _thnn_fused_lstm_cell gru_cell _thnn_fused_gru_cell mkldnn_linear"
)
_NOISE = "randn randn_like normal normal_ new_normal"
CERTAIN = frozenset(
    name + suffix
    for words in (_MOVES, _CONSTANTS, _ANALYTIC)
    for name in words.split()
    for suffix in ("", "_")
)
NOISE = frozenset(_NOISE.split())
# A maximum that is subtracted before exp changes nothing.
HARMLESS_IN_FILTERS = frozenset({"amax", "max"})
CLAMPS = frozenset(
    {"clamp", "clamp_", "clamp_min", "clamp_min_", "clamp_max", "clamp_max_", "maximum", "minimum"}
    | {"hardtanh", "hardtanh_", "threshold", "threshold_"}
)
_OUTWARD = frozenset({"print", "write", "writelines", "input", "open"})


@dataclass
class Notes:
    """What was seen.

    Attributes:
        names: attributes of modules that were read, by the module's ``id``, in the whole run (key
            None) and while the call of a site was under way.
        values: what plain ones among them said.
        code: Python code that ran, with its globals and the sites (None for the whole run).
        operations: names of ATen operators, without what checks a distribution's arguments, by the
            sites whose calls were under way.
        outward: what was printed or written by.
        under_way: sites that are being called, the outermost first.
    """

    names: dict[Any, dict[int, set[str]]] = field(default_factory=dict)
    values: dict[tuple[Any, int, str], list[Any]] = field(default_factory=dict)
    code: dict[types.CodeType, tuple[dict[str, Any], set[Any]]] = field(default_factory=dict)
    libraries: set[types.CodeType] = field(default_factory=set)
    operations: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)
    outward: set[str] = field(default_factory=set)
    under_way: list[Any] = field(default_factory=list)

    def read(self, module: nn.Module, name: str) -> None:
        """Note that an attribute was looked at."""
        value = vars(module).get(name)
        for key in (None, *self.under_way):
            self.names.setdefault(key, {}).setdefault(id(module), set()).add(name)
            if is_plain(value):
                seen = self.values.setdefault((key, id(module), name), [])
                if value not in seen:
                    seen.append(value)

    def operation(self, name: str) -> None:
        """Note that an operator ran."""
        self.operations.setdefault(tuple(self.under_way), set()).add(name)

    def read_in(self, sites: Iterable[Any]) -> dict[int, set[str]]:
        """Attributes that were read while a call of one of these sites was under way."""
        found: dict[int, set[str]] = {}
        for site in sites:
            for owner, names in self.names.get(site, {}).items():
                found.setdefault(owner, set()).update(names)
        return found

    def code_in(self, sites: Iterable[Any]) -> dict[types.CodeType, dict[str, Any]]:
        """Code that ran while a call of one of these sites was under way, with its globals."""
        given = set(sites)
        return {code: scope for code, (scope, ran) in self.code.items() if given & ran}

    def inside(self, site: Any) -> set[str]:
        """Operators that ran while a site's call was under way."""
        return {name for key, names in self.operations.items() if site in key for name in names}

    def outside(self, sites: Iterable[Any]) -> set[str]:
        """Operators that ran in no call of these sites."""
        given = set(sites)
        kept = [names for key, names in self.operations.items() if given.isdisjoint(key)]
        return set().union(*kept)


@contextmanager
def watching(model: nn.Module, notes: Notes) -> Iterator[None]:
    """Take notes while the block runs. Classes of the model's modules are others meanwhile."""
    with ExitStack() as stack:
        for module in model.modules():
            if is_by_somebody(type(module)):
                stack.callback(_watch_reads(module, notes))
        stack.enter_context(_Operations(notes))
        stack.callback(_profiler_back())
        classes = [type(module) for module in model.modules()]
        authors = frozenset(c.__module__.split(".")[0] for c in classes if is_by_somebody(c))
        sys.setprofile(functools.partial(_profile, notes, authors))
        yield


def _profiler_back() -> Callable[[], None]:
    """Somebody may be profiling: with a function, or with one of C that can only be paused."""
    now: Any = sys.getprofile()
    if now is None or callable(now):
        return lambda: sys.setprofile(now)
    now.disable()

    def back() -> None:
        sys.setprofile(None)
        now.enable()

    return back


def _watch_reads(module: nn.Module, notes: Notes) -> Callable[[], None]:
    own = type(module)

    def look(self: nn.Module, name: str) -> Any:
        # torch's own machinery looks at its own bookkeeping.
        if is_somebodys(sys._getframe(1).f_globals.get("__name__")):
            notes.read(self, name)
        return own.__getattribute__(self, name)

    body = {
        "__getattribute__": look,
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
    }
    module.__class__ = types.new_class(
        own.__name__, (own,), {"metaclass": type(own)}, lambda namespace: namespace.update(body)
    )

    def back() -> None:
        module.__class__ = own

    return back


def _profile(
    notes: Notes, authors: frozenset[str], frame: types.FrameType, event: str, arg: Any
) -> None:
    if event == "call":
        code = frame.f_code
        if code in notes.libraries:
            return
        if code not in notes.code:
            if code.co_name == "<module>" or not _is_by(frame, authors):
                notes.libraries.add(code)
                return
            notes.code[code] = (frame.f_globals, {None})
        notes.code[code][1].update(notes.under_way)
    elif event == "c_call":
        name = getattr(arg, "__name__", None)
        if name in _OUTWARD and name not in notes.outward and _is_by(frame, authors):
            notes.outward.add(name)


def _is_by(frame: types.FrameType, authors: frozenset[str]) -> bool:
    """Whether code is the model's author's, and not a library's that is called."""
    name = frame.f_globals.get("__name__")
    if name is None:
        return True
    return is_somebodys(name) and (name.split(".")[0] in authors or not is_installed(name))


class _Operations(TorchDispatchMode):
    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self.notes = notes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.__name__.split(".")[0]
        rounded = name.startswith("div") and (kwargs or {}).get("rounding_mode") is not None
        if rounded:
            name = "div with rounding"
        # Of our own operators a replacement is made itself.
        if func.namespace != "drawgan_fast" and (
            name in CERTAIN or name in NOISE or not _checks_arguments()
        ):
            self.notes.operation(name)
        return func(*args, **(kwargs or {}))


def _checks_arguments() -> bool:
    """Whether a distribution is being made, which compares its arguments with their limits."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("torch.distributions"):
            return frame.f_code.co_name in ("__init__", "_validate_sample", "check")
        frame = frame.f_back
    return False


def uncertain(operations: set[str], *, in_filters: bool = False, clamps: bool = False) -> list[str]:
    """The operators of which agreement on probes proves nothing.

    Args:
        operations: that ran.
        in_filters: inside a read or a write: a maximum may be subtracted, and no noise belongs.
        clamps: whether a convention was found that has a limit of its own.

    >>> uncertain({"mul", "clamp", "randn"})
    ['clamp']
    """
    known = set(CERTAIN)
    known |= HARMLESS_IN_FILTERS if in_filters else NOISE
    known |= CLAMPS if clamps else set()
    return sorted(_AS_WRITTEN.get(name, name) for name in operations - known)


_AS_WRITTEN = {"_local_scalar_dense": ".item()"}
