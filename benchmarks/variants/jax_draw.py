"""DRAW and its loss in JAX: the package's `paper` convention, step for step, under ``lax.scan``.

Parameters are a flat dict under the torch model's own names. Matrices are stored [in, out], as
JAX libraries store them: XLA's product is a good deal slower on torch's transposed layout.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from drawgan_fast.draw_config import DrawConfig
from drawgan_fast.reference.filterbank import (
    MAX_CENTRE,
    MAX_LOG_DELTA,
    MAX_LOG_GAMMA,
    MIN_LOG_SIGMA2,
)

Parameters = dict[str, Array]
State = tuple[Array, Array]


def filters(
    centre: Array,  # [B]
    delta: Array,  # [B]
    log_sigma2: Array,  # [B]
    pixels: int,
    N: int,
) -> Array:
    """[B, N, P] filters of one axis, normalised with the largest exponent subtracted."""
    grid = jnp.arange(N, dtype=jnp.float32) - (N - 1) / 2
    p = jnp.arange(pixels, dtype=jnp.float32)
    mu = (centre[:, None] + grid * delta[:, None])[..., None]  # [B, N, 1]
    half_precision = 0.5 * jnp.exp(-log_sigma2)[:, None, None]
    nearest = lax.stop_gradient(jnp.clip(jnp.round(mu), 0, max(pixels - 1, 0)))
    return jax.nn.softmax(-(p - nearest) * (p + nearest - 2 * mu) * half_precision, axis=-1)


def filterbank(
    params: Array,  # [B, 5]
    size: tuple[int, int],
    N: int,
) -> tuple[Array, Array, Array]:
    """F_y [B, N, H], F_x [B, N, W] and log γ [B] (DRAW eq. 21–26)."""
    height, width = size
    g_x, g_y, log_sigma2, log_delta, log_gamma = jnp.moveaxis(params, -1, 0)
    x = (width + 1) / 2 * (jnp.clip(g_x, -MAX_CENTRE, MAX_CENTRE) + 1) - 1
    y = (height + 1) / 2 * (jnp.clip(g_y, -MAX_CENTRE, MAX_CENTRE) + 1) - 1
    log_sigma2 = jnp.maximum(log_sigma2, MIN_LOG_SIGMA2)
    stride = (max(height, width) - 1) / max(N - 1, 1)
    delta = stride * jnp.exp(jnp.minimum(log_delta, MAX_LOG_DELTA))
    F_y = filters(y, delta, log_sigma2, height, N)
    F_x = filters(x, delta, log_sigma2, width, N)
    return F_y, F_x, jnp.clip(log_gamma, -MAX_LOG_GAMMA, MAX_LOG_GAMMA)


def attention_read(
    x: Array,  # [B, C, H, W]
    canvas: Array,  # [B, C, H, W]
    params: Array,  # [B, 5]
    N: int,
) -> Array:
    """[B, 2·C·N·N]: the glimpses of x and of x − σ(canvas)."""
    F_y, F_x, log_gamma = filterbank(params, (x.shape[2], x.shape[3]), N)

    def read(image: Array) -> Array:
        glimpse = F_y[:, None] @ image @ F_x[:, None].mT
        glimpse = jnp.exp(log_gamma)[:, None, None, None] * glimpse
        return glimpse.reshape(len(x), image.shape[1] * N * N)

    return jnp.concatenate([read(x), read(x - jax.nn.sigmoid(canvas))], axis=1)


def attention_write(
    canvas: Array,  # [B, C, H, W]
    patch: Array,  # [B, C·N·N]
    params: Array,  # [B, 5]
    N: int,
) -> Array:
    """[B, C, H, W]: canvas + (1/γ)·F_yᵀ·w·F_x."""
    B, C, H, W = canvas.shape
    F_y, F_x, log_gamma = filterbank(params, (H, W), N)
    written = F_y[:, None].mT @ patch.reshape(B, C, N, N) @ F_x[:, None]
    return canvas + jnp.exp(-log_gamma)[:, None, None, None] * written


def linear(p: Parameters, name: str, x: Array) -> Array:
    """x·W + b."""
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def lstm_cell(p: Parameters, name: str, x: Array, state: State) -> State:
    """One LSTM step, gates i, f, g, o."""
    h, c = state
    gates = x @ p[f"{name}.weight_ih"] + h @ p[f"{name}.weight_hh"]
    i, f, g, o = jnp.split(gates + p[f"{name}.bias_ih"] + p[f"{name}.bias_hh"], 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def decode(
    p: Parameters, core: str, cfg: DrawConfig, z: Array, dec: State, canvas: Array
) -> tuple[State, Array]:
    """One decoder step: LSTM, patch, write."""
    dec = lstm_cell(p, f"{core}.decoder", z, dec)
    patch = linear(p, f"{core}.patch", dec[0])
    params = linear(p, f"{core}.write_window", dec[0])
    return dec, attention_write(canvas, patch, params, cfg.write_size)


def draw_scan(
    p: Parameters,
    core: str,
    cfg: DrawConfig,
    x: Array,  # [B, C, H, W]
    eps: Array,  # [T, B, Z]
) -> tuple[Array, Array, Array]:
    """Canvas [B, C, H, W], mu and log_sigma [T, B, Z] (DRAW eq. 3–8)."""
    zero = jnp.zeros((len(x), cfg.hidden_size), x.dtype)

    def step(
        carry: tuple[State, State, Array], eps_t: Array
    ) -> tuple[tuple[State, State, Array], tuple[Array, Array]]:
        enc, dec, canvas = carry
        params = linear(p, f"{core}.read_window", dec[0])
        glimpses = attention_read(x, canvas, params, cfg.read_size)
        enc = lstm_cell(p, f"{core}.encoder", jnp.concatenate([glimpses, dec[0]], axis=1), enc)
        mu, log_sigma = jnp.split(linear(p, f"{core}.posterior", enc[0]), 2, axis=1)
        z = mu + jnp.exp(log_sigma) * eps_t
        dec, canvas = decode(p, core, cfg, z, dec, canvas)
        return (enc, dec, canvas), (mu, log_sigma)

    start = ((zero, zero), (zero, zero), jnp.zeros_like(x))
    (_, _, canvas), (mu, log_sigma) = lax.scan(step, start, eps)
    return canvas, mu, log_sigma


def draw_generate(
    p: Parameters,
    core: str,
    cfg: DrawConfig,
    eps: Array,  # [T, B, Z]
) -> Array:
    """Canvas [B, C, H, W] of prior samples z_t = eps_t."""
    B = eps.shape[1]
    zero = jnp.zeros((B, cfg.hidden_size), eps.dtype)
    canvas = jnp.zeros((B, cfg.channels, *cfg.image_size), eps.dtype)

    def step(carry: tuple[State, Array], z: Array) -> tuple[tuple[State, Array], None]:
        return decode(p, core, cfg, z, *carry), None

    (_, canvas), _ = lax.scan(step, ((zero, zero), canvas), eps)
    return canvas


def kl_standard_normal(mu: Array, log_sigma: Array) -> Array:
    """Σ_t KL(q(z_t) ‖ N(0, I)) of [T, B, Z], mean over the batch."""
    per_unit = 0.5 * (mu**2 + jnp.expm1(2 * log_sigma) - 2 * log_sigma)
    return per_unit.sum(axis=(0, 2)).mean()


def draw_loss(p: Parameters, cfg: DrawConfig, x: Array, eps: Array) -> Array:
    """Negative evidence lower bound in mean nats per image."""
    canvas, mu, log_sigma = draw_scan(p, "core", cfg, x, eps)
    per_pixel = jax.nn.softplus(canvas) - x * canvas
    return per_pixel.sum(axis=(1, 2, 3)).mean() + kl_standard_normal(mu, log_sigma)
