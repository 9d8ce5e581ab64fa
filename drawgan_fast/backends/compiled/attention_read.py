"""attention_read over compiled kernels: γ·F_y·I·F_xᵀ and its gradient."""

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


def attention_read(
    kernels: Kernels,
    images: tuple[Tensor, ...],  # [B, C, H, W] each
    params: Tensor,  # [B, 5]
    N: int,
    spec: AttentionSpec,
    canvas: Tensor | None,  # [B, C, H, W]
) -> tuple[Tensor, ...]:
    """See ``functional.attention_read``; float32 whatever autocast says."""
    tensors = (*images, params, canvas)
    if not computed_as_they_are(tensors, kernels.attention_dtypes):
        result = result_dtype(*tensors)
        dtype = computing_dtype(result)
        images = tuple(image.to(dtype) for image in images)
        canvas = cast(canvas, dtype)
        glimpses = attention_read(kernels, images, params.to(dtype), N, spec, canvas)
        return tuple(glimpse.to(result) for glimpse in glimpses)
    if not direct(tensors):
        return tuple(
            torch.ops.drawgan_fast.attention_read(
                list(images), params, canvas, N, spec_text(spec), kernels.name
            )
        )
    if wants_gradient(tensors):
        return _Read.apply(kernels, N, spec, params, canvas, *images)
    return kernels.attention_read(images, params, canvas, N, spec)


class _Read(torch.autograd.Function):
    """The eager gradient: leaner than the registered one, which takes over where it is traced."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        N: int,
        spec: AttentionSpec,
        params: Tensor,
        canvas: Tensor | None,
        *images: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.kernels, ctx.N, ctx.spec = kernels, N, spec
        ctx.save_for_backward(params, canvas, *images)
        ctx.set_materialize_grads(False)
        return kernels.attention_read(images, params, canvas, N, spec)

    @staticmethod
    def backward(ctx: Any, *d_glimpses: Tensor | None) -> Any:
        refuse_batched("attention_read", d_glimpses)
        params, canvas, *images = ctx.saved_tensors
        wants = list(ctx.needs_input_grad[3:])
        if all(d is None for d in d_glimpses):
            return (None, None, None, *(None for _ in wants))
        if torch.is_grad_enabled() or not direct((params, canvas, *images, *d_glimpses)):
            gradients = _traced_backward(
                images, params, canvas, d_glimpses, wants, ctx.N, ctx.spec, ctx.kernels.name
            )
        else:
            gradients = ctx.kernels.attention_read_backward(
                images, params, canvas, d_glimpses, wants, ctx.N, ctx.spec
            )
        return (None, None, None, *gradients)


def _traced_backward(
    images: Sequence[Tensor],
    params: Tensor,
    canvas: Tensor | None,
    d_glimpses: Sequence[Tensor | None],
    wants: list[bool],
    N: int,
    spec: AttentionSpec,
    backend: str,
) -> list[Tensor | None]:
    """As the kernels' own backward, through the registered operator."""
    B, C = images[0].shape[:2]
    given = [params.new_zeros(B, C, N, N) if d is None else d for d in d_glimpses]
    gradients = iter(
        torch.ops.drawgan_fast.attention_read_backward(
            list(images), params, canvas, given, wants, N, spec_text(spec), backend
        )
    )
    return [next(gradients) if want else None for want in wants]


def _check(images: Sequence[Tensor], params: Tensor, canvas: Tensor | None) -> None:
    if not images or images[0].dim() != 4:
        raise ValueError("images must hold at least one tensor [B, C, H, W]")
    shape, dtype = images[0].shape, params.dtype
    for index, image in enumerate(images):
        check_shape(f"images[{index}]", image, shape, dtype)
    check_shape("params", params, (shape[0], 5), dtype)
    check_shape("canvas", canvas, shape, dtype)
    if canvas is not None and len(images) != 1:
        raise ValueError(f"images must be one tensor when canvas is given, got {len(images)}")


def _operator(
    images: list[Tensor], params: Tensor, canvas: Tensor | None, N: int, spec: str, backend: str
) -> list[Tensor]:
    _check(images, params, canvas)
    kernels = kernels_of(backend, params.device)
    return list(kernels.attention_read(images, params, canvas, N, spec_from(spec)))


def _fake(
    images: list[Tensor], params: Tensor, canvas: Tensor | None, N: int, spec: str, backend: str
) -> list[Tensor]:
    B, C = images[0].shape[:2]
    return [params.new_empty(B, C, N, N) for _ in range(len(images) + (canvas is not None))]


def _setup_context(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    images, params, canvas, ctx.N, ctx.text, ctx.backend = inputs
    ctx.save_for_backward(params, canvas, *images)


def _formula(ctx: Any, d_glimpses: list[Tensor]) -> Any:
    refuse_batched("attention_read", d_glimpses)
    params, canvas, *images = ctx.saved_tensors
    of_images, of_params, of_canvas = ctx.needs_input_grad[:3]
    wants = [of_params, of_canvas, *of_images]
    d_params, d_canvas, *d_images = _traced_backward(
        images, params, canvas, d_glimpses, wants, ctx.N, spec_from(ctx.text), ctx.backend
    )
    return d_images, d_params, d_canvas, None, None, None


def _backward_operator(
    images: list[Tensor],
    params: Tensor,
    canvas: Tensor | None,
    d_glimpses: list[Tensor],
    wants: list[bool],
    N: int,
    spec: str,
    backend: str,
) -> list[Tensor]:
    _check(images, params, canvas)
    for index, d_glimpse in enumerate(d_glimpses):
        shape = (*images[0].shape[:2], N, N)
        check_shape(f"d_glimpses[{index}]", d_glimpse, shape, params.dtype)
    kernels = kernels_of(backend, params.device)
    gradients = kernels.attention_read_backward(
        images, params, canvas, d_glimpses, wants, N, spec_from(spec)
    )
    return [gradient for gradient in gradients if gradient is not None]


def _backward_fake(
    images: list[Tensor],
    params: Tensor,
    canvas: Tensor | None,
    d_glimpses: list[Tensor],
    wants: list[bool],
    N: int,
    spec: str,
    backend: str,
) -> list[Tensor]:
    given = [params, canvas, *images]
    return [t.new_empty(t.shape) for t, want in zip(given, wants) if want and t is not None]


define(
    "attention_read",
    "(Tensor[] images, Tensor params, Tensor? canvas, int N, str spec, str backend) -> Tensor[]",
    _operator,
    _fake,
    setup_context=_setup_context,
    backward=_formula,
)
define(
    "attention_read_backward",
    "(Tensor[] images, Tensor params, Tensor? canvas, Tensor[] d_glimpses, bool[] wants, int N, "
    "str spec, str backend) -> Tensor[]",
    _backward_operator,
    _backward_fake,
)
