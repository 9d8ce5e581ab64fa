"""A tiny data set and a tiny model, so that a whole run takes a fraction of a second."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from drawgan_fast.training import Config, load_config

#: DRAW-GAN small enough that a step takes milliseconds; both players, attention, dropout, EMA.
TINY = (
    "model.steps=2",
    "model.hidden_size=8",
    "model.latent_size=2",
    "model.read_size=2",
    "model.write_size=3",
    "train.batch_size=4",
    "train.samples=4",
    "train.sample_every=0",
    "train.animation=false",
    "train.tensorboard=false",
    "train.threads=1",
    "data.download=false",
)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22 grey 8x8 images, a bright bar somewhere on dark noise; nine tenths are trained on."""
    path = tmp_path_factory.mktemp("data") / "images.npy"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 30, (22, 8, 8), dtype=np.uint8)
    for number, column in enumerate(rng.integers(1, 7, 22)):
        pixels[number, 1:7, column] = 250
    np.save(path, pixels)
    return path


@pytest.fixture
def tiny(images: Path) -> Callable[..., Config]:
    """Builds the tiny configuration with further settings."""

    def build(*settings: str, preset: str = "quick") -> Config:
        return load_config(preset, settings=[f"data.name={images}", *TINY, *settings])

    return build


@pytest.fixture
def console() -> Console:
    """A console that is no terminal; ``console.file.getvalue()`` is what was said."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
