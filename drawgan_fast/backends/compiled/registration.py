"""Operators as PyTorch's dispatcher knows them: one node to compilers, exporters and modes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, library

from drawgan_fast.backends.base import BackendError
from drawgan_fast.backends.compiled.kernels import Kernels

NAMESPACE = "drawgan_fast"
DEVICES = ("cpu", "cuda")


def kernels_of(backend: str, device: torch.device, *, running: bool = True) -> Kernels:
    """The kernels of the backend that a registered operator names."""
    from drawgan_fast.backends.registry import compiled_kernels  # it imports the backends

    return compiled_kernels(backend, device, running=running)


def define(
    name: str,
    schema: str,
    run: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> None:
    """Register ``drawgan_fast::name``, with a fake, a gradient and an autocast rule.

    Args:
        name: of the operator.
        schema: its arguments and returns, functional; the last argument names the backend.
        run: the implementation on tensors of one dtype and device; see :func:`kernels_of`.
        fake: shapes and dtypes of what ``run`` returns, for symbolic sizes too.
        setup_context, backward: the autograd formula; without them a gradient is refused.
    """
    operator = library.custom_op(
        f"{NAMESPACE}::{name}", run, mutates_args=(), device_types=DEVICES, schema=schema
    )
    operator.register_fake(fake)
    operator.register_autograd(backward or _no_second_derivative(name), setup_context=setup_context)
    # A filter rounded to bfloat16 no longer sums to one, and products that may round their
    # operands say so in an argument of their own.
    for device in DEVICES:
        operator.register_autocast(device, torch.float32)
    operator.register_vmap(_no_vmap(name))


def _no_second_derivative(name: str) -> Callable[..., NoReturn]:
    def backward(ctx: Any, *gradients: Any) -> NoReturn:
        raise BackendError(
            f"{name.removesuffix('_backward')} can be differentiated once on a compiled backend; "
            'for second derivatives run it under drawgan_fast.use_backend("reference")'
        )

    return backward


def refuse_batched(name: str, gradients: Iterable[Tensor | None]) -> None:
    """Raise if a backward runs on many gradients at once, as ``is_grads_batched`` makes it."""
    for gradient in gradients:
        if gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient):
            _no_vmap(f"{name}_backward")(None, None)


def _no_vmap(name: str) -> Callable[..., NoReturn]:
    def vmap(info: Any, in_dims: Any, *args: Any) -> NoReturn:
        raise BackendError(
            f"{name} of a compiled backend has no batching rule for torch.vmap; run it under "
            'drawgan_fast.use_backend("reference")'
        )

    return vmap


def check_shape(name: str, tensor: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> None:
    """Raise unless a registered operator's argument is what kernels will read.

    The functional layer has checked its calls; this guards ``torch.ops.drawgan_fast``, which an
    exported program calls without it.
    """
    if tensor is None:
        return
    if tensor.dtype != dtype:
        raise TypeError(f"{name} must have dtype {dtype}, got {tensor.dtype}")
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
