from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from drawgan_fast.models.base import (
    GenerativeModel,
    LossTerms,
    eval_mode,
    standard_normal,
)


class Blank(GenerativeModel):
    """Learns one logit for all pixels; dropout and a note of the mode show how it was called."""

    def __init__(self, image_size: tuple[int, int] = (3, 4), channels: int = 2) -> None:
        super().__init__(image_size, channels, options={"layers": [1, 2]})
        self.logit = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Dropout(0.5).eval()
        self.modes: list[bool] = []

    def noise(self, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
        return standard_normal((batch_size,), generator, device=self.device, dtype=self.dtype)

    def loss(self, x: Tensor, eps: Tensor | None = None) -> LossTerms:
        self.check_images(x, minimum=1)
        eps = self.noise(len(x)) if eps is None else eps
        self.check_noise(eps, (len(x),))
        reconstruction = (self.logit - x).square().mean()
        kl = (self.logit * eps).mean()
        return LossTerms(reconstruction + 2 * kl, reconstruction, kl)

    def reconstruct(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        return self.logit.sigmoid().expand(x.shape)

    def _generate(self, n: int, generator: torch.Generator | None) -> Tensor:
        self.modes.append(self.training)
        kept = self.dropout(torch.ones(n, self.channels, *self.image_size))
        return kept * self.logit.sigmoid()


def test_generate_runs_in_eval_mode_without_gradients_and_restores_each_mode() -> None:
    model = Blank().train()
    model.frozen.eval()
    images = model.generate(5)
    assert images.shape == (5, 2, 3, 4)
    assert (images == 0.5).all()  # dropout in training mode would give 0 and 1
    assert not images.requires_grad
    assert model.modes == [False]
    assert model.training
    assert model.dropout.training
    assert not model.frozen.training


def test_modes_are_restored_after_an_error() -> None:
    model = Blank().train()
    with pytest.raises(RuntimeError, match="boom"), eval_mode(model):
        raise RuntimeError("boom")
    assert model.training
    assert model.dropout.training


def test_accumulate_gradients_adds_to_what_is_there() -> None:
    model = Blank().double()
    x = torch.full((2, 2, 3, 4), 0.25, dtype=torch.float64)
    eps = torch.tensor([1.0, 2.0], dtype=torch.float64)
    scalars = model.accumulate_gradients(x, eps)
    assert {name: value.item() for name, value in scalars.items()} == {
        "loss": 0.0625,
        "reconstruction": 0.0625,
        "kl": 0.0,
    }
    assert not any(value.requires_grad for value in scalars.values())
    # d/dl of mean (l - x)² + 2 l·mean(eps) at l = 0.
    assert model.logit.grad is not None
    assert model.logit.grad.item() == pytest.approx(-0.5 + 3.0)
    model.accumulate_gradients(x, eps)
    assert model.logit.grad.item() == pytest.approx(2 * 2.5)


def test_players_is_the_model_itself() -> None:
    model = Blank()
    assert model.players() == {"model": model}


def test_config_is_a_copy_that_json_can_hold() -> None:
    model = Blank((3, 4), 2)
    expected = {"image_size": [3, 4], "channels": 2, "options": {"layers": [1, 2]}}
    assert json.loads(json.dumps(model.config())) == expected
    model.config()["options"]["layers"].append(3)
    assert model.config() == expected


def test_a_model_without_a_bound_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Blank has no bound"):
        Blank().log_weight(torch.zeros(1, 2, 3, 4))


def test_an_unfinished_model_cannot_be_built() -> None:
    class Unfinished(GenerativeModel):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished((2, 2), 1)  # type: ignore[abstract]


def test_noise_follows_the_generator_and_the_dtype() -> None:
    model = Blank().double()
    eps = model.noise(4, torch.Generator().manual_seed(3))
    assert eps.dtype == torch.float64
    expected = torch.randn(4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(eps, expected)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (0.5, TypeError, r"x must be a float tensor of shape \[B, 2, 3, 4\], got float"),
        (torch.zeros(1, 2, 3, 4, dtype=torch.uint8), TypeError, "got dtype torch.uint8"),
        (torch.zeros(1, 1, 3, 4), ValueError, r"\[B, 2, 3, 4\], got shape \[1, 1, 3, 4\]"),
        (torch.zeros(2, 3, 4), ValueError, r"got shape \[2, 3, 4\]"),
        (torch.zeros(0, 2, 3, 4), ValueError, r"at least 1 image\(s\), got 0"),
        (torch.zeros(1, 2, 3, 4).double(), TypeError, "dtype torch.float32, got torch.float64"),
        (torch.zeros(1, 2, 3, 4, device="meta"), ValueError, "device cpu, got meta"),
    ],
)
def test_bad_images_are_named(x: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Blank().loss(x)


def test_autocast_may_mix_dtypes() -> None:
    x = torch.zeros(1, 2, 3, 4, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="bfloat16"):
        Blank().check_images(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Blank().check_images(x)


def test_bad_noise_and_counts_are_named() -> None:
    x = torch.zeros(2, 2, 3, 4)
    with pytest.raises(ValueError, match=r"eps must be a float tensor of shape \[2\], got shape"):
        Blank().loss(x, torch.zeros(3))
    with pytest.raises(TypeError, match="eps must be"):
        Blank().loss(x, [0.0, 0.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n must be at least 0, got -1"):
        Blank().generate(-1)
    with pytest.raises(TypeError, match="n must be an int, got bool"):
        Blank().generate(True)
    assert Blank().generate(0).shape == (0, 2, 3, 4)


@pytest.mark.parametrize(
    ("image_size", "error", "message"),
    [
        (28, TypeError, r"image_size must be \(H, W\), got 28"),
        ("28", TypeError, "got '28'"),
        ((1, 28, 28), TypeError, r"got \(1, 28, 28\)"),
        ((0, 28), ValueError, r"image_size\[0\] must be at least 1, got 0"),
        ((28, 2.5), TypeError, r"image_size\[1\] must be an int, got float"),
    ],
)
def test_bad_image_sizes_are_named(
    image_size: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Blank(image_size)
