"""lstm_cell over compiled kernels, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.base import State
from drawgan_fast.backends.compiled.calls import (
    autocast_bf16,
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
from drawgan_fast.backends.precision import computing_dtype, result_dtype


def lstm_cell(
    kernels: Kernels,
    x: Tensor,  # [B, D]
    state: State,  # (h, c) [B, K] each
    w_ih: Tensor,  # [4K, D]
    w_hh: Tensor,  # [4K, K]
    b_ih: Tensor | None,  # [4K]
    b_hh: Tensor | None,  # [4K]
) -> State:
    """See ``functional.lstm_cell``.

    Under ``torch.autocast("cpu", dtype=torch.bfloat16)`` the operands of the forward products are
    rounded to bfloat16 where the CPU multiplies bfloat16; sums, gates, results and the whole
    backward are float32.
    """
    h, c = state
    tensors = (x, h, c, w_ih, w_hh, b_ih, b_hh)
    if not computed_as_they_are(tensors, kernels.dtypes):
        result = result_dtype(*tensors)
        dtype = computing_dtype(result)
        h, c = lstm_cell(
            kernels,
            x.to(dtype),
            (h.to(dtype), c.to(dtype)),
            w_ih.to(dtype),
            w_hh.to(dtype),
            cast(b_ih, dtype),
            cast(b_hh, dtype),
        )
        return h.to(result), c.to(result)
    bf16 = autocast_bf16(x)
    keep = wants_gradient(tensors)
    if not direct(tensors):
        h, c, _ = torch.ops.drawgan_fast.lstm_cell(*tensors, bf16, keep, kernels.name)
        return h, c
    if keep:
        return _Cell.apply(kernels, *tensors, bf16)
    h, c, _ = kernels.lstm_cell(*tensors, bf16, False)
    return h, c


def _gradients(
    saved: Sequence[Tensor],
    d_h_out: Tensor | None,
    d_c_out: Tensor | None,
    needs: Sequence[bool],  # of x, h, c, w_ih, w_hh, b_ih and b_hh
    *,
    kernels: Kernels | str,
) -> list[Tensor | None]:
    """Gradients in the order of ``needs``; with a backend's name, as registered operators."""
    wants = [*needs[:5], needs[5] or needs[6]]
    if isinstance(kernels, str):
        given = iter(
            torch.ops.drawgan_fast.lstm_cell_backward(list(saved), d_h_out, d_c_out, wants, kernels)
        )
        gradients = [next(given) if want else None for want in wants]
    else:
        gradients = kernels.lstm_cell_backward(saved, d_h_out, d_c_out, wants)
    d_b = gradients.pop()
    # Each bias gets a tensor of its own, so that scaling one in place leaves the other alone.
    both = needs[5] and needs[6] and d_b is not None
    return [
        *gradients,
        d_b if needs[5] else None,
        d_b.clone() if both and d_b is not None else d_b if needs[6] else None,
    ]


class _Cell(torch.autograd.Function):
    """The eager gradient: leaner than the registered one, which takes over where it is traced."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
        bf16: bool,
    ) -> State:
        h_out, c_out, gates = kernels.lstm_cell(x, h, c, w_ih, w_hh, b_ih, b_hh, bf16, True)
        ctx.kernels = kernels
        ctx.save_for_backward(x, h, c, w_ih, w_hh, gates, c_out)
        ctx.set_materialize_grads(False)
        return h_out, c_out

    @staticmethod
    def backward(ctx: Any, d_h_out: Tensor | None, d_c_out: Tensor | None) -> Any:
        if d_h_out is None and d_c_out is None:
            return (None,) * 9
        refuse_batched("lstm_cell", (d_h_out, d_c_out))
        saved = ctx.saved_tensors
        traced = torch.is_grad_enabled() or not direct((*saved, d_h_out, d_c_out))
        needs, kernels = ctx.needs_input_grad[1:], ctx.kernels.name if traced else ctx.kernels
        return (None, *_gradients(saved, d_h_out, d_c_out, needs, kernels=kernels), None)


def _operator(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    bf16: bool,
    keep: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    if x.dim() != 2 or h.dim() != 2:
        raise ValueError(f"x and h must be matrices, got {list(x.shape)} and {list(h.shape)}")
    (B, D), K = x.shape, h.shape[1]
    for name, tensor, shape in (
        ("h", h, (B, K)),
        ("c", c, (B, K)),
        ("w_ih", w_ih, (4 * K, D)),
        ("w_hh", w_hh, (4 * K, K)),
        ("b_ih", b_ih, (4 * K,)),
        ("b_hh", b_hh, (4 * K,)),
    ):
        check_shape(name, tensor, shape, x.dtype)
    kernels = kernels_of(backend, x.device)
    h_out, c_out, gates = kernels.lstm_cell(x, h, c, w_ih, w_hh, b_ih, b_hh, bf16, keep)
    return h_out, c_out, x.new_empty(0) if gates is None else gates


def _fake(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    bf16: bool,
    keep: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    B, K = h.shape
    gates = x.new_empty(B, 4 * K) if keep else x.new_empty(0)
    return x.new_empty(B, K), x.new_empty(B, K), gates


def _setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, h, c, w_ih, w_hh, _, _, _, ctx.keep, ctx.backend = inputs
    _, c_out, gates = output
    ctx.mark_non_differentiable(gates)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, h, c, w_ih, w_hh, gates, c_out)


def _formula(ctx: Any, d_h_out: Tensor | None, d_c_out: Tensor | None, _: Any) -> Any:
    if not ctx.keep:
        raise RuntimeError("lstm_cell must be called with keep=True to be differentiated")
    if d_h_out is None and d_c_out is None:
        return (None,) * 10
    refuse_batched("lstm_cell", (d_h_out, d_c_out))
    needs = ctx.needs_input_grad
    gradients = _gradients(ctx.saved_tensors, d_h_out, d_c_out, needs, kernels=ctx.backend)
    return (*gradients, None, None, None)


def _backward_operator(
    saved: list[Tensor],
    d_h_out: Tensor | None,
    d_c_out: Tensor | None,
    wants: list[bool],
    backend: str,
) -> list[Tensor]:
    x, h, c, w_ih, w_hh, gates, c_out = saved
    (B, D), K = x.shape, h.shape[1]
    for name, tensor, shape in (
        ("h", h, (B, K)),
        ("c", c, (B, K)),
        ("w_ih", w_ih, (4 * K, D)),
        ("w_hh", w_hh, (4 * K, K)),
        ("gates", gates, (B, 4 * K)),
        ("c_out", c_out, (B, K)),
        ("d_h_out", d_h_out, (B, K)),
        ("d_c_out", d_c_out, (B, K)),
    ):
        check_shape(name, tensor, shape, x.dtype)
    gradients = kernels_of(backend, x.device).lstm_cell_backward(saved, d_h_out, d_c_out, wants)
    return [gradient for gradient in gradients if gradient is not None]


def _backward_fake(
    saved: list[Tensor],
    d_h_out: Tensor | None,
    d_c_out: Tensor | None,
    wants: list[bool],
    backend: str,
) -> list[Tensor]:
    x, h, c, w_ih, w_hh = saved[:5]
    shapes = [t.shape for t in (x, h, c, w_ih, w_hh)] + [w_ih.shape[:1]]
    return [x.new_empty(shape) for shape, want in zip(shapes, wants) if want]


define(
    "lstm_cell",
    "(Tensor x, Tensor h, Tensor c, Tensor w_ih, Tensor w_hh, Tensor? b_ih, Tensor? b_hh, "
    "bool bf16, bool keep, str backend) -> (Tensor, Tensor, Tensor)",
    _operator,
    _fake,
    setup_context=_setup_context,
    backward=_formula,
)
define(
    "lstm_cell_backward",
    "(Tensor[] saved, Tensor? d_h_out, Tensor? d_c_out, bool[] wants, str backend) -> Tensor[]",
    _backward_operator,
    _backward_fake,
)
