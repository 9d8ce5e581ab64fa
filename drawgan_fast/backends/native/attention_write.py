"""attention_write on the compiled core: canvas + (1/γ)·F_yᵀ·w·F_x and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.native.calls import (
    cast,
    computed_as_they_are,
    dense,
    direct,
    pointer,
    wants_gradient,
)
from drawgan_fast.backends.native.convention import spec_from, spec_text, window_map
from drawgan_fast.backends.native.core import core
from drawgan_fast.backends.native.registration import check_shape, define, refuse_batched
from drawgan_fast.backends.precision import computing_dtype, result_dtype


def attention_write(
    patch: Tensor,  # [B, C, N, N]
    params: Tensor,  # [B, 5]
    size: tuple[int, int],
    spec: AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> Tensor:
    """See ``functional.attention_write``; float32 whatever autocast says."""
    tensors = (patch, params, canvas)
    if not computed_as_they_are(tensors):
        result = result_dtype(*tensors)
        dtype = computing_dtype(result)
        written = attention_write(
            patch.to(dtype), params.to(dtype), size, spec, cast(canvas, dtype)
        )
        return written.to(result)
    if not direct(tensors):
        return torch.ops.drawgan_fast.attention_write(
            patch, params, canvas, size[0], size[1], spec_text(spec)
        )
    if wants_gradient(tensors):
        return _Write.apply(patch, params, canvas, size, spec)
    return _run(patch, params, canvas, size, spec)


def _run(
    patch: Tensor,
    params: Tensor,
    canvas: Tensor | None,
    size: tuple[int, int],
    spec: AttentionSpec,
) -> Tensor:
    B, C, N, _ = patch.shape
    H, W = size
    patch, params = dense(patch), dense(params)
    if canvas is not None:
        canvas = dense(canvas)
    out = patch.new_empty(B, C, H, W)
    if B == 0 or C == 0:  # an empty tensor has no address, and to the core that is an absent one
        return out
    core().attention_write(
        params.dtype is torch.float64,
        window_map(spec, H, W, N, True),
        B,
        C,
        H,
        W,
        N,
        patch.data_ptr(),
        params.data_ptr(),
        pointer(canvas),
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out


def _run_backward(
    patch: Tensor,
    params: Tensor,
    d_out: Tensor,  # [B, C, H, W]
    spec: AttentionSpec,
) -> tuple[Tensor, Tensor]:
    """Gradients of the patch and of the params; that of the canvas is ``d_out`` itself."""
    B, C, H, W = d_out.shape
    N = patch.shape[-1]
    if B == 0 or C == 0:
        return patch.new_zeros(patch.shape), params.new_zeros(params.shape)
    patch, params, d_out = dense(patch), dense(params), dense(d_out)
    d_patch, d_params = torch.empty_like(patch), torch.empty_like(params)
    core().attention_write_backward(
        params.dtype is torch.float64,
        window_map(spec, H, W, N, True),
        B,
        C,
        H,
        W,
        N,
        patch.data_ptr(),
        params.data_ptr(),
        d_out.data_ptr(),
        d_patch.data_ptr(),
        d_params.data_ptr(),
        torch.get_num_threads(),
    )
    return d_patch, d_params


def _gradients(
    patch: Tensor,
    params: Tensor,
    d_out: Tensor,
    spec: AttentionSpec,
    wants: Sequence[bool],  # of patch, params and canvas
    *,
    traced: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    d_patch: Tensor | None = None
    d_params: Tensor | None = None
    if wants[0] or wants[1]:
        if traced:
            d_patch, d_params = torch.ops.drawgan_fast.attention_write_backward(
                patch, params, d_out, spec_text(spec)
            )
        else:
            d_patch, d_params = _run_backward(patch, params, d_out, spec)
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
        patch: Tensor,
        params: Tensor,
        canvas: Tensor | None,
        size: tuple[int, int],
        spec: AttentionSpec,
    ) -> Tensor:
        ctx.spec = spec
        ctx.save_for_backward(patch, params)
        ctx.set_materialize_grads(False)
        return _run(patch, params, canvas, size, spec)

    @staticmethod
    def backward(ctx: Any, d_out: Tensor | None) -> Any:
        refuse_batched("attention_write", (d_out,))
        patch, params = ctx.saved_tensors
        if d_out is None:
            return None, None, None, None, None
        traced = torch.is_grad_enabled() or not direct((patch, params, d_out))
        wants = ctx.needs_input_grad
        return (*_gradients(patch, params, d_out, ctx.spec, wants, traced=traced), None, None)


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
    patch: Tensor, params: Tensor, canvas: Tensor | None, height: int, width: int, spec: str
) -> Tensor:
    _check(patch, params, canvas, (height, width))
    return _run(patch, params, canvas, (height, width), spec_from(spec))


def _fake(
    patch: Tensor, params: Tensor, canvas: Tensor | None, height: int, width: int, spec: str
) -> Tensor:
    return patch.new_empty(patch.shape[0], patch.shape[1], height, width)


def _setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
    patch, params, _, _, _, ctx.text = inputs
    ctx.save_for_backward(patch, params)


def _formula(ctx: Any, d_out: Tensor) -> Any:
    refuse_batched("attention_write", (d_out,))
    patch, params = ctx.saved_tensors
    spec = spec_from(ctx.text)
    gradients = _gradients(patch, params, d_out, spec, ctx.needs_input_grad, traced=True)
    return (*gradients, None, None, None)


def _backward_operator(
    patch: Tensor, params: Tensor, d_out: Tensor, spec: str
) -> tuple[Tensor, Tensor]:
    _check(patch, params, d_out, (d_out.shape[-2], d_out.shape[-1]))
    return _run_backward(patch, params, d_out, spec_from(spec))


def _backward_fake(
    patch: Tensor, params: Tensor, d_out: Tensor, spec: str
) -> tuple[Tensor, Tensor]:
    return patch.new_empty(patch.shape), params.new_empty(params.shape)


define(
    "attention_write",
    "(Tensor patch, Tensor params, Tensor? canvas, int height, int width, str spec) -> Tensor",
    _operator,
    _fake,
    setup_context=_setup_context,
    backward=_formula,
)
define(
    "attention_write_backward",
    "(Tensor patch, Tensor params, Tensor d_out, str spec) -> (Tensor, Tensor)",
    _backward_operator,
    _backward_fake,
)
