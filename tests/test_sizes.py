"""Sizes of any integer type, wherever the package takes one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from drawgan_fast import DrawConfig
from drawgan_fast import functional as F
from drawgan_fast.compat import load_weights, save_weights
from drawgan_fast.models import DRAW, DRAWGAN, VAE, GenerativeModel, InfoVAE
from drawgan_fast.models.discriminator import (
    ConvDiscriminator,
    LatentDiscriminator,
    MLPDiscriminator,
)
from drawgan_fast.nn import AttentionReader, AttentionWriter, DrawCore, LSTMCell

INTEGERS: list[Callable[[int], Any]] = [np.int64, np.int32, np.uint8, int]
integers = pytest.mark.parametrize("of", INTEGERS, ids=lambda kind: kind.__name__)


@integers
def test_functional(of: Callable[[int], Any]) -> None:
    x, params = torch.rand(2, 1, 8, 9), torch.randn(2, 5)
    glimpse = F.attention_read(x, params, of(3))
    assert torch.equal(glimpse, F.attention_read(x, params, 3))
    expected = F.attention_write(glimpse, params, (8, 9))
    for size in ((of(8), of(9)), [of(8), of(9)], np.array([8, 9]), torch.Size([8, 9])):
        assert torch.equal(F.attention_write(glimpse, params, size), expected)
        for one, other in zip(F.filterbank(params, size, of(3)), F.filterbank(params, (8, 9), 3)):
            assert torch.equal(one, other)


@integers
def test_modules(of: Callable[[int], Any]) -> None:
    image, hidden = torch.rand(2, 1, 8, 9), torch.zeros(2, 4)
    assert AttentionReader(of(4), of(3))(image, hidden).shape == (2, 1, 3, 3)
    writer = AttentionWriter(of(4), of(3), (of(8), of(9)), of(2))
    assert writer(hidden).shape == (2, 2, 8, 9)
    assert LSTMCell(of(3), of(4))(torch.zeros(2, 3))[0].shape == (2, 4)
    cfg = DrawConfig((of(8), of(9)), of(1), of(4), of(3), of(2), of(3))
    assert cfg == DrawConfig((8, 9), 1, 4, 3, 2, 3)
    sizes = [*cfg.image_size, cfg.channels, cfg.hidden_size, cfg.read_size]
    assert {type(size) for size in sizes} == {int}
    assert DrawCore(cfg)(image, torch.randn(2, 2, 3)).canvas.shape == image.shape


def models(of: Callable[[int], Any]) -> list[GenerativeModel]:
    size = (of(8), of(9))
    sizes = {"hidden_size": of(4), "latent_size": of(3), "read_size": of(2), "write_size": of(3)}
    return [
        VAE(size, of(1), of(4), of(3)),
        InfoVAE(size, of(1), of(3), widths=(of(2), of(3)), hidden_size=of(4), prior_samples=of(5)),
        DRAW(size, of(1), of(2), **sizes),
        DRAWGAN(size, of(1), of(2), **sizes, prior="adversarial", feature_layer=of(1)),
        DRAWGAN(size, of(1), of(2), **sizes, discriminator="conv"),
    ]


@integers
def test_models(of: Callable[[int], Any], tmp_path: Path) -> None:
    for model, plain in zip(models(of), models(int)):
        assert model.config() == plain.config()
        json.dumps(model.config())
        model.accumulate_gradients(torch.rand(4, 1, 8, 9))
        assert model.generate(of(2)).shape == (2, 1, 8, 9)
        again = load_weights(save_weights(model, tmp_path / "model.safetensors"))
        assert again.config() == plain.config()
    for discriminator in (
        MLPDiscriminator((of(8), of(9)), of(1), [of(5)], feature_layer=of(1)),
        ConvDiscriminator((of(8), of(9)), of(1), [of(2), of(3)], of(4)),
        LatentDiscriminator(of(3), [of(5)]),
    ):
        json.dumps(discriminator.config())


def test_numbers_of_numpy_in_a_configuration() -> None:
    model = InfoVAE((8, 8), alpha=np.float32(0.5), posterior="gaussian", hidden_size=4)
    assert json.loads(json.dumps(model.config()))["alpha"] == 0.5


@pytest.mark.parametrize("bad", [2.0, np.float64(2), True, np.True_, "2", None, torch.zeros(2)])
def test_what_is_no_size(bad: Any) -> None:
    x, params = torch.rand(2, 1, 8, 9), torch.randn(2, 5)
    with pytest.raises(TypeError, match="N must be an int, got"):
        F.attention_read(x, params, bad)
    with pytest.raises(TypeError, match=r"size\[1\] must be an int, got"):
        F.attention_write(x[..., :3, :3], params, (8, bad))
    with pytest.raises(TypeError, match="hidden_size must be an int, got"):
        DrawConfig((8, 9), hidden_size=bad)
    with pytest.raises(TypeError, match=r"image_size\[0\] must be an int, got"):
        DRAW((bad, 8))


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_a_compiled_graph_takes_them() -> None:
    N = np.int64(3)

    def read(x: Tensor, params: Tensor) -> Tensor:
        return F.attention_read(x, params, N)

    x, params = torch.rand(2, 1, 8, 9), torch.randn(2, 5)
    torch._dynamo.reset()
    compiled = torch.compile(read, backend="aot_eager")
    torch.testing.assert_close(compiled(x, params), read(x, params))
    torch._dynamo.reset()
