"""draw_scan and draw_generate over compiled kernels, and their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from drawgan_fast.backends.compiled.calls import (
    autocast_bf16,
    cast,
    computed_as_they_are,
    direct,
    wants_gradient,
)
from drawgan_fast.backends.compiled.kernels import Gradients, Kernels, Options, Scan, allocate
from drawgan_fast.backends.compiled.registration import (
    check_shape,
    define,
    kernels_of,
    refuse_batched,
)
from drawgan_fast.backends.compiled.texts import config_from, config_text
from drawgan_fast.backends.precision import computing_dtype, result_dtype
from drawgan_fast.draw_config import (
    DrawConfig,
    DrawOutput,
    DrawSample,
    DrawTrace,
    DrawWeights,
    Memory,
)
from drawgan_fast.reference.draw_scan import trace_window

# Only the posterior's side uses these: they have no part in a prior sample.
_OF_THE_POSTERIOR = frozenset(
    name for name in DrawWeights._fields if name.startswith(("enc_", "posterior_", "read_"))
)


def draw_scan(
    kernels: Kernels,
    x: Tensor,  # [B, C, H, W]
    eps: Tensor,  # [T, B, Z]
    weights: DrawWeights,
    cfg: DrawConfig,
    prior_eps: Tensor | None,  # [T, B', Z]
    trace: bool,
    memory: Memory,
) -> DrawOutput:
    """See ``functional.draw_scan``.

    Under ``torch.autocast("cpu", dtype=torch.bfloat16)`` the operands of the matrix products are
    rounded to bfloat16 where the CPU multiplies bfloat16; everything else, the attention and the
    results, is float32.
    """
    out, result = _scan(kernels, x, eps, prior_eps, weights, cfg, trace, memory)
    windows = _trace(out.canvases, out.write_params, out.read_params, cfg) if trace else None
    if out.canvas.dtype is not result:
        out = Scan(*(cast(tensor, result) for tensor in out[: len(Gradients._fields)]))  # type: ignore[arg-type]
    prior_canvas = None if prior_eps is None else out.prior_canvas
    return DrawOutput(out.canvas, out.mu, out.log_sigma, out.kl, prior_canvas, windows)


def draw_generate(
    kernels: Kernels,
    eps: Tensor,  # [T, B, Z]
    weights: DrawWeights,
    cfg: DrawConfig,
    trace: bool,
) -> DrawSample:
    """See ``functional.draw_generate``: a scan of no images and B prior samples."""
    no_images = eps.new_empty(0, cfg.channels, *cfg.image_size)
    no_eps = eps.new_empty(eps.shape[0], 0, cfg.latent_size)
    # The weights of the posterior get no gradient here, not one of zeros.
    decoding = DrawWeights(
        *(
            weight.detach() if weight is not None and name in _OF_THE_POSTERIOR else weight
            for name, weight in zip(DrawWeights._fields, weights)
        )  # type: ignore[arg-type]
    )
    out, result = _scan(kernels, no_images, no_eps, eps, decoding, cfg, trace, "keep")
    windows = _trace(out.prior_canvases, out.prior_write_params, None, cfg) if trace else None
    assert out.prior_canvas is not None
    return DrawSample(out.prior_canvas.to(result), windows)


def _scan(
    kernels: Kernels,
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: DrawWeights,
    cfg: DrawConfig,
    trace: bool,
    memory: Memory,
) -> tuple[Scan, torch.dtype]:
    """The scan in its computing dtype, and the dtype of its results."""
    tensors: tuple[Tensor | None, ...] = (x, eps, prior_eps, *weights)
    result = x.dtype
    if not computed_as_they_are(tensors, kernels.dtypes):
        result = result_dtype(*tensors)
        dtype = computing_dtype(result)
        tensors = tuple(cast(tensor, dtype) for tensor in tensors)
        x, eps, prior_eps = tensors[:3]  # type: ignore[assignment]
    given = [weight for weight in tensors[3:] if weight is not None]
    options = Options(
        save=wants_gradient(tensors),
        recompute=memory == "recompute",
        bf16=autocast_bf16(x),
        trace=trace,
    )
    if not direct(tensors):
        text = config_text(cfg)
        return Scan(
            *torch.ops.drawgan_fast.draw_scan(
                x, eps, prior_eps, given, text, *options, kernels.name
            )
        ), result
    if options.save:
        return Scan(*_Scan.apply(kernels, cfg, options, x, eps, prior_eps, *given)), result
    return kernels.draw_scan(x, eps, prior_eps, given, cfg, options), result


def _trace(
    canvases: Tensor | None,  # [T, B, C, H, W]
    write_params: Tensor | None,  # [T, B, 5]
    read_params: Tensor | None,  # [T, B, 5]
    cfg: DrawConfig,
) -> DrawTrace:
    def windows(params: Tensor | None, N: int, *, writing: bool) -> Tensor | None:
        if params is None or params.shape[0] == 0:
            return None
        return trace_window(params.detach(), cfg, N, writing=writing)

    assert canvases is not None
    return DrawTrace(
        canvases.detach(),
        windows(write_params, cfg.write_size, writing=True),
        windows(read_params, cfg.read_size, writing=False),
    )


def _wanted(given: Gradients, needs: Sequence[bool]) -> list[bool]:
    """Of x, eps, prior_eps and each weight: whether a gradient is needed and is not None."""
    wants = list(needs)
    if all(d is None for d in given[:-1]):
        wants[0] = wants[1] = False
        for index, name in enumerate(DrawWeights._fields[: len(wants) - 3]):
            wants[3 + index] &= name not in _OF_THE_POSTERIOR
    if given.prior_canvas is None:
        wants[2] = False
    return wants


class _Scan(torch.autograd.Function):
    """The eager gradient: leaner than the registered one, which takes over where it is traced."""

    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        cfg: DrawConfig,
        options: Options,
        x: Tensor,
        eps: Tensor,
        prior_eps: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor | None, ...]:
        out = kernels.draw_scan(x, eps, prior_eps, weights, cfg, options)
        ctx.kernels, ctx.cfg, ctx.options = kernels, cfg, options
        ctx.save_for_backward(x, eps, prior_eps, out.saved, out.mu, out.log_sigma, *weights)
        # The bytes stay with the graph: whoever keeps the results does not keep them too.
        out = out._replace(saved=None)
        if options.trace:
            ctx.mark_non_differentiable(
                *[tensor for tensor in out[len(Gradients._fields) :] if tensor is not None]
            )
        ctx.set_materialize_grads(False)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        given = Gradients(*gradients[: len(Gradients._fields)])
        refuse_batched("draw_scan", given)
        wants = _wanted(given, ctx.needs_input_grad[3:])
        if not any(wants):
            return (None,) * (3 + len(wants))
        x, eps, prior_eps, saved, mu, log_sigma, *weights = ctx.saved_tensors
        tensors = (x, eps, prior_eps, saved, mu, log_sigma, *weights, *given)
        forward = (x, eps, prior_eps, weights, saved, mu, log_sigma)
        if torch.is_grad_enabled() or not direct(tensors):
            text = config_text(ctx.cfg)
            name = ctx.kernels.name
            found = _traced_backward(forward, given, wants, text, ctx.options, name)
            return (None, None, None, *found)
        found = ctx.kernels.draw_scan_backward(*forward, given, wants, ctx.cfg, ctx.options)
        return (None, None, None, *found)


def _traced_backward(
    forward: tuple[Any, ...],
    given: Gradients,
    wants: list[bool],
    config: str,
    options: Options,
    backend: str,
) -> list[Tensor | None]:
    """As the kernels' own backward, through the registered operator."""
    gradients = iter(
        torch.ops.drawgan_fast.draw_scan_backward(
            *forward, *given, wants, config, options.recompute, options.bf16, backend
        )
    )
    return [next(gradients) if want else None for want in wants]


def _check(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: Sequence[Tensor],
    cfg: DrawConfig,
) -> None:
    dtype, Z = x.dtype, cfg.latent_size
    if x.dim() != 4 or eps.dim() != 3:
        raise ValueError(
            f"x must be [B, C, H, W] and eps [T, B, Z], got {list(x.shape)} and {list(eps.shape)}"
        )
    T, B = eps.shape[:2]
    check_shape("x", x, (B, cfg.channels, *cfg.image_size), dtype)
    check_shape("eps", eps, (T, B, Z), dtype)
    if prior_eps is not None:
        check_shape("prior_eps", prior_eps, (T, prior_eps.shape[1], Z), dtype)
    expected = DrawWeights.shapes(cfg)
    if len(weights) != len(expected):
        raise ValueError(f"weights must be {len(expected)} tensors, got {len(weights)}")
    for (name, shape), weight in zip(expected.items(), weights):
        check_shape(f"weights.{name}", weight, shape, dtype)


def _outputs(x: Tensor, out: Scan) -> list[Tensor]:
    """A registered operator gives a tensor for everything."""
    return [x.new_empty(0) if tensor is None else tensor for tensor in out]


def _operator(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: list[Tensor],
    config: str,
    save: bool,
    recompute: bool,
    bf16: bool,
    trace: bool,
    backend: str,
) -> list[Tensor]:
    cfg = config_from(config)
    _check(x, eps, prior_eps, weights, cfg)
    options = Options(save, recompute, bf16, trace)
    kernels = kernels_of(backend, x.device)
    return _outputs(x, kernels.draw_scan(x, eps, prior_eps, weights, cfg, options))


def _fake(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: list[Tensor],
    config: str,
    save: bool,
    recompute: bool,
    bf16: bool,
    trace: bool,
    backend: str,
) -> list[Tensor]:
    cfg, options = config_from(config), Options(save, recompute, bf16, trace)
    T, B = int(eps.shape[0]), x.shape[0]  # the number of steps is static
    prior = 0 if prior_eps is None else prior_eps.shape[1]
    out = allocate(x, T, None if prior_eps is None else prior, cfg, options)
    if save:
        kernels = kernels_of(backend, x.device, running=False)
        size = kernels.saved_bytes(cfg, T, B, prior, x.dtype, options)
        out = out._replace(saved=x.new_empty(size, dtype=torch.uint8))
    return _outputs(x, out)


def _setup_context(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    x, eps, prior_eps, weights, ctx.config, *options, ctx.backend = inputs
    ctx.options = Options(*options)
    out = Scan(*output)
    ctx.mark_non_differentiable(*out[len(Gradients._fields) :])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, eps, prior_eps, out.saved, out.mu, out.log_sigma, *weights)


def _formula(ctx: Any, gradients: list[Tensor | None]) -> Any:
    if not ctx.options.save:
        raise RuntimeError("draw_scan must be called with save=True to be differentiated")
    given = Gradients(*gradients[: len(Gradients._fields)])
    refuse_batched("draw_scan", given)
    of_x, of_eps, of_prior_eps, of_weights = ctx.needs_input_grad[:4]
    wants = _wanted(given, [of_x, of_eps, of_prior_eps, *of_weights])
    out: list[Tensor | None] = [None] * len(wants)
    if any(wants):
        x, eps, prior_eps, saved, mu, log_sigma, *weights = ctx.saved_tensors
        forward = (x, eps, prior_eps, weights, saved, mu, log_sigma)
        out = _traced_backward(forward, given, wants, ctx.config, ctx.options, ctx.backend)
    return (*out[:3], out[3:], None, None, None, None, None, None)


def _backward_operator(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: list[Tensor],
    saved: Tensor,
    mu: Tensor,
    log_sigma: Tensor,
    d_canvas: Tensor | None,
    d_mu: Tensor | None,
    d_log_sigma: Tensor | None,
    d_kl: Tensor | None,
    d_prior_canvas: Tensor | None,
    wants: list[bool],
    config: str,
    recompute: bool,
    bf16: bool,
    backend: str,
) -> list[Tensor]:
    cfg = config_from(config)
    _check(x, eps, prior_eps, weights, cfg)
    options = Options(save=True, recompute=recompute, bf16=bf16, trace=False)
    (T, B, Z), prior = eps.shape, 0 if prior_eps is None else prior_eps.shape[1]
    kernels = kernels_of(backend, x.device)
    size = kernels.saved_bytes(cfg, T, B, prior, x.dtype, options)
    check_shape("saved", saved, (size,), torch.uint8)
    for name, tensor, shape in (
        ("mu", mu, (T, B, Z)),
        ("log_sigma", log_sigma, (T, B, Z)),
        ("d_canvas", d_canvas, x.shape),
        ("d_mu", d_mu, (T, B, Z)),
        ("d_log_sigma", d_log_sigma, (T, B, Z)),
        ("d_kl", d_kl, (B,)),
        ("d_prior_canvas", d_prior_canvas, (prior, *x.shape[1:])),
    ):
        check_shape(name, tensor, shape, x.dtype)
    given = Gradients(d_canvas, d_mu, d_log_sigma, d_kl, d_prior_canvas)
    forward = (x, eps, prior_eps, weights, saved, mu, log_sigma)
    gradients = kernels.draw_scan_backward(*forward, given, wants, cfg, options)
    return [gradient for gradient in gradients if gradient is not None]


def _backward_fake(
    x: Tensor,
    eps: Tensor,
    prior_eps: Tensor | None,
    weights: list[Tensor],
    saved: Tensor,
    mu: Tensor,
    log_sigma: Tensor,
    d_canvas: Tensor | None,
    d_mu: Tensor | None,
    d_log_sigma: Tensor | None,
    d_kl: Tensor | None,
    d_prior_canvas: Tensor | None,
    wants: list[bool],
    config: str,
    recompute: bool,
    bf16: bool,
    backend: str,
) -> list[Tensor]:
    given = (x, eps, prior_eps, *weights)
    return [t.new_empty(t.shape) for t, want in zip(given, wants) if want and t is not None]


define(
    "draw_scan",
    "(Tensor x, Tensor eps, Tensor? prior_eps, Tensor[] weights, str config, bool save, "
    "bool recompute, bool bf16, bool trace, str backend) -> Tensor[]",
    _operator,
    _fake,
    setup_context=_setup_context,
    backward=_formula,
)
define(
    "draw_scan_backward",
    "(Tensor x, Tensor eps, Tensor? prior_eps, Tensor[] weights, Tensor saved, Tensor mu, "
    "Tensor log_sigma, Tensor? d_canvas, Tensor? d_mu, Tensor? d_log_sigma, Tensor? d_kl, "
    "Tensor? d_prior_canvas, bool[] wants, str config, bool recompute, bool bf16, str backend) "
    "-> Tensor[]",
    _backward_operator,
    _backward_fake,
)
