"""How a call reaches the kernels: which ones can, which go straight there, which must be seen.

A registered operator costs 10 to 30 µs of host time, more than the small kernels themselves. So a
call on plain tensors goes straight to the kernels, and a registered operator is called only where
something watches: a compiler, an exporter, a dispatch mode, a tensor subclass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_PLAIN = (Tensor, Parameter)
_STRIDED = torch.strided
_TRACED = (FakeTensor, FunctionalTensor)
_DEVICES = {"cpu": "the CPU", "cuda": "a GPU"}
_TAKEN = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def reason_against(args: Mapping[str, Any], device: str, plain: str | None = None) -> str | None:
    """Why these arguments cannot go to kernels of that device type, or None if they can.

    Args:
        args: all arguments of an operator.
        device: of the kernels.
        plain: as for ``Backend.can_run``.
    """
    if torch._C._functorch.maybe_current_level() is not None:
        return "torch.func transforms are not supported"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is not supported"
    if plain == device:
        return None
    accepted = None  # to compare devices costs a third of what asking one for its type costs
    for name, value in args.items():
        for tensor in value if isinstance(value, tuple) else (value,):
            # Plain tensors first: most calls have no others, and each costs host time.
            if (
                type(tensor) in _PLAIN
                and ((place := tensor.device) == accepted or place.type == device)
                and tensor.layout is _STRIDED
            ):
                accepted = place
                if tensor.dtype not in _TAKEN:
                    return f"{name} has dtype {tensor.dtype}, which it does not take"
            elif isinstance(tensor, Tensor):
                reason = _against(name, tensor, device)
                if reason is not None:
                    return reason
    return None


def _against(name: str, tensor: Tensor, device: str) -> str | None:
    if tensor.dtype not in _TAKEN:
        return f"{name} has dtype {tensor.dtype}, which it does not take"
    if tensor.device.type != device:
        return f"{name} is on {tensor.device}, and it runs on {_DEVICES.get(device, device)}"
    if tensor.layout is not _STRIDED:
        return f"{name} has layout {tensor.layout}, and it takes strided tensors"
    kind = type(tensor)
    if kind not in _PLAIN and kind not in _TRACED and _dispatches(kind):
        return f"{name} is a {kind.__name__}, which decides itself how operators run"
    return None


def _dispatches(kind: type[Tensor]) -> bool:
    return kind.__torch_dispatch__ is not Tensor.__torch_dispatch__


def watched() -> bool:
    """Whether something traces or intercepts operators, so that they must be registered ones."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.maybe_current_level() is not None
        or torch._C._get_tracing_state() is not None
    )


def direct(tensors: Iterable[Tensor | None]) -> bool:
    """Whether a call on these tensors may go straight to the kernels."""
    if watched():
        return False
    for tensor in tensors:  # noqa: SIM110  a generator would double the cost of these checks
        if tensor is not None and type(tensor) not in _PLAIN:
            return False
    return True


def computed_as_they_are(tensors: Sequence[Tensor | None], dtypes: tuple[torch.dtype, ...]) -> bool:
    """Whether the tensors, of which the first is given, have one of these dtypes."""
    first = tensors[0]
    assert first is not None
    dtype = first.dtype
    if dtype not in dtypes:
        return False
    for tensor in tensors:  # noqa: SIM110
        if tensor is not None and tensor.dtype is not dtype:
            return False
    return True


def wants_gradient(tensors: Iterable[Tensor | None]) -> bool:
    """Whether autograd is to know of a call on these tensors."""
    if not torch.is_grad_enabled():
        return False
    for tensor in tensors:  # noqa: SIM110
        if tensor is not None and tensor.requires_grad:
            return True
    return False


def cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The tensor in ``dtype``; None passes through."""
    return None if tensor is None else tensor.to(dtype)


def dense(tensor: Tensor) -> Tensor:
    """The tensor laid out as kernels read it: contiguous, no lazy minus sign."""
    tensor = tensor.contiguous()
    return tensor.resolve_neg() if tensor.is_neg() else tensor


def pointer(tensor: Tensor | None) -> int:
    """Address of a dense tensor's numbers, as the core takes it; 0 where there is none."""
    return 0 if tensor is None else tensor.data_ptr()


def autocast_bf16(tensor: Tensor) -> bool:
    """Whether autocast lets products of a tensor's kind round their operands to bfloat16."""
    return tensor.dtype is torch.float32 and autocasts_to_bf16(tensor.device.type)


def autocasts_to_bf16(device: str) -> bool:
    """Whether autocast is on for a type of device, and with bfloat16."""
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.bfloat16


def on(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which kernels run on the tensor's device."""
    return on_device(tensor.device)


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """A context in which that device is the current one, if there is such a thing."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)
