"""A training step as a CUDA graph, on a device."""

from __future__ import annotations

import pytest

pytest.importorskip("pydantic", reason="pydantic is not installed, and training needs it")

from drawgan_fast.training.step import WARM_UP, cuda_graph
from tests.training.test_step import images, model, run


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["draw", "draw-gan"])
def test_a_cuda_graph_trains_as_eager_steps_do(kind: str) -> None:
    batches = [x.cuda() for x in images(WARM_UP + 20)]
    eager, recorded = model(kind).cuda(), model(kind).cuda()
    _, _, expected = run(eager, batches, None)
    step, _, said = run(recorded, batches, cuda_graph)
    assert step.recorded, step.not_recorded
    for one, other in zip(said, expected):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
