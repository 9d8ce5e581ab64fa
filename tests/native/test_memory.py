"""What a scan keeps for its backward, and who sees it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

import drawgan_fast
from drawgan_fast import release_workspaces, use_backend, workspace_info
from tests.support.scans import ODD, scan_inputs, scan_of


@pytest.fixture(autouse=True)
def native(core: ModuleType) -> Iterator[None]:
    gc.collect()
    release_workspaces()
    with use_backend("native"):
        yield


def run(memory: str, *, B: int = 8, T: int = 16) -> tuple[torch.Tensor, int]:
    """A loss whose graph is alive, and the bytes that are lent to it."""
    before = workspace_info().in_use
    inputs = [t.requires_grad_() for t in scan_inputs(ODD, T=T, B=B, prior=4)]
    out = scan_of(ODD, prior=True, memory=memory)(*inputs)
    return sum(o.sum() for o in out), workspace_info().in_use - before


def test_a_graph_holds_its_workspace_until_backward() -> None:
    loss, lent = run("keep")
    assert lent > 8 * 16 * ODD.hidden_size * 4
    loss.backward()
    assert workspace_info().in_use < lent
    del loss
    assert workspace_info().in_use == 0
    assert workspace_info().kept >= lent
    release_workspaces()
    assert workspace_info() == (0, 0)


def test_results_alone_hold_no_workspace() -> None:
    out = scan_of(ODD)(*[t.requires_grad_() for t in scan_inputs(ODD)])
    kept = [t.detach() for t in out if t is not None]
    del out
    assert workspace_info().in_use == 0
    assert all(t.isfinite().all() for t in kept)


def test_without_gradient_nothing_is_kept() -> None:
    with torch.no_grad():
        _, lent = run("keep")
    assert lent == 0


def test_recompute_keeps_less_and_more_slowly_with_the_steps() -> None:
    kept, recomputed = ([run(memory, T=T)[1] for T in (16, 64)] for memory in ("keep", "recompute"))
    assert recomputed[0] < 0.6 * kept[0]
    assert recomputed[1] < 0.35 * kept[1]


def test_the_next_step_uses_the_same_memory() -> None:
    run("keep")[0].backward()
    gc.collect()
    first = workspace_info()
    for _ in range(3):
        run("keep")[0].backward()
    gc.collect()
    assert workspace_info() == first


def test_without_a_core_there_is_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    from drawgan_fast.backends.native import workspaces

    monkeypatch.setattr(workspaces, "unavailable", lambda: "it was left out")
    assert drawgan_fast.workspace_info() == (0, 0)
    drawgan_fast.release_workspaces()
