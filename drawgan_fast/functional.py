"""The public operators. Kernels and backends are private; this file is the boundary.

Every function takes float32, float64, bfloat16 or float16 tensors of any strides and any batch
size, 0 included; half types compute in float32. Mixed dtypes promote as PyTorch promotes them.
All are differentiable in every tensor argument. Noise is an argument: same noise, same answer on
every backend. Arguments are checked first: a wrong type raises TypeError, a wrong shape, device
or value raises ValueError, both naming the argument, what was expected and what came.
"""

from __future__ import annotations

from typing import overload

from torch import Tensor

from drawgan_fast import ops
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory

__all__ = [
    "attention_read",
    "attention_write",
    "draw_generate",
    "draw_scan",
    "filterbank",
    "lstm_cell",
]


def filterbank(
    params: Tensor,
    size: tuple[int, int],
    N: int,
    spec: str | AttentionSpec = "paper",
    *,
    writing: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Gaussian filters of an N×N attention window, materialised.

    F_y[i, b] ∝ exp(−(b − μ_y,i)²/2σ²) and F_x[j, a] ∝ exp(−(a − μ_x,j)²/2σ²), each normalised as
    the spec says. For looking at and for code that needs the matrices; the operators below never
    materialise them on a fast backend.

    Args:
        params: [B, 5] raw numbers in ``spec.order`` (``paper``: g̃_x, g̃_y, log σ², log δ, log γ);
            g̃ = ±1 are the edges of the image. Any finite value is good.
        size: (H, W) of the image, in pixels.
        N: grid points along a side, ≥ 1.
        spec: convention, a preset's name or an :class:`AttentionSpec`.
        writing: filters of a write rather than of a read, where a convention tells them apart.

    Returns:
        F_y [B, N, H], F_x [B, N, W] and the intensity γ [B].

    Source: DRAW (Gregor et al. 2015), eq. 19–26.

    >>> import torch
    >>> F_y, F_x, gamma = filterbank(torch.zeros(1, 5), size=(28, 28), N=5)
    >>> F_y.shape, F_y.sum(-1).allclose(torch.ones(1, 5)), gamma.item()
    (torch.Size([1, 5, 28]), True, 1.0)
    """
    return ops.filterbank(params, size, N, spec, writing)


@overload
def attention_read(
    images: Tensor, params: Tensor, N: int, spec: str | AttentionSpec = ..., *, canvas: None = ...
) -> Tensor: ...
@overload
def attention_read(
    images: tuple[Tensor, ...],
    params: Tensor,
    N: int,
    spec: str | AttentionSpec = ...,
    *,
    canvas: None = ...,
) -> tuple[Tensor, ...]: ...
@overload
def attention_read(
    images: Tensor, params: Tensor, N: int, spec: str | AttentionSpec = ..., *, canvas: Tensor
) -> tuple[Tensor, ...]: ...
@overload
def attention_read(
    images: Tensor | tuple[Tensor, ...],
    params: Tensor,
    N: int,
    spec: str | AttentionSpec = ...,
    *,
    canvas: Tensor | None,
) -> Tensor | tuple[Tensor, ...]: ...
def attention_read(
    images: Tensor | tuple[Tensor, ...],
    params: Tensor,
    N: int,
    spec: str | AttentionSpec = "paper",
    *,
    canvas: Tensor | None = None,
) -> Tensor | tuple[Tensor, ...]:
    r"""Read glimpses of N×N numbers through an attention window: γ·F_y·I·F_xᵀ.

    Args:
        images: I [B, C, H, W], or a tuple of them that are read through the same window.
        params: [B, 5] raw numbers of the window, see :func:`filterbank`.
        N: grid points along a side, ≥ 1.
        spec: convention, a preset's name or an :class:`AttentionSpec`.
        canvas: [B, C, H, W] logits. Then ``images`` is the one image x, and the error image
            x̂ = x − sigmoid(canvas) (DRAW eq. 3) is read as well, without being stored.

    Returns:
        [B, C, N, N]; a tuple of them, in the order of ``images``, if a tuple came; the pair
        (glimpse of x, glimpse of x̂) with ``canvas``.

    Source: DRAW (Gregor et al. 2015), eq. 27.

    >>> import torch
    >>> x = torch.ones(2, 1, 28, 28)
    >>> attention_read(x, torch.zeros(2, 5), N=3).shape
    torch.Size([2, 1, 3, 3])
    >>> seen, error = attention_read(x, torch.zeros(2, 5), N=3, canvas=torch.zeros_like(x))
    >>> seen[0, 0, 1, 1].item(), error[0, 0, 1, 1].item()
    (1.0, 0.5)
    """
    return ops.attention_read(images, params, N, spec, canvas)


def attention_write(
    patch: Tensor,
    params: Tensor,
    size: tuple[int, int],
    spec: str | AttentionSpec = "paper",
    *,
    canvas: Tensor | None = None,
) -> Tensor:
    r"""Write an N×N patch through an attention window: canvas + (1/γ)·F_yᵀ·w·F_x.

    Args:
        patch: w [B, C, N, N].
        params: [B, 5] raw numbers of the window, see :func:`filterbank`.
        size: (H, W) of the canvas, in pixels.
        spec: convention, a preset's name or an :class:`AttentionSpec`.
        canvas: [B, C, H, W] to add to; absent means zeros. It is not changed in place.

    Returns:
        [B, C, H, W].

    Source: DRAW (Gregor et al. 2015), eq. 28–29.

    >>> import torch
    >>> canvas = attention_write(torch.ones(1, 1, 5, 5), torch.zeros(1, 5), size=(28, 28))
    >>> canvas.shape, round(canvas.sum().item(), 3)
    (torch.Size([1, 1, 28, 28]), 25.0)
    """
    return ops.attention_write(patch, params, size, spec, canvas)


def lstm_cell(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""One LSTM step with PyTorch's weights and gate order i, f, g, o.

    (i, f, g, o) = W_ih·x + b_ih + W_hh·h + b_hh, c' = σ(f)·c + σ(i)·tanh(g), h' = σ(o)·tanh(c').

    Args:
        x: [B, D].
        state: (h, c), a tuple or list, [B, K] each.
        w_ih: [4K, D].
        w_hh: [4K, K].
        b_ih: [4K] or None.
        b_hh: [4K] or None.

    Returns:
        (h', c'), [B, K] each.

    Source: Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000), as
    ``torch.nn.LSTMCell``.

    >>> import torch
    >>> cell = torch.nn.LSTMCell(3, 4)
    >>> x, h, c = torch.ones(2, 3), torch.zeros(2, 4), torch.zeros(2, 4)
    >>> ours = lstm_cell(x, (h, c), *cell.parameters())
    >>> torch.allclose(ours[0], cell(x, (h, c))[0])
    True
    """
    return ops.lstm_cell(x, state, w_ih, w_hh, b_ih, b_hh)


def draw_scan(
    x: Tensor,
    eps: Tensor,
    weights: DrawWeights,
    cfg: DrawConfig,
    *,
    prior_eps: Tensor | None = None,
    trace: bool = False,
    memory: Memory = "keep",
) -> DrawOutput:
    r"""The whole DRAW recurrence: read, encode, sample, decode, write, T times.

    For t = 1…T, from zero states and an empty canvas::

        x̂_t   = x − sigmoid(c_{t−1})
        r_t    = read(x, x̂_t, h_dec_{t−1})
        h_enc  = LSTM_enc([r_t, h_dec_{t−1}])
        μ, log σ = Linear(h_enc)            z_t = μ + exp(log σ)·eps_t
        h_dec  = LSTM_dec(z_t)
        c_t    = c_{t−1} + write(h_dec)

    Args:
        x: [B, C, H, W] images, in [0, 1].
        eps: [T, B, Z] standard normal noise; T is the number of steps.
        weights: parameters, see :class:`DrawWeights`.
        cfg: sizes and convention.
        prior_eps: [T, B', Z]; decodes prior samples z_t = prior_eps_t in the same pass
            (DRAW-GAN needs both; they share the decoder's weights).
        trace: return every canvas and window as well, for looking at: no gradient goes through.
        memory: what is kept for backward: ``keep``: every step; ``recompute``: the state of every
            few steps only, and the steps between them run again in backward. Same numbers, less
            memory, more time.

    Returns:
        DrawOutput(canvas, mu, log_sigma, kl, prior_canvas, trace); canvases are logits of pixel
        means, mu and log_sigma [T, B, Z] are those of q(z_t | x, z_<t), and kl [B] is the
        latent loss Σ_t ½ Σ (μ_t² + σ_t² − 2 log σ_t − 1) in nats.

    Source: DRAW (Gregor et al. 2015), eq. 3–8, 10 and 11; DRAW-GAN, Algorithm 1.

    >>> import torch
    >>> cfg = DrawConfig((8, 8), hidden_size=4, latent_size=3)
    >>> weights = DrawWeights(**{n: torch.zeros(s) for n, s in DrawWeights.shapes(cfg).items()})
    >>> out = draw_scan(torch.rand(2, 1, 8, 8), torch.randn(6, 2, 3), weights, cfg)
    >>> out.canvas.shape, out.mu.shape
    (torch.Size([2, 1, 8, 8]), torch.Size([6, 2, 3]))
    """
    return ops.draw_scan(x, eps, weights, cfg, prior_eps, trace, memory)


def draw_generate(
    eps: Tensor,
    weights: DrawWeights,
    cfg: DrawConfig,
    *,
    trace: bool = False,
) -> DrawSample:
    r"""Decode prior samples: LSTM_dec(z_t) and write, T times, with z_t = eps_t ~ N(0, I).

    Args:
        eps: [T, B, Z] standard normal noise.
        weights: parameters; the encoder's are not used.
        cfg: sizes and convention.
        trace: return every canvas and write window as well, without gradient.

    Returns:
        DrawSample(canvas, trace); the canvas [B, C, H, W] holds logits.

    Source: DRAW (Gregor et al. 2015), section 2.3.

    >>> import torch
    >>> cfg = DrawConfig((8, 8), hidden_size=4, latent_size=3)
    >>> weights = DrawWeights(**{n: torch.zeros(s) for n, s in DrawWeights.shapes(cfg).items()})
    >>> draw_generate(torch.randn(6, 2, 3), weights, cfg).canvas.abs().max().item()
    0.0
    """
    return ops.draw_generate(eps, weights, cfg, trace)
