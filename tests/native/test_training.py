"""The same training run on the native backend and on the reference."""

from __future__ import annotations

import pytest
import torch

from drawgan_fast import record_backends, use_backend
from drawgan_fast.models import DRAW, DRAWGAN

pytestmark = pytest.mark.usefixtures("core")

SIZES = {"image_size": (13, 11), "steps": 5, "hidden_size": 21, "latent_size": 6}


def losses(model_class: type, backend: str, steps: int = 30, **options: object) -> list[float]:
    """Losses of a run whose every random number comes from one seed."""
    torch.manual_seed(3)
    model = model_class(**SIZES, **options)
    optimizers = [torch.optim.Adam(p.parameters(), 3e-3) for p in model.players().values()]
    curve = []
    with use_backend(backend), record_backends() as ran:
        for _ in range(steps):
            x = (torch.rand(8, 1, 13, 11) < 0.3).float()
            for optimizer in optimizers:
                optimizer.zero_grad()
            curve.append(model.accumulate_gradients(x)["loss"].item())
            for optimizer in optimizers:
                optimizer.step()
    assert ran == {("draw_scan", backend): steps}
    return curve


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (DRAW, {}),
        (DRAW, {"memory": "recompute"}),
        (DRAW, {"attention": False}),
        (DRAWGAN, {"gan_loss": "non_saturating"}),
        (DRAWGAN, {"reconstruction": "pixel", "shared_attention": True}),
    ],
    ids=str,
)
def test_the_loss_curve_is_the_references(model: type, options: dict) -> None:
    """Thirty float32 steps: roundings grow along the way, to no more than 1e-3 of the loss."""
    ours, plain = losses(model, "native", **options), losses(model, "reference", **options)
    assert ours[0] == pytest.approx(plain[0], rel=1e-5)
    assert ours == pytest.approx(plain, rel=1e-3)
    assert len({round(loss, 3) for loss in ours}) > 20  # something was learnt, or at least moved
