"""Recorded training steps, with a recorder that runs on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from drawgan_fast.models import DRAW, DRAWGAN, GenerativeModel
from drawgan_fast.training.config import OptimizerSection
from drawgan_fast.training.optimizers import PlayerOptimizer, make_optimizers
from drawgan_fast.training.step import WARM_UP, Record, TrainingStep

SIZES = {"steps": 2, "hidden_size": 8, "latent_size": 2, "read_size": 2, "write_size": 3}


def replayed(step: Callable[[], None]) -> Callable[[], None]:
    """As a CUDA graph: nothing happens at recording, everything at every launch."""
    return step


def model(kind: str) -> GenerativeModel:
    torch.manual_seed(0)
    return DRAW((8, 8), **SIZES) if kind == "draw" else DRAWGAN((8, 8), **SIZES)


def images(n: int, B: int = 4) -> list[Tensor]:
    return list(torch.rand(n, B, 1, 8, 8, generator=torch.Generator().manual_seed(1)))


def run(
    model: GenerativeModel, batches: list[Tensor], record: Record | None
) -> tuple[TrainingStep, list[PlayerOptimizer], list[dict[str, float]]]:
    optimizers = make_optimizers(model.players(), OptimizerSection())
    step, said = TrainingStep(model, optimizers, record), []
    for number, x in enumerate(batches):
        scalars, move = step(x, lambda number=number: torch.manual_seed(number))
        move()
        said.append(scalars)
    return step, optimizers, said


@pytest.mark.parametrize("kind", ["draw", "draw-gan"])
def test_recorded_steps_train_as_eager_ones_do(kind: str) -> None:
    eager, recorded = model(kind), model(kind)
    batches = images(WARM_UP + 4)
    _, _, expected = run(eager, batches, None)
    step, _, said = run(recorded, batches, replayed)
    assert step.recorded
    assert step.not_recorded is None
    assert said == expected
    for one, other in zip(eager.state_dict().values(), recorded.state_dict().values()):
        assert torch.equal(one, other)


def test_a_batch_of_another_size_is_trained_eagerly() -> None:
    batches = [*images(WARM_UP + 2), *images(1, B=3), *images(2)]
    eager, recorded = model("draw"), model("draw")
    _, _, expected = run(eager, batches, None)
    step, _, said = run(recorded, batches, replayed)
    assert step.recorded
    assert said == expected
    for one, other in zip(eager.state_dict().values(), recorded.state_dict().values()):
        assert torch.equal(one, other)


def test_a_step_that_is_not_finite_moves_nothing() -> None:
    recorded = model("draw-gan")
    step, optimizers, _ = run(recorded, images(WARM_UP + 2), replayed)
    before = copy.deepcopy(recorded.state_dict())
    moments = [{k: v.clone() for k, v in o.tensors().items()} for o in optimizers]
    scalars, move = step(torch.full((4, 1, 8, 8), float("nan")), lambda: None)
    assert any(value != value for value in scalars.values())
    move()
    for name, parameter in recorded.named_parameters():
        assert torch.equal(parameter, before[name]), name
    for optimizer, kept in zip(optimizers, moments):
        for name, value in optimizer.tensors().items():
            assert torch.equal(value, kept[name]), name


def failing(step: Callable[[], None]) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing")


def wrong(step: Callable[[], None]) -> Callable[[], None]:
    """Launches something else: twice the step."""

    def launch() -> None:
        step()
        step()

    return launch


@pytest.mark.parametrize(
    ("record", "reason"), [(failing, "not permitted"), (wrong, "where an eager step gives")]
)
def test_what_cannot_be_recorded_is_trained_eagerly(
    record: Record, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    batches = images(WARM_UP + 3)
    eager, other = model("draw"), model("draw")
    _, _, expected = run(eager, batches, None)
    step, _, said = run(other, batches, record)
    assert not step.recorded
    assert reason in (step.not_recorded or "")
    assert "stay eager" in caplog.text
    assert said == expected
    for one, two in zip(eager.state_dict().values(), other.state_dict().values()):
        assert torch.equal(one, two)


def test_only_a_fused_adam_can_be_gated() -> None:
    section = OptimizerSection(fused=False)
    (optimizer,) = make_optimizers(model("draw").players(), section)
    with pytest.raises(ValueError, match="only a fused Adam"):
        optimizer.gate(torch.zeros(()))
