"""DRAW: its loss, its bound, its samples and what its options do."""

from __future__ import annotations

import json

import pytest
import torch

from drawgan_fast.models import DRAW, build

TINY = {"image_size": (6, 8), "steps": 3, "hidden_size": 8, "latent_size": 4, "write_size": 3}


def test_loss_is_the_bound_in_nats_per_image() -> None:
    model = DRAW(**TINY).double()
    x = torch.rand(5, 1, 6, 8).double()
    eps = model.noise(5)
    out = model(x, eps)
    p = torch.sigmoid(out.canvas)
    nll = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / 5
    sigma = out.log_sigma.exp()
    normal, posterior = torch.distributions.Normal(0, 1), torch.distributions.Normal(out.mu, sigma)
    prior = torch.distributions.Normal(torch.zeros_like(out.mu), torch.ones_like(sigma))
    kl = torch.distributions.kl_divergence(posterior, prior).sum() / 5
    terms = model.loss(x, eps)
    torch.testing.assert_close(terms.reconstruction, nll)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.total, nll + kl)
    z = out.mu + sigma * eps
    density = normal.log_prob(z).sum((0, 2)) - posterior.log_prob(z).sum((0, 2))
    bernoulli = (x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(model.log_weight(x, eps), density + bernoulli)


def test_defaults_are_the_papers_mnist_network() -> None:
    model = DRAW()
    assert model.config() == {
        "image_size": [28, 28],
        "channels": 1,
        "steps": 64,
        "hidden_size": 256,
        "latent_size": 100,
        "read_size": 2,
        "write_size": 5,
        "spec": "paper",
        "attention": True,
        "shared_attention": False,
        "memory": "keep",
    }
    assert model.noise(2).shape == (64, 2, 100)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": False},
        {"shared_attention": True},
        {"channels": 3, "read_size": 4},
        {"spec": {"pixel_base": 0, "log_sigma2_clamp": [-3.0, 3.0]}},
    ],
)
def test_config_and_weights_come_back(options: dict) -> None:
    model = DRAW(**{**TINY, **options})
    again = build("draw", **json.loads(json.dumps(model.config())))
    again.load_state_dict(model.state_dict())
    x, eps = torch.rand(2, model.channels, 6, 8), model.noise(2)
    assert torch.equal(again.loss(x, eps).total, model.loss(x, eps).total)
    model.loss(x, eps).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_shared_attention_has_one_linear_with_both_gradients() -> None:
    model = DRAW(**TINY, shared_attention=True).double()
    x, eps = torch.rand(2, 1, 6, 8).double(), model.noise(2)
    weights = model.core.weights()
    assert weights.read_w is weights.write_w
    model.loss(x, eps).total.backward()
    own = [weights.read_w.detach().clone().requires_grad_() for _ in range(2)]
    split = weights._replace(read_w=own[0], write_w=own[1])
    from drawgan_fast import functional as F
    from drawgan_fast.losses import bernoulli_nll, kl_standard_normal

    out = F.draw_scan(x, eps, split, model.cfg)
    kl = kl_standard_normal(out.mu, out.log_sigma, batch_dim=1)
    (bernoulli_nll(out.canvas, x) + kl).mean().backward()
    torch.testing.assert_close(weights.write_w.grad, own[0].grad + own[1].grad)
    with pytest.raises(ValueError, match="shared_attention must be False"):
        DRAW(**TINY, shared_attention=True, attention=False)


def test_generate_is_a_function_of_its_generator() -> None:
    model = DRAW(**TINY)
    images = model.generate(5, generator=torch.Generator().manual_seed(3))
    traced, trace = model.generate_trace(5, generator=torch.Generator().manual_seed(3))
    assert images.shape == (5, 1, 6, 8)
    assert not images.requires_grad
    assert torch.equal(images, traced)
    assert torch.equal(torch.sigmoid(trace.canvases[-1]), traced)
    assert model.generate(0).shape == (0, 1, 6, 8)
    other = model.generate(5, generator=torch.Generator().manual_seed(4))
    assert not torch.equal(images, other)


def test_reconstruct_follows_its_noise() -> None:
    model = DRAW(**TINY)
    x, eps = torch.rand(2, 1, 6, 8), model.noise(2)
    images, trace = model.reconstruct_trace(x, eps)
    assert torch.equal(images, model.reconstruct(x, eps))
    assert trace.read_windows.shape == (3, 2, 5)


def test_it_learns() -> None:
    """One image is learned by heart."""
    model = DRAW(**{**TINY, "hidden_size": 16, "write_size": 6})
    x = (torch.rand(1, 1, 6, 8) > 0.5).float().expand(8, 1, 6, 8)
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    first = model.loss(x).total.item()
    for _ in range(120):
        optimizer.zero_grad()
        model.accumulate_gradients(x)
        optimizer.step()
    assert model.loss(x).total.item() < 0.7 * first


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.loss(torch.zeros(2, 1, 6, 6)), ValueError, "x must be"),
        (lambda m: m.loss(torch.zeros(0, 1, 6, 8)), ValueError, "at least 1 image"),
        (lambda m: m.loss(torch.zeros(2, 1, 6, 8), torch.zeros(3, 1, 4)), ValueError, "eps must"),
        (lambda m: m.loss(torch.zeros(2, 1, 6, 8).double()), TypeError, "dtype"),
        (lambda m: m.generate(-1), ValueError, "n must be at least 0"),
        (lambda m: DRAW(steps=0), ValueError, "steps must be at least 1"),
        (lambda m: DRAW(hidden_size=0), ValueError, "hidden_size"),
        (lambda m: build("drwa"), ValueError, "draw-gan, draw, vae, info-vae"),
    ],
)
def test_bad_arguments_are_named(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(DRAW(**TINY))
