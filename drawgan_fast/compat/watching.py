"""What a model's own code looks at and does while it runs.

A run is a function of what it looked at: where all of it is as it was, the same code goes the same
way again. So these notes are the conditions under which what was proved of one run is true of
another.
"""

from __future__ import annotations

import builtins
import functools
import math
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.compat.contents import (
    is_by_somebody,
    is_installed,
    is_plain,
    is_somebodys,
    subclass_unnoticed,
)

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
# What code may call without doing, or learning, anything but what its arguments say. Whatever else
# it calls is noted as an operation of that name, and is no more certain than a clamp.
_BUILTINS = {
    *("len", "isinstance", "issubclass", "getattr", "hasattr", "setattr", "delattr", "callable"),
    *("sum", "max", "min", "abs", "round", "divmod", "pow", "sorted", "iter", "next", "any", "all"),
    *("repr", "format", "id", "hash", "ord", "chr", "__build_class__", "vars", "dir"),
}
_LIBRARIES = {
    *("torch", "drawgan_fast", "einops", "opt_einsum", "math", "cmath", "operator", "_operator"),
    *("functools", "_functools", "itertools", "collections", "_collections", "typing", "types"),
    *("contextlib", "abc", "_abc", "enum", "dataclasses", "copy", "numbers", "builtins"),
}
_TORCHS_OUTWARD = ("torch.utils.tensorboard", "torch.serialization", "torch.distributed.")
_TORCHS_STATE = {
    *("is_grad_enabled", "is_inference_mode_enabled", "is_autocast_enabled", "get_default_dtype"),
    *("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state", "fork_rng"),
    *("register_hook", "register_post_accumulate_grad_hook", "set_grad_enabled"),
}
# Out of a tensor, where no operator is seen.
_NUMBERS_OF = frozenset({"item", "numpy", "tolist", "__array__", "data_ptr", "register_hook"})


@dataclass
class Notes:
    """What was seen.

    Attributes:
        names: attributes of modules that were read, by the module's ``id``, in the whole run (key
            None) and while the call of a site was under way.
        values: what plain ones among them said.
        code: Python code that ran, with its globals and the sites (None for the whole run).
        operations: names of ATen operators, without what checks a distribution's arguments, and of
            all that was called whose effects no tensor shows, by the sites whose calls were under
            way.
        libraries: code that ran and is not the author's.
        under_way: sites that are being called, the outermost first.
    """

    names: dict[Any, dict[int, set[str]]] = field(default_factory=dict)
    values: dict[tuple[Any, int, str], list[Any]] = field(default_factory=dict)
    code: dict[types.CodeType, tuple[dict[str, Any], set[Any]]] = field(default_factory=dict)
    libraries: set[types.CodeType] = field(default_factory=set)
    operations: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)
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
        sys.setprofile(functools.partial(_profile, notes, authors_of(model)))
        yield


def authors_of(model: nn.Module) -> frozenset[str]:
    """The packages, or single files, that a model's own classes are written in."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    return frozenset(k.__module__.split(".")[0] for k in kinds if is_by_somebody(k))


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
    module.__class__ = subclass_unnoticed(own, body)

    def back() -> None:
        module.__class__ = own

    return back


def _profile(
    notes: Notes, authors: frozenset[str], frame: types.FrameType, event: str, arg: Any
) -> None:
    if event == "call":
        code = frame.f_code
        if _is_authors(notes, frame, authors):
            notes.code.setdefault(code, (frame.f_globals, {None}))[1].update(notes.under_way)
        elif frame.f_back is not None and _is_authors(notes, frame.f_back, authors):
            _note_call(notes, str(frame.f_globals.get("__name__")), code.co_name)
    elif event == "c_call" and _is_authors(notes, frame, authors):
        owner, name = getattr(arg, "__self__", None), str(getattr(arg, "__name__", ""))
        if isinstance(owner, torch.Tensor):
            if name in _NUMBERS_OF:
                notes.operation(f".{name}()")
        elif isinstance(owner, types.ModuleType):
            _note_call(notes, owner.__name__, name)
        elif owner is not None:  # a method of some object of Python's or of a library
            _note_call(notes, (owner if isinstance(owner, type) else type(owner)).__module__, name)
        else:
            _note_call(notes, str(getattr(arg, "__module__", "")), name)


def _note_call(notes: Notes, module: str, name: str) -> None:
    if module == "builtins":
        known = name in _BUILTINS or not hasattr(builtins, name)  # or a method of a list
    else:
        known = module.split(".")[0] in _LIBRARIES and not module.startswith(_TORCHS_OUTWARD)
    if module == "torch.autograd.function" and name == "apply":
        notes.operation("a torch.autograd.Function")
    elif not known or (module.startswith("torch") and name in _TORCHS_STATE):
        notes.operation(f"{module}.{name}")


def _is_authors(notes: Notes, frame: types.FrameType, authors: frozenset[str]) -> bool:
    code = frame.f_code
    if code in notes.code:
        return True
    if code in notes.libraries:
        return False
    if code.co_name == "<module>" or not _is_by(frame, authors):
        notes.libraries.add(code)
        return False
    return True


def _is_by(frame: types.FrameType, authors: frozenset[str]) -> bool:
    """Whether code is the model's author's, and not a library's that is called."""
    name = frame.f_globals.get("__name__")
    if name is None:
        return True
    if name.startswith("namedtuple_"):
        return False
    return is_somebodys(name) and (name.split(".")[0] in authors or not is_installed(name))


class _Operations(TorchDispatchMode):
    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self.notes = notes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = _described(func.__name__.split(".")[0], args, kwargs or {})
        # Of our own operators a replacement is made itself.
        if func.namespace != "drawgan_fast" and (
            name in CERTAIN or name in NOISE or not _checks_arguments()
        ):
            self.notes.operation(name)
        return func(*args, **(kwargs or {}))


def _described(name: str, args: Any, kwargs: dict[str, Any]) -> str:
    """An operator's name, with what makes it another one."""
    if name.startswith("div") and kwargs.get("rounding_mode") is not None:
        return "div with rounding"
    if name == "_to_copy" and args[0].is_floating_point():
        dtype = kwargs.get("dtype")
        return name if dtype is None or dtype.is_floating_point else f"to({dtype})"
    if name in CLAMPS:
        low, high = _limits(name.rstrip("_"), args, kwargs)
        return clamp_name(low, high)
    return name


def _limits(name: str, args: Any, kwargs: dict[str, Any]) -> tuple[float, float]:
    given = [_number(value) for value in args[1:3]]
    if name in ("clamp_min", "maximum", "threshold"):
        return given[0], math.inf
    if name in ("clamp_max", "minimum"):
        return -math.inf, given[0]
    low, high = ([*given, None, None])[:2]
    low = _number(kwargs["min"]) if "min" in kwargs else low
    high = _number(kwargs["max"]) if "max" in kwargs else high
    return -math.inf if low is None else low, math.inf if high is None else high


def _number(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else math.nan
    return value


def clamp_name(low: float, high: float) -> str:
    """What a clamp is noted as.

    >>> clamp_name(1e-8, math.inf)
    'clamp(1e-08, inf)'
    """
    return f"clamp({low:.4g}, {high:.4g})"


def _checks_arguments() -> bool:
    """Whether a distribution is being made, which compares its arguments with their limits."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("torch.distributions"):
            return frame.f_code.co_name in ("__init__", "_validate_sample", "check")
        frame = frame.f_back
    return False


def uncertain(operations: set[str], spec: AttentionSpec | None = None) -> list[str]:
    """The operators of which agreement on probes proves nothing.

    Args:
        operations: that ran.
        spec: the convention found, inside a read or a write: there a maximum may be subtracted, its
            own clamps are known, and no noise belongs.

    >>> uncertain({"mul", "clamp(0, 1)", "randn"})
    ['clamp(0, 1)']
    """
    known = set(CERTAIN)
    if spec is None:
        known |= NOISE
    else:
        known |= HARMLESS_IN_FILTERS
        if spec.normalisation == "max":
            known.add(clamp_name(spec.eps, math.inf))
        if spec.log_sigma2_clamp is not None:
            # A limit that no window met stands beyond all of them.
            low, high = spec.log_sigma2_clamp
            lows = [low] if low > -UNMET else [-math.inf]
            highs = [high] if high < UNMET else [math.inf]
            known |= {clamp_name(a, b) for a in lows for b in highs}
            known |= {clamp_name(a, math.inf) for a in lows} | {
                clamp_name(-math.inf, b) for b in highs
            }
    return sorted(_AS_WRITTEN.get(name, name) for name in operations - known)


UNMET = 60.0
_AS_WRITTEN = {"_local_scalar_dense": ".item()"}
