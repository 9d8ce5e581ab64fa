"""Speed of a training step of DRAW and DRAW-GAN: forward, backward, no optimizer."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

import drawgan_fast
from drawgan_fast.models import DRAW, DRAWGAN, GenerativeModel

AUTHORS = {"steps": 20, "hidden_size": 400, "latent_size": 20, "read_size": 5, "write_size": 5}
STEPS = {
    "draw-paper": (lambda: DRAW(), 128),
    "draw-authors": (lambda: DRAW((32, 32), **AUTHORS), 64),
    "draw-gan-authors": (lambda: DRAWGAN((32, 32), **AUTHORS), 64),
}


@pytest.mark.parametrize("name", STEPS)
def test_draw_scan(benchmark: BenchmarkFixture, backend: str, name: str) -> None:
    build, batch = STEPS[name]
    model: GenerativeModel = build().eval()
    x = torch.rand(batch, 1, *model.image_size)
    eps = model.noise(batch)

    ours = model.loss(x, eps).total
    double = type(model)(**model.config()).double().eval()
    double.load_state_dict(model.state_dict())
    with drawgan_fast.use_backend("reference"):
        truth = double.loss(x.double(), eps.double()).total
    torch.testing.assert_close(ours.double(), truth, rtol=1e-4, atol=1e-4)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model.accumulate_gradients(x, eps)

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)
