"""lstm_cell against PyTorch's own cell: values and every gradient."""

from __future__ import annotations

import pytest
import torch

from drawgan_fast import functional as F
from drawgan_fast import record_backends
from drawgan_fast.nn import LSTMCell
from tests.support.cases import strided

DOUBLE = {"dtype": torch.float64}


@pytest.mark.parametrize(("B", "D", "K"), [(3, 4, 5), (0, 4, 5), (1, 1, 1), (7, 13, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_matches_torch(B: int, D: int, K: int, bias: bool) -> None:
    cell = torch.nn.LSTMCell(D, K, bias=bias, **DOUBLE)
    x, h, c = (torch.randn(B, n, **DOUBLE, requires_grad=True) for n in (D, K, K))
    weights = tuple(cell.parameters())
    with record_backends() as ran:
        ours = F.lstm_cell(strided(x), (h, c), *weights)
    assert ran == {("lstm_cell", "reference"): 1}
    theirs = cell(x, (h, c))
    grad_out = [torch.randn(B, K, **DOUBLE) for _ in range(2)]
    for mine, torchs in zip(ours, theirs):
        torch.testing.assert_close(mine, torchs)
    ours = F.lstm_cell(x, (h, c), *weights)
    inputs = (x, h, c, *weights)
    for mine, torchs in zip(
        torch.autograd.grad(ours, inputs, grad_out), torch.autograd.grad(theirs, inputs, grad_out)
    ):
        torch.testing.assert_close(mine, torchs)


def test_gradcheck() -> None:
    shapes = [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]
    x, h, c, *weights = (torch.randn(s, **DOUBLE, requires_grad=True) for s in shapes)
    assert torch.autograd.gradcheck(
        lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w), (x, h, c, *weights)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_module_takes_the_place_of_torchs(bias: bool) -> None:
    theirs = torch.nn.LSTMCell(3, 4, bias=bias)
    ours = LSTMCell(3, 4, bias=bias)
    ours.load_state_dict(theirs.state_dict())
    assert isinstance(ours, torch.nn.LSTMCell)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for shape in [(5, 3), (3,)]:
        x = torch.randn(shape)
        for state in (None, (torch.randn(*shape[:-1], 4), torch.randn(*shape[:-1], 4))):
            for mine, torchs in zip(ours(x, state), theirs(x, state)):
                torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 7)}, ValueError, r"w_ih must have shape \[16, D\] with D = 7"),
        ({"h": torch.zeros(3, 4)}, ValueError, r"h must have shape \[B, K\] with B = 2"),
        ({"b_ih": torch.zeros(4)}, ValueError, r"b_ih must have shape \[16\], got \[4\]"),
        ({"w_hh": None}, TypeError, "w_hh must be a torch.Tensor, got NoneType"),
    ],
)
def test_bad_arguments_are_named(change: dict, error: type[Exception], message: str) -> None:
    args = {
        "x": torch.zeros(2, 3),
        "h": torch.zeros(2, 4),
        "c": torch.zeros(2, 4),
        "w_ih": torch.zeros(16, 3),
        "w_hh": torch.zeros(16, 4),
        "b_ih": torch.zeros(16),
        "b_hh": torch.zeros(16),
    } | change
    state = (args.pop("h"), args.pop("c"))
    with pytest.raises(error, match=message):
        F.lstm_cell(state=state, **args)
    with pytest.raises(TypeError, match=r"state must be a tuple \(h, c\), got Tensor"):
        F.lstm_cell(args["x"], state[0], args["w_ih"], args["w_hh"])
