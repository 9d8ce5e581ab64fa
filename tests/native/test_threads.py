"""The number of threads changes no bit, and callers at the same time do not disturb each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from drawgan_fast import functional as F
from drawgan_fast import use_backend
from tests.support.cases import windows
from tests.support.scans import ODD, scan_inputs, scan_of
from tests.support.truth import evaluate

pytestmark = pytest.mark.usefixtures("core")

Case = tuple[Callable[..., object], list[Tensor]]


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def cases() -> dict[str, Case]:
    x, canvas = torch.rand(13, 2, 19, 31), torch.randn(13, 2, 19, 31)
    cell = [torch.randn(s) for s in [(13, 70), (13, 203), (13, 203), (812, 70), (812, 203)]]
    return {
        "attention_read": (
            lambda x, c, p: F.attention_read(x, p, 5, canvas=c),
            [x, canvas, windows(13)],
        ),
        "attention_write": (
            lambda w, c, p: F.attention_write(w, p, (19, 31), canvas=c),
            [torch.randn(13, 2, 5, 5), canvas, windows(13)],
        ),
        "lstm_cell": (lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w), cell),
        "draw_scan": (scan_of(ODD, prior=True), scan_inputs(ODD, T=3, B=13, prior=9)),
        "draw_scan, recompute": (
            scan_of(ODD, prior=True, memory="recompute"),
            scan_inputs(ODD, T=5, B=13, prior=9),
        ),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    function, inputs = cases()[name]
    torch.set_num_threads(1)
    alone = evaluate(function, inputs, backend="native")
    for count in (2, 3, 5):
        torch.set_num_threads(count)
        several = evaluate(function, inputs, backend="native")
        for one, other in zip((*alone.outputs, *alone.gradients), (*several[0], *several[1])):
            assert torch.equal(one, other), f"{count} threads"


@pytest.mark.parametrize("name", ["attention_read", "lstm_cell", "draw_scan"])
def test_two_callers_at_once(name: str) -> None:
    function, inputs = cases()[name]
    lots = [inputs, [t * 0.5 for t in inputs]]

    def step(inputs: list[Tensor]) -> list[Tensor]:
        given = [t.clone().requires_grad_() for t in inputs]
        results = function(*given)
        outputs = list(results) if isinstance(results, tuple) else [results]
        return [*outputs, *torch.autograd.grad(sum(o.square().sum() for o in outputs), given)]

    with use_backend("native"):
        expected = [step(lot) for lot in lots]
        with ThreadPoolExecutor(2) as pool:
            for _ in range(5):
                for ours, alone in zip(pool.map(step, lots), expected):
                    assert all(torch.equal(a, b) for a, b in zip(ours, alone))


class Glimpses(Dataset[Tensor]):
    """A data set whose items are read through a window."""

    def __init__(self, images: Tensor, params: Tensor) -> None:
        self.images, self.params = images, params

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        one = slice(index, index + 1)
        return F.attention_read(self.images[one], self.params[one], 4)[0]


@pytest.mark.usefixtures("threads")
def test_workers_of_a_data_loader_use_the_operators() -> None:
    """Forked after the parent has used its own threads."""
    torch.set_num_threads(2)
    images, params = torch.rand(64, 1, 28, 28), windows(64)
    with use_backend("native"):
        expected = F.attention_read(images, params, 4)
        loader = DataLoader(
            Glimpses(images, params), 16, num_workers=2, multiprocessing_context="fork"
        )
        assert torch.equal(torch.cat(list(loader)), expected)


def test_the_core_is_asked_for_the_threads_of_torch(
    core: ModuleType, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = core.attention_read

    def watched(*args: object) -> None:
        seen.append(args[-1])
        original(*args)

    monkeypatch.setattr(core, "attention_read", watched)
    with use_backend("native"):
        for count in (1, 3):
            torch.set_num_threads(count)
            F.attention_read(torch.rand(2, 1, 6, 6), torch.zeros(2, 5), 2)
    assert seen == [1, 3]
