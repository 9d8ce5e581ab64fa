from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from drawgan_fast.models.vae import VAE


def squares(count: int, size: int = 10) -> Tensor:
    """White squares at positions that differ: something a latent can tell. [count, 1, s, s]."""
    images = torch.zeros(count, 1, size, size)
    for i in range(count):
        top, left = i % (size - 3), (3 * i) % (size - 3)
        images[i, :, top : top + 4, left : left + 4] = 1
    return images


def small(**arguments: object) -> VAE:
    torch.manual_seed(0)
    return VAE(**{"image_size": (5, 7), "hidden_size": 6, "latent_size": 3, **arguments})  # type: ignore[arg-type]


def test_loss_is_the_paper_s_formula_on_the_layers() -> None:
    model = small(channels=2).double()
    x, eps = torch.rand(4, 2, 5, 7, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    p = dict(model.named_parameters())
    hidden = F.relu(x.flatten(1) @ p["encoder.1.weight"].T + p["encoder.1.bias"])
    stats = hidden @ p["encoder.3.weight"].T + p["encoder.3.bias"]
    mu, log_sigma = stats[:, :3], stats[:, 3:]
    z = mu + log_sigma.exp() * eps
    hidden = F.relu(z @ p["decoder.0.weight"].T + p["decoder.0.bias"])
    logits = hidden @ p["decoder.2.weight"].T + p["decoder.2.bias"]
    log_p = torch.distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x.flatten(1))
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, log_sigma.exp()), torch.distributions.Normal(0.0, 1.0)
    )
    terms = model.loss(x, eps)
    torch.testing.assert_close(terms.reconstruction, -log_p.sum(1).mean())
    torch.testing.assert_close(terms.kl, kl.sum(1).mean())
    torch.testing.assert_close(terms.total, terms.reconstruction + terms.kl)
    torch.testing.assert_close(model.reconstruct(x, eps), logits.sigmoid().view(4, 2, 5, 7))


def test_loss_gradients_by_finite_differences() -> None:
    model = small(image_size=(3, 2), hidden_size=4, latent_size=2).double()
    eps = torch.randn(2, 2, dtype=torch.float64)
    x = torch.rand(2, 1, 3, 2, dtype=torch.float64, requires_grad=True)
    names, parameters = zip(*model.named_parameters())

    def total(x: Tensor, *values: Tensor) -> Tensor:
        images = torch.func.functional_call(model, dict(zip(names, values)), (x, eps))
        return images

    # functional_call goes through forward, which this model does not have by itself.
    model.forward = lambda x, eps: model.loss(x, eps).total  # type: ignore[method-assign]
    assert torch.autograd.gradcheck(total, (x, *parameters))


def test_mean_log_weight_is_minus_the_loss() -> None:
    model = small()
    draws = 20_000
    x = torch.rand(1, 1, 5, 7).expand(draws, 1, 5, 7)
    eps = torch.randn(draws, 3)
    with torch.no_grad():
        weights = model.log_weight(x, eps)
        total = model.loss(x, eps).total.item()
    error = weights.std().item() / math.sqrt(draws)
    assert weights.mean().item() == pytest.approx(-total, abs=4 * error)
    assert 0 < error < 0.05


def test_log_weight_by_the_densities() -> None:
    model = small().double()
    x, eps = torch.rand(4, 1, 5, 7, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    mu, log_sigma = model.encode(x)
    z = mu + log_sigma.exp() * eps
    normal = torch.distributions.Normal
    expected = (
        torch.distributions.Bernoulli(logits=model.decode(z), validate_args=False)
        .log_prob(x)
        .sum(dim=(1, 2, 3))
        + normal(0.0, 1.0).log_prob(z).sum(1)
        - normal(mu, log_sigma.exp()).log_prob(z).sum(1)
    )
    torch.testing.assert_close(model.log_weight(x, eps), expected)


def test_importance_weighting_tightens_the_bound() -> None:
    model = small()
    x = torch.rand(1, 1, 5, 7).expand(2000, 1, 5, 7)
    with torch.no_grad():
        weights = model.log_weight(x, torch.randn(2000, 3)).view(200, 10)
    bound = (weights.logsumexp(1) - math.log(10)).mean()
    assert bound > weights.mean()


def test_training_reduces_the_loss() -> None:
    torch.manual_seed(0)
    x = squares(32)
    model = VAE(image_size=(10, 10), hidden_size=64, latent_size=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    history = []
    for _ in range(80):
        optimizer.zero_grad()
        history.append(model.accumulate_gradients(x)["loss"].item())
        optimizer.step()
    assert history[0] == pytest.approx(100 * math.log(2), rel=0.1)
    assert history[-1] < 0.5 * history[0]


def test_same_noise_same_answer() -> None:
    model = small()
    x = torch.rand(4, 1, 5, 7)
    eps = model.noise(4, torch.Generator().manual_seed(1))
    assert torch.equal(eps, model.noise(4, torch.Generator().manual_seed(1)))
    assert torch.equal(model.loss(x, eps).total, model.loss(x, eps).total)
    assert not torch.equal(model.loss(x, eps).total, model.loss(x, 2 * eps).total)
    one = model.generate(3, generator=torch.Generator().manual_seed(1))
    other = model.generate(3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one, other)
    assert not torch.equal(one, model.generate(3, generator=torch.Generator().manual_seed(2)))
    assert one.min() >= 0
    assert one.max() <= 1


def test_config_and_weights_make_the_same_model() -> None:
    model = small(channels=3)
    twin = VAE(**json.loads(json.dumps(model.config())))
    twin.load_state_dict(model.state_dict())
    x, eps = torch.rand(2, 3, 5, 7), torch.randn(2, 3)
    assert torch.equal(twin.loss(x, eps).total, model.loss(x, eps).total)
    assert twin.config() == model.config()


def test_the_defaults_are_the_usual_ones() -> None:
    assert VAE().config() == {
        "image_size": [28, 28],
        "channels": 1,
        "hidden_size": 400,
        "latent_size": 20,
    }
    assert sum(p.numel() for p in VAE().parameters()) == (
        784 * 400 + 400 + 400 * 40 + 40 + 20 * 400 + 400 + 400 * 784 + 784
    )


def test_wrong_arguments_are_named() -> None:
    model = small()
    with pytest.raises(ValueError, match=r"eps must be a float tensor of shape \[2, 3\]"):
        model.loss(torch.zeros(2, 1, 5, 7), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"\[B, 1, 5, 7\], got shape \[2, 1, 7, 5\]"):
        model.log_weight(torch.zeros(2, 1, 7, 5))
    with pytest.raises(ValueError, match=r"at least 1 image\(s\)"):
        model.loss(torch.zeros(0, 1, 5, 7))
    with pytest.raises(ValueError, match="latent_size must be at least 1, got 0"):
        VAE(latent_size=0)
    with pytest.raises(TypeError, match="hidden_size must be an int, got float"):
        VAE(hidden_size=4.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"z must be a float tensor of shape \[2, 3\]"):
        model.decode(torch.zeros(2, 4))
    assert model.reconstruct(torch.zeros(0, 1, 5, 7)).shape == (0, 1, 5, 7)
