from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from drawgan_fast.models.info_vae import InfoVAE


def small(**arguments: Any) -> InfoVAE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "image_size": (8, 8),
        "latent_size": 3,
        "widths": (4, 6),
        "hidden_size": 16,
        "prior_samples": 12,
    }
    return InfoVAE(**{**sizes, **arguments})


def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
    return (-(a[:, None] - b).square().mean(2) / a.shape[1]).exp().mean()


def test_default_objective_is_the_authors() -> None:
    model = small().double()
    x, eps = torch.rand(5, 1, 8, 8, dtype=torch.float64), model.noise(5)
    assert eps.shape == (5 + 12, 3)
    z, prior = model.encoder(x), eps[5:]
    mmd = mean_kernel(z, z) + mean_kernel(prior, prior) - 2 * mean_kernel(z, prior)
    mse = (model.decoder(z) - x).square().mean()
    terms = model.loss(x, eps)
    torch.testing.assert_close(terms.reconstruction, mse)
    torch.testing.assert_close(terms.mmd, mmd)
    torch.testing.assert_close(terms.total, mse + mmd)
    assert terms.kl.item() == 0


@pytest.mark.parametrize(("alpha", "scale"), [(0.0, 1.0), (0.5, 3.0), (-1.0, 2.5)])
def test_general_objective_weighs_kl_and_mmd(alpha: float, scale: float) -> None:
    model = small(alpha=alpha, scale=scale, posterior="gaussian").double()
    x, eps = torch.rand(5, 1, 8, 8, dtype=torch.float64), model.noise(5)
    mu, log_sigma = model.encode(x)
    assert log_sigma is not None
    z = mu + log_sigma.exp() * eps[:5]
    posterior = torch.distributions.Normal(mu, log_sigma.exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    terms = model.loss(x, eps)
    torch.testing.assert_close(terms.kl, kl.sum(1).mean())
    torch.testing.assert_close(terms.reconstruction, (model.decode(z) - x).square().mean())
    expected = terms.reconstruction + (1 - alpha) * terms.kl + (alpha + scale - 1) * terms.mmd
    torch.testing.assert_close(terms.total, expected)
    torch.testing.assert_close(model.reconstruct(x, eps), model.decode(z))
    scalars = model.accumulate_gradients(x, eps)
    assert set(scalars) == {"loss", "reconstruction", "kl", "mmd"}


def test_each_weight_reaches_the_gradient() -> None:
    x = torch.rand(5, 1, 8, 8)

    def encoder_gradient(**arguments: Any) -> Tensor:
        model = small(posterior="gaussian", **arguments)
        eps = model.noise(5, torch.Generator().manual_seed(1))
        model.accumulate_gradients(x, eps)
        gradient = model.encoder[-1].weight.grad
        assert isinstance(gradient, Tensor)
        return gradient

    nothing = encoder_gradient(alpha=1.0, scale=0.0)
    mmd = encoder_gradient(alpha=1.0, scale=1.0) - nothing
    kl = encoder_gradient(alpha=0.0, scale=1.0) - nothing
    assert mmd.norm() > 1e-4
    assert kl.norm() > 1e-4
    both = encoder_gradient(alpha=0.0, scale=2.0) - nothing
    torch.testing.assert_close(both, mmd + kl, rtol=1e-3, atol=1e-6)


def test_the_noise_has_two_parts() -> None:
    x = torch.rand(5, 1, 8, 8)
    deterministic, gaussian = small(), small(posterior="gaussian")
    eps = deterministic.noise(5)
    first, last = eps.clone(), eps.clone()
    first[:5] += 1
    last[5:] += 1
    for model, moves in ((deterministic, False), (gaussian, True)):
        terms = model.loss(x, eps)
        assert torch.equal(model.loss(x, first).reconstruction, terms.reconstruction) != moves
        assert torch.equal(model.loss(x, last).reconstruction, terms.reconstruction)
        assert not torch.equal(model.loss(x, last).mmd, terms.mmd)
        assert torch.equal(model.reconstruct(x, first), model.reconstruct(x, eps)) != moves


def test_prior_samples_do_not_follow_the_batch_size() -> None:
    # Documented: latents that are the prior's own give (1/B + 1/P)(1 - E k) on average.
    model = small(prior_samples=20)
    model.encoder = nn.Flatten()  # the latents are the pixels, here drawn from the prior
    model.decoder = nn.Unflatten(1, (1, 1, 3))
    model.image_size = (1, 3)
    model._config["image_size"] = [1, 3]
    model.register_parameter("anchor", nn.Parameter(torch.zeros(())))
    kernel = (1 + 4 / 3**2) ** (-3 / 2)
    for batch in (4, 20):
        values = torch.stack(
            [model.loss(torch.randn(batch, 1, 1, 3), model.noise(batch)).mmd for _ in range(300)]
        )
        error = values.std().item() / math.sqrt(len(values))
        expected = (1 / batch + 1 / 20) * (1 - kernel)
        assert values.mean().item() == pytest.approx(expected, abs=4 * error)


@pytest.mark.parametrize("image_size", [(28, 28), (32, 32), (19, 31), (21, 5), (1, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size(image_size: tuple[int, int], channels: int) -> None:
    model = small(image_size=image_size, channels=channels)
    x = torch.rand(2, channels, *image_size)
    reconstruction = model.reconstruct(x)
    assert reconstruction.shape == x.shape
    assert model.generate(3).shape == (3, channels, *image_size)
    # Every pixel comes out of the decoder's maps: none is left at a constant.
    z = torch.randn(64, 3)
    assert (model.decode(z).std(dim=0) > 0).all()
    # Every pixel goes into the encoder.
    x.requires_grad_()
    model.encode(x)[0].sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=0) > 0).all()


def test_at_the_authors_size_the_layers_are_theirs() -> None:
    model = InfoVAE()
    shapes = [list(p.shape) for name, p in model.named_parameters() if name.endswith("weight")]
    assert shapes == [
        [64, 1, 4, 4],
        [128, 64, 4, 4],
        [1024, 7 * 7 * 128],
        [20, 1024],
        [1024, 20],
        [7 * 7 * 128, 1024],
        [128, 64, 4, 4],
        [64, 1, 4, 4],
    ]
    assert model.config() == {
        "image_size": [28, 28],
        "channels": 1,
        "latent_size": 20,
        "alpha": 1.0,
        "scale": 1.0,
        "widths": [64, 128],
        "hidden_size": 1024,
        "prior_samples": 200,
        "posterior": "deterministic",
    }


def test_loss_gradient_by_finite_differences() -> None:
    model = small(image_size=(3, 5), alpha=0.5, scale=2.0, posterior="gaussian").double()
    x = torch.rand(2, 1, 3, 5, dtype=torch.float64, requires_grad=True)
    eps = model.noise(2, torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, eps: model.loss(x, eps).total, (x, eps))


def test_training_reduces_the_loss_and_matches_the_prior() -> None:
    torch.manual_seed(0)
    x = torch.zeros(32, 1, 8, 8)
    for i in range(32):
        x[i, :, i % 5 : i % 5 + 3, (3 * i) % 5 : (3 * i) % 5 + 3] = 1
    model = small(hidden_size=64, prior_samples=64, widths=(8, 16), latent_size=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(150):
        optimizer.zero_grad()
        history.append({k: v.item() for k, v in model.accumulate_gradients(x).items()})
        optimizer.step()
    assert history[-1]["reconstruction"] < 0.25 * history[0]["reconstruction"]
    assert history[-1]["mmd"] < 0.25 * history[0]["mmd"]
    assert history[-1]["loss"] < 0.25 * history[0]["loss"]


def test_same_noise_same_answer() -> None:
    model = small(posterior="gaussian")
    x = torch.rand(4, 1, 8, 8)
    eps = model.noise(4, torch.Generator().manual_seed(1))
    assert torch.equal(eps, model.noise(4, torch.Generator().manual_seed(1)))
    assert torch.equal(model.loss(x, eps).total, model.loss(x, eps).total)
    one = model.generate(3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one, model.generate(3, generator=torch.Generator().manual_seed(1)))
    assert not torch.equal(one, model.generate(3, generator=torch.Generator().manual_seed(2)))
    assert one.min() >= 0
    assert one.max() <= 1


def test_config_and_weights_make_the_same_model() -> None:
    model = small(image_size=(7, 9), channels=3, alpha=0.5, scale=4.0, posterior="gaussian")
    twin = InfoVAE(**json.loads(json.dumps(model.config())))
    twin.load_state_dict(model.state_dict())
    x, eps = torch.rand(2, 3, 7, 9), model.noise(2)
    assert torch.equal(twin.loss(x, eps).total, model.loss(x, eps).total)
    assert twin.config() == model.config()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": 1.5, "posterior": "gaussian"}, ValueError, "alpha must be at most 1"),
        ({"alpha": 0.0}, ValueError, "alpha must be 1 for a deterministic posterior"),
        ({"alpha": 0.0, "scale": 0.5, "posterior": "gaussian"}, ValueError, "scale must be at"),
        ({"alpha": float("nan")}, ValueError, "alpha must be at most 1"),
        ({"scale": "1"}, TypeError, "scale must be a number, got str"),
        ({"posterior": "laplace"}, ValueError, "one of deterministic, gaussian, got 'laplace'"),
        ({"widths": (4,)}, ValueError, r"widths must be two numbers of maps, got \[4\]"),
        ({"prior_samples": 0}, ValueError, "prior_samples must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small(**arguments)


def test_wrong_arguments_are_named() -> None:
    model = small()
    with pytest.raises(ValueError, match=r"eps must be a float tensor of shape \[14, 3\]"):
        model.loss(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"at least 1 image\(s\)"):
        model.loss(torch.zeros(0, 1, 8, 8))
    with pytest.raises(NotImplementedError, match="InfoVAE has no bound"):
        model.log_weight(torch.zeros(2, 1, 8, 8))
