"""attention_write over compiled kernels: canvas + (1/γ)·F_yᵀ·w·F_x and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.compiled.calls import (
    cast,
    computed_as_they_are,
    direct,
    wants_gradient,
)
from drawgan_fast.backends.compiled.kernels import Kernels
from drawgan_fast.backends.compiled.registration import (
    check_shape,
    define,
    kernels_of,
    refuse_batched,
)
from drawgan_fast.backends.compiled.texts import spec_from, spec_text
from drawgan_fast.backends.precision import computing_dtype, result_dtype


def attention_write(
    kernels: Kernels,
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    spec: AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> Tensor:
    """See ``functional.attention_write``; float32 whatever autocast says."""
    tensors = (patch, params, canvas)
    if not computed_as_they_are(tensors, kernels.attention_dtypes):
        result = result_dtype(*tensors)
        dtype = computing_dtype(result)
        canvas = cast(canvas, dtype)
        written = attention_write(kernels, patch.to(dtype), params.to(dtype), size, spec, canvas)
        return written.to(result)
    if not direct(tensors):
        return torch.ops.drawgan_fast.attention_write(
            patch, params, canvas, size[0], size[1], spec_text(spec), kernels.name
        )
    if wants_gradient(tensors):
        return _Write.apply(kernels, patch, params, canvas, size, spec)
    return kernels.attention_write(patch, params, canvas, size, spec)


def _gradients(
    patch: Tensor,
    params: Tensor,
    d_out: Tensor,
    spec: AttentionSpec,
    wants: Sequence[bool],  # of patch, params and canvas
    *,
    kernels: Kernels | str,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients in the order of ``wants``; with a backend's name, as registered operators."""
    d_patch: Tensor | None = None
    d_params: Tensor | None = None
    if wants[0] or wants[1]:
        if isinstance(kernels, str):
            d_patch, d_params = torch.ops.drawgan_fast.attention_write_backward(
                patch, params, d_out, spec_text(spec), kernels
            )
        else:
            d_patch, d_params = kernels.attention_write_backward(patch, params, d_out, spec)
    return (
        d_patch if wants[0] else None,
        d_params if wants[1] else None,
        d_out if wants[2] else None,
    )


class _Write(torch.autograd.Function):
    """The eager gradient: leaner than the registered one, which takes over where it is traced."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        patch: Tensor,
        params: Tensor,
        canvas: Tensor | None,
        size: tuple[int, int],
        spec: AttentionSpec,
    ) -> Tensor:
        ctx.kernels, ctx.spec = kernels, spec
        ctx.save_for_backward(patch, params)
        ctx.set_materialize_grads(False)
        return kernels.attention_write(patch, params, canvas, size, spec)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor | None) -> Any:
        refuse_batched("attention_write", (d_out,))
        patch, params = ctx.saved_tensors
        if d_out is None:
            return None, None, None, None, None, None
        traced = torch.is_grad_enabled() or not direct((patch, params, d_out))
        wants, kernels = ctx.needs_input_grad[1:], ctx.kernels.name if traced else ctx.kernels
        gradients = _gradients(patch, params, d_out, ctx.spec, wants, kernels=kernels)
        return (None, *gradients, None, None)


def _check(patch: Tensor, params: Tensor, canvas: Tensor | None, size: tuple[int, int]) -> None:
    if patch.dim() != 4 or min(size) < 1:
        raise ValueError(
            f"patch must be [B, C, N, N] and the canvas hold a pixel, got {list(patch.shape)}, "
            f"height and width {size}"
        )
    B, C, N, _ = patch.shape
    check_shape("patch", patch, (B, C, N, N), params.dtype)
    check_shape("params", params, (B, 5), params.dtype)
    check_shape("canvas", canvas, (B, C, *size), params.dtype)


def _operator(
    patch: Tensor,
    params: Tensor,
    canvas: Tensor | None,
    height: int,
    width: int,
    spec: str,
    backend: str,
) -> Tensor:
    _check(patch, params, canvas, (height, width))
    kernels, size = kernels_of(backend, params.device), (height, width)
    return kernels.attention_write(patch, params, canvas, size, spec_from(spec))


def _fake(
    patch: Tensor,
    params: Tensor,
    canvas: Tensor | None,
    height: int,
    width: int,
    spec: str,
    backend: str,
) -> Tensor:
    return patch.new_empty(patch.shape[0], patch.shape[1], height, width)


def _setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
    patch, params, _, _, _, ctx.text, ctx.backend = inputs
    ctx.save_for_backward(patch, params)


def _formula(ctx: Any, d_out: Tensor) -> Any:
    refuse_batched("attention_write", (d_out,))
    patch, params = ctx.saved_tensors
    spec = spec_from(ctx.text)
    gradients = _gradients(patch, params, d_out, spec, ctx.needs_input_grad, kernels=ctx.backend)
    return (*gradients, None, None, None, None)


def _backward_operator(
    patch: Tensor, params: Tensor, d_out: Tensor, spec: str, backend: str
) -> tuple[Tensor, Tensor]:
    _check(patch, params, d_out, (d_out.shape[-2], d_out.shape[-1]))
    kernels = kernels_of(backend, params.device)
    return kernels.attention_write_backward(patch, params, d_out, spec_from(spec))


def _backward_fake(
    patch: Tensor, params: Tensor, d_out: Tensor, spec: str, backend: str
) -> tuple[Tensor, Tensor]:
    return patch.new_empty(patch.shape), params.new_empty(params.shape)


define(
    "attention_write",
    "(Tensor patch, Tensor params, Tensor? canvas, int height, int width, str spec, "
    "str backend) -> Tensor",
    _operator,
    _fake,
    setup_context=_setup_context,
    backward=_formula,
)
define(
    "attention_write_backward",
    "(Tensor patch, Tensor params, Tensor d_out, str spec, str backend) -> (Tensor, Tensor)",
    _backward_operator,
    _backward_fake,
)
