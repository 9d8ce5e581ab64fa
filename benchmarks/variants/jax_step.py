"""A training step compiled by XLA: ``jit`` of noise, loss, gradients and Adam together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array, lax

from benchmarks.cases import TrainCase, build, images
from benchmarks.variants import jax_draw
from benchmarks.variants.base import BETAS, EPS, LEARNING_RATES
from benchmarks.variants.jax_draw import Parameters
from drawgan_fast.draw_config import DrawConfig

Gradients = tuple[Array, Parameters]  # the loss to report, ∂/∂parameter of its own player's loss


class JaxStep:
    """DRAW or DRAW-GAN from the torch model's weights.

    ``lax.scan`` is not unrolled: two or four time steps a turn were slower where this was tried.

    Args:
        case: what to train.
    """

    def __init__(self, case: TrainCase) -> None:
        model = build(case)
        self.case = case
        self.cfg = DrawConfig(**{k: v for k, v in case.arguments().items() if k != "steps"})
        # Sorted by name as JAX sorts a dict; matrices [in, out].
        self.parameters: Parameters = {
            name: jnp.asarray(_transposed(parameter.detach()))
            for name, parameter in model.named_parameters()
        }
        self.moments = [jax.tree.map(jnp.zeros_like, self.parameters) for _ in range(2)]
        self.count = jnp.zeros((), jnp.int32)
        self.x = jnp.asarray(images(case).numpy())
        self.key = jax.random.key(0)  # threefry, XLA's fastest on a CPU
        gradients = _draw_gan_gradients if case.model == "draw-gan" else _draw_gradients
        self._gradients: Callable[..., Gradients] = partial(gradients, self.cfg)
        self._step = jax.jit(partial(_train, self._gradients, self._shape()), donate_argnums=(0, 1))

    def gradients(self, eps: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and gradients at the given noise, without dropout, under torch's names."""
        loss, gradients = jax.jit(self._gradients)(self.parameters, self.x, jnp.asarray(eps), None)
        return float(loss), {
            name: torch.from_numpy(_transposed(torch.from_numpy(np.array(gradient))))
            for name, gradient in gradients.items()
        }

    def __call__(self) -> None:
        """One training step, noise drawn; returns when it is done."""
        state = (self.parameters, self.moments, self.count)
        state, self.key = self._step(state, self.key, self.x)
        self.parameters, self.moments, self.count = jax.block_until_ready(state)  # type: ignore[no-untyped-call]

    def _shape(self) -> tuple[int, ...]:
        shape = (self.case.steps, self.case.batch, self.case.latent_size)
        return (2, *shape) if self.case.model == "draw-gan" else shape


def _transposed(parameter: torch.Tensor) -> np.ndarray:
    """Matrices turned over, vectors as they are."""
    return np.ascontiguousarray((parameter.T if parameter.dim() == 2 else parameter).numpy())


def _train(
    gradients: Callable[..., Gradients],
    noise_shape: tuple[int, ...],
    state: Any,
    key: Array,
    x: Array,
) -> tuple[Any, Array]:
    """Noise, gradients, Adam as torch writes it."""
    parameters, (first, second), count = state
    key, for_noise, for_dropout = jax.random.split(key, 3)
    eps = jax.random.normal(for_noise, noise_shape)
    _, grads = gradients(parameters, x, eps, for_dropout)
    count = count + 1
    b1, b2 = BETAS
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, grads)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, grads)
    scale1, scale2 = 1 / (1 - b1**count), 1 / (1 - b2**count)

    def moved(name: str) -> Array:
        player = "discriminator" if name.startswith("discriminator.") else "generator"
        denominator = jnp.sqrt(second[name] * scale2) + EPS
        new: Array = parameters[name] - LEARNING_RATES[player] * scale1 * first[name] / denominator
        return new

    return ({name: moved(name) for name in parameters}, [first, second], count), key


def _draw_gradients(
    cfg: DrawConfig, parameters: Parameters, x: Array, eps: Array, key: Array | None
) -> Gradients:
    return jax.value_and_grad(jax_draw.draw_loss)(parameters, cfg, x, eps)


def _draw_gan_gradients(
    cfg: DrawConfig,
    parameters: Parameters,
    x: Array,
    eps: Array,  # [2, T, B, Z]
    key: Array | None,  # of the dropout; None: no dropout
) -> Gradients:
    """One forward pass, pulled back once for each player (the paper's Algorithm 1)."""

    def losses(p: Parameters) -> tuple[Array, Array]:
        canvas, mu, log_sigma = jax_draw.draw_scan(p, "draw.core", cfg, x, eps[0])
        prior = jax_draw.draw_generate(p, "draw.core", cfg, eps[1])
        seen = jnp.concatenate([x, jax.nn.sigmoid(canvas), jax.nn.sigmoid(prior)])
        logits, features = _discriminator(p, seen, key)
        real, drawn, from_prior = jnp.split(logits, 3)
        real_features, drawn_features, _ = jnp.split(features, 3)
        log_sigmoid = jax.nn.log_sigmoid
        gan = log_sigmoid(-drawn).mean() + log_sigmoid(-from_prior).mean()
        feature = 0.5 * ((drawn_features - real_features) ** 2).sum(axis=1).mean()
        generator = jax_draw.kl_standard_normal(mu, log_sigma) + feature + gan
        return generator, -log_sigmoid(real).mean() - gan

    (generator, discriminator), pull_back = jax.vjp(losses, parameters)
    (of_generator,) = pull_back((jnp.ones_like(generator), jnp.zeros_like(discriminator)))
    (of_discriminator,) = pull_back((jnp.zeros_like(generator), jnp.ones_like(discriminator)))
    return generator, {
        name: (of_discriminator if name.startswith("discriminator.") else of_generator)[name]
        for name in parameters
    }


def _discriminator(p: Parameters, seen: Array, key: Array | None) -> tuple[Array, Array]:
    """Logits [B] and features [B, F] of the authors' MLP: linear, dropout, ReLU, twice."""
    hidden = seen.reshape(len(seen), -1)
    for layer in range(2):
        hidden = jax_draw.linear(p, f"discriminator.blocks.{layer}.1", hidden)
        if key is not None:
            key, here = jax.random.split(key)
            kept = jax.random.bernoulli(here, 0.8, hidden.shape)
            hidden = jnp.where(kept, hidden / 0.8, 0.0)
        hidden = lax.max(hidden, 0.0)
    return jax_draw.linear(p, "discriminator.head.1", hidden)[:, 0], hidden
