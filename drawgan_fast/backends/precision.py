"""The one rule of precision: half types are computed in float32, the others as they are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Dtype in which an operator computes for inputs of ``dtype``.

    >>> computing_dtype(torch.bfloat16), computing_dtype(torch.float64)
    (torch.float32, torch.float64)
    """
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def computing(tensor: Tensor) -> Tensor:
    """The tensor in its computing dtype."""
    return tensor.to(computing_dtype(tensor.dtype))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast is off, on devices that have it."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def result_dtype(*tensors: Tensor | None) -> torch.dtype:
    """Promoted dtype of an operator's tensor arguments, by PyTorch's own rules.

    >>> result_dtype(torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1))
    torch.float32
    """
    dtypes = [t.dtype for t in tensors if t is not None]
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = torch.promote_types(result, dtype)
    return result
