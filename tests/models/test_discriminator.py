from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from drawgan_fast.losses import discriminator_loss
from drawgan_fast.models.discriminator import (
    ConvDiscriminator,
    LatentDiscriminator,
    MLPDiscriminator,
)


def layers(module: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [child for child in module.modules() if isinstance(child, kind)]


def test_mlp_is_the_authors_network() -> None:
    d = MLPDiscriminator((32, 32)).eval()
    x = torch.rand(3, 1, 32, 32)
    first, second, last = layers(d, nn.Linear)
    assert [layer.weight.shape for layer in (first, second, last)] == [
        (500, 1024),
        (100, 500),
        (1, 100),
    ]
    features = F.relu(second(F.relu(first(x.flatten(1)))))
    logits, got = d(x)
    torch.testing.assert_close(got, features)
    torch.testing.assert_close(logits, last(features).squeeze(1))
    assert [dropout.p for dropout in layers(d, nn.Dropout)] == [0.2, 0.2]


def test_dropout_stands_before_each_relu() -> None:
    # After the ReLU or before it, a dropped unit is 0 either way; the order shows in the modules.
    d = MLPDiscriminator((4, 4))
    order = [
        type(m).__name__ for m in d.modules() if isinstance(m, (nn.Linear, nn.Dropout, nn.ReLU))
    ]
    assert order == ["Linear", "Dropout", "ReLU"] * 2 + ["Linear"]


def test_dropout_drops_a_fifth_in_training_only() -> None:
    torch.manual_seed(0)
    d = MLPDiscriminator((4, 4), hidden_sizes=(1000,))
    linear, _ = layers(d, nn.Linear)
    nn.init.zeros_(linear.weight)
    nn.init.ones_(linear.bias)
    x = torch.rand(50, 1, 4, 4)
    dropped = (d(x).features == 0).float().mean().item()
    assert dropped == pytest.approx(0.2, abs=0.01)
    assert d(x).features.max().item() == pytest.approx(1.25)
    assert (d.eval()(x).features == 1).all()


def test_any_layer_can_be_the_features() -> None:
    x = torch.rand(3, 1, 8, 8)
    torch.manual_seed(0)
    chosen = MLPDiscriminator((8, 8), hidden_sizes=(7, 6, 5), feature_layer=2).eval()
    torch.manual_seed(0)
    last = MLPDiscriminator((8, 8), hidden_sizes=(7, 6, 5)).eval()
    linears = layers(chosen, nn.Linear)
    expected = F.relu(linears[1](F.relu(linears[0](x.flatten(1)))))
    torch.testing.assert_close(chosen(x).features, expected)
    assert last(x).features.shape == (3, 5)
    assert torch.equal(chosen(x).logits, last(x).logits)


def test_conv_by_its_layers() -> None:
    d = ConvDiscriminator((8, 8), channels=3, widths=(4, 6), hidden_size=10).eval()
    x = torch.rand(2, 3, 8, 8)
    first, second = layers(d, nn.Conv2d)
    hidden, last = layers(d, nn.Linear)
    maps = F.leaky_relu(F.conv2d(x, first.weight, first.bias, stride=2, padding=1), 0.2)
    maps2 = F.leaky_relu(F.conv2d(maps, second.weight, second.bias, stride=2, padding=1), 0.2)
    features = F.leaky_relu(hidden(maps2.flatten(1)), 0.2)
    logits, got = d(x)
    torch.testing.assert_close(got, features)
    torch.testing.assert_close(logits, last(features).squeeze(1))
    for layer, expected in ((1, maps), (2, maps2), (3, features)):
        chosen = ConvDiscriminator((8, 8), 3, (4, 6), 10, feature_layer=layer)
        chosen.load_state_dict(d.state_dict())
        torch.testing.assert_close(chosen(x).features, expected.flatten(1))


@pytest.mark.parametrize("image_size", [(28, 28), (32, 32), (19, 31), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [MLPDiscriminator, ConvDiscriminator])
def test_every_pixel_is_seen_at_any_size(
    kind: type[MLPDiscriminator | ConvDiscriminator], image_size: tuple[int, int], channels: int
) -> None:
    torch.manual_seed(0)
    d = kind(image_size, channels).eval()
    x = torch.rand(4, channels, *image_size, requires_grad=True)
    out = d(x)
    assert out.logits.shape == (4,)
    assert out.features.shape[0] == 4
    (out.logits.sum() + out.features.square().sum()).backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(0) > 0).all()
    assert d(torch.zeros(0, channels, *image_size)).logits.shape == (0,)


@pytest.mark.parametrize(
    ("d", "x"),
    [
        (MLPDiscriminator((6, 5), 2), torch.rand(5, 2, 6, 5)),
        (ConvDiscriminator((6, 5), 2), torch.rand(5, 2, 6, 5)),
        (LatentDiscriminator(4), torch.randn(5, 4)),
    ],
    ids=["mlp", "conv", "latent"],
)
def test_images_of_a_batch_do_not_mix_and_config_round_trips(
    d: MLPDiscriminator | ConvDiscriminator | LatentDiscriminator, x: Tensor
) -> None:
    d.eval()
    whole, alone = d(x), d(x[2:3])
    torch.testing.assert_close(whole.logits[2:3], alone.logits)
    torch.testing.assert_close(whole.features[2:3], alone.features)
    twin = type(d)(**json.loads(json.dumps(d.config())))
    twin.load_state_dict(d.state_dict())
    assert torch.equal(twin.eval()(x).logits, whole.logits)
    assert twin.config() == d.config()


def test_latent_by_its_layers() -> None:
    d = LatentDiscriminator(4, hidden_sizes=(6, 5))
    z = torch.randn(3, 4)
    first, second, last = layers(d, nn.Linear)
    features = F.leaky_relu(second(F.leaky_relu(first(z), 0.2)), 0.2)
    torch.testing.assert_close(d(z).features, features)
    torch.testing.assert_close(d(z).logits, last(features).squeeze(1))


@pytest.mark.parametrize("kind", [MLPDiscriminator, ConvDiscriminator])
def test_gradients_by_finite_differences(
    kind: type[MLPDiscriminator | ConvDiscriminator],
) -> None:
    torch.manual_seed(0)
    d = kind((3, 4)).double().eval()
    x = torch.rand(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(d, (x,))


@pytest.mark.parametrize("kind", ["mlp", "conv", "latent"])
def test_learns_to_tell_two_kinds_apart(kind: str) -> None:
    torch.manual_seed(0)
    d: nn.Module
    if kind == "latent":
        d = LatentDiscriminator(4)
        real, fake = torch.randn(64, 4), 2 * torch.randn(64, 4)
    else:
        d = MLPDiscriminator((8, 8)) if kind == "mlp" else ConvDiscriminator((8, 8))
        real = torch.rand(64, 1, 8, 8)
        fake = real.flip(0).sort(dim=3).values  # the same grey values, otherwise arranged
    optimizer = torch.optim.Adam(d.parameters(), lr=1e-3)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = discriminator_loss(d(real).logits, d(fake).logits)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1.386, abs=0.15)
    assert losses[-1] < 0.6


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: MLPDiscriminator((8, 8), feature_layer=3), ValueError, "from 1 to 2, the hidden"),
        (lambda: MLPDiscriminator((8, 8), feature_layer=0), ValueError, "feature_layer must be at"),
        (lambda: MLPDiscriminator((8, 8), hidden_sizes=()), ValueError, "hidden_sizes must name"),
        (lambda: MLPDiscriminator((8, 8), hidden_sizes=5), TypeError, "hidden_sizes must be a"),
        (lambda: MLPDiscriminator((8, 8), dropout=1.0), ValueError, "dropout must be in .0, 1."),
        (lambda: ConvDiscriminator((8, 8), dropout="0"), TypeError, "dropout must be a number"),
        (lambda: ConvDiscriminator((8, 8), widths=(0,)), ValueError, r"widths\[0\] must be at"),
        (lambda: ConvDiscriminator((8, 0)), ValueError, r"image_size\[1\]"),
        (lambda: LatentDiscriminator(0), ValueError, "latent_size must be at least 1"),
    ],
)
def test_wrong_settings_are_named(build: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_wrong_arguments_are_named() -> None:
    for d in (MLPDiscriminator((8, 8)), ConvDiscriminator((8, 8))):
        with pytest.raises(ValueError, match=r"x must be .*\[B, 1, 8, 8\], got shape \[2, 64\]"):
            d(torch.zeros(2, 64))
        with pytest.raises(TypeError, match=r"the model's dtype torch.float32, got torch.float64"):
            d(torch.zeros(2, 1, 8, 8).double())
    with pytest.raises(ValueError, match=r"z must be .*\[B, 4\], got shape \[3, 5\]"):
        LatentDiscriminator(4)(torch.zeros(3, 5))
