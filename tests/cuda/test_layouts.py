"""The recurrence in every layout on the chip: teams as clusters or of a grid, tiles, odd batches.

A layout decides who computes what and in which order blocks talk; values hardly notice.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawgan_fast import BackendError, DrawConfig, record_backends
from drawgan_fast import functional as F
from drawgan_fast.backends.cuda.draw_plan import draw_plan, prescribed
from tests.support.scans import SMALL, scan_inputs, scan_of, weights_of
from tests.support.truth import assert_matches

WIDE = DrawConfig((7, 11), channels=2, hidden_size=29, latent_size=19, read_size=3, write_size=4)
# Kind, blocks of a team, tiles, and which matrices stay in shared memory: -1 all that fit.
LAYOUTS = [
    ("cluster", 1, 1, -1),
    ("cluster", 2, 1, -1),
    ("cluster", 4, 2, -1),
    ("cluster", 8, 1, -1),
    ("grid", 1, 1, -1),
    ("grid", 3, 2, -1),
    ("grid", 8, 1, -1),
    ("grid", 3, 1, 0b0000),
    ("grid", 2, 2, 0b1010),
]
Layout = tuple[str, int, int, int]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_values_and_gradients(device: str, layout: Layout, memory: str) -> None:
    """More images and prior samples than one tile has rows, and not a multiple of it."""
    inputs = [t.to(device) for t in scan_inputs(WIDE, T=3, B=19, prior=5)]
    with prescribed(*layout):
        plan = draw_plan(WIDE, False, 19, 5, inputs[0].device)
        assert (plan.kind, plan.team, plan.tiles) == layout[:3]
        if layout[3] >= 0:
            assert plan.resident == [layout[3]] * 2
        assert_matches(scan_of(WIDE, prior=True, memory=memory), inputs, backend="cuda")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16(device: str, layout: Layout) -> None:
    def autocast(*inputs: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(device, dtype=torch.bfloat16):
            return scan_of(WIDE, prior=True)(*inputs)

    inputs = [t.to(device) for t in scan_inputs(WIDE, T=3, B=5, prior=3)]
    with prescribed(*layout):
        assert_matches(autocast, inputs, backend="cuda")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_kept_is_the_same_as_everything_kept(device: str, layout: Layout) -> None:
    """Without gradients the steps run on in one launch, and record nothing."""
    x, eps, prior_eps, *tensors = (t.to(device) for t in scan_inputs(WIDE, T=5, B=19, prior=18))
    weights = weights_of(WIDE, tuple(tensors))
    grown = weights._replace(dec_w_ih=weights.dec_w_ih.clone().requires_grad_())
    with prescribed(*layout), record_backends() as ran:
        kept = F.draw_scan(x, eps, grown, WIDE, prior_eps=prior_eps)
        alone = F.draw_scan(x, eps, weights, WIDE, prior_eps=prior_eps)
        traced = F.draw_scan(x, eps, weights, WIDE, prior_eps=prior_eps, trace=True)
        drawn = F.draw_generate(prior_eps, weights, WIDE)
    assert ran == {("draw_scan", "cuda"): 3, ("draw_generate", "cuda"): 1}
    for name, one, other, third in zip(kept._fields[:5], kept, alone, traced):
        assert torch.equal(one, other)
        if name == "kl":  # summed launch by launch, and a trace takes several
            torch.testing.assert_close(one, third, rtol=1e-6, atol=0)
        else:
            assert torch.equal(one, third)
    torch.testing.assert_close(drawn.canvas, alone.prior_canvas, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("kind", "team", "tiles"), [("cluster", 4, 1), ("grid", 3, 1)])
def test_the_same_on_every_run(device: str, kind: str, team: int, tiles: int) -> None:
    given = [t.to(device).requires_grad_() for t in scan_inputs(WIDE, T=3, B=19, prior=5)]
    runs = []
    with prescribed(kind, team, tiles):
        for _ in range(2):
            outputs = scan_of(WIDE, prior=True)(*given)
            loss = sum(o.sum() for o in outputs if o is not None)
            runs.append([*outputs, *torch.autograd.grad(loss, given)])
    assert all(torch.equal(one, other) for one, other in zip(*runs))


def test_a_layout_that_the_device_has_not_is_refused(device: str) -> None:
    inputs = [t.to(device) for t in scan_inputs(SMALL, T=1, B=1)]
    with (
        prescribed("cluster", 32, 1),
        pytest.raises(BackendError, match="forced backend 'cuda': draw_scan"),
    ):
        scan_of(SMALL)(*inputs)
