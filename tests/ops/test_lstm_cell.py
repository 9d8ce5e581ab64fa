"""lstm_cell on every backend, against PyTorch's own cell: values and every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from drawgan_fast import functional as F
from drawgan_fast import record_backends
from drawgan_fast.backends import current_backend
from drawgan_fast.nn import LSTMCell
from tests.support.cases import strided
from tests.support.truth import assert_matches

DOUBLE = {"dtype": torch.float64}


@pytest.mark.parametrize(("B", "D", "K"), [(3, 4, 5), (0, 4, 5), (1, 1, 1), (7, 13, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_matches_torch(backend: str, B: int, D: int, K: int, bias: bool) -> None:
    cell = torch.nn.LSTMCell(D, K, bias=bias, **DOUBLE)
    x, h, c = (torch.randn(B, n, **DOUBLE, requires_grad=True) for n in (D, K, K))
    weights = tuple(cell.parameters())
    with record_backends() as ran:
        ours = F.lstm_cell(strided(x), (h, c), *weights)
    assert ran == {("lstm_cell", backend): 1}
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


def test_gradcheck(backend: str) -> None:
    shapes = [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]
    x, h, c, *weights = (torch.randn(s, **DOUBLE, requires_grad=True) for s in shapes)
    assert torch.autograd.gradcheck(
        lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w), (x, h, c, *weights)
    )


@pytest.mark.parametrize("bias", [True, False])
def test_module_takes_the_place_of_torchs(backend: str, bias: bool) -> None:
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


def test_a_state_may_be_a_list(backend: str) -> None:
    """As ``torch.nn.LSTMCell`` takes it."""
    theirs, ours = torch.nn.LSTMCell(3, 4), LSTMCell(3, 4)
    ours.load_state_dict(theirs.state_dict())
    for shape in [(5,), ()]:
        x, state = torch.randn(*shape, 3), [torch.randn(*shape, 4), torch.randn(*shape, 4)]
        for mine, torchs in zip(ours(x, state), theirs(x, state)):
            torch.testing.assert_close(mine, torchs)


@pytest.mark.parametrize(
    ("x", "state", "error", "message"),
    [
        ((2, 3), torch.zeros(2, 2, 4), TypeError, r"state must be a tuple \(h, c\), got Tensor"),
        ((3,), torch.zeros(2, 4), TypeError, r"state must be a tuple \(h, c\), got Tensor"),
        ((2, 3), [torch.zeros(2, 4)] * 3, TypeError, r"a tuple \(h, c\), got list of 3"),
        ((3,), (torch.zeros(4),), TypeError, r"a tuple \(h, c\), got tuple of 1"),
        ((2, 3), [torch.zeros(2, 4), None], TypeError, "c must be a torch.Tensor, got NoneType"),
        ((3,), [None, torch.zeros(4)], TypeError, "h must be a torch.Tensor, got NoneType"),
        ((3,), [torch.zeros(1, 4)] * 2, ValueError, r"h must have shape \[K\] .*got \[1, 4\]"),
        ((2, 3), [torch.zeros(4)] * 2, ValueError, r"h must have shape \[B, K\] .*got \[4\]"),
        ((2, 3), [torch.zeros(2, 5)] * 2, ValueError, r"must have shape \[20, D\].*got \[16, 3\]"),
        ((1, 2, 3), None, ValueError, r"input must have shape \[B, D\] or \[D\], got \[1, 2, 3\]"),
    ],
)
def test_wrong_states_are_named(
    x: tuple[int, ...], state: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        LSTMCell(3, 4)(torch.zeros(x), state)


CELLS = [(3, 4, 5), (0, 4, 5), (1, 1, 1), (7, 13, 8), (33, 70, 203), (5, 16, 64)]


def cell_inputs(
    B: int, D: int, K: int, dtype: torch.dtype = torch.float32, *, bias: bool = True
) -> list[Tensor]:
    shapes = [(B, D), (B, K), (B, K), (4 * K, D), (4 * K, K)] + [(4 * K,)] * (2 * bias)
    scale = K**-0.5
    return [torch.randn(s, dtype=dtype) * (scale if i > 2 else 1) for i, s in enumerate(shapes)]


def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    return F.lstm_cell(x, (h, c), *weights)


@pytest.mark.parametrize(("B", "D", "K"), CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_matches_the_reference(
    fast_backend: str, dtype: torch.dtype, bias: bool, B: int, D: int, K: int
) -> None:
    assert_matches(run, cell_inputs(B, D, K, dtype, bias=bias), backend=fast_backend)


@pytest.mark.parametrize("frozen", [(0, 1, 2), (3, 4, 5, 6), (5,), (6,), (1, 3), (0, 1, 2, 3, 4)])
def test_only_what_is_asked_for_gets_a_gradient(fast_backend: str, frozen: tuple[int, ...]) -> None:
    assert_matches(run, cell_inputs(5, 7, 9), backend=fast_backend, frozen=frozen)


@pytest.mark.parametrize("index", [0, 1])
def test_a_result_that_no_loss_looks_at(fast_backend: str, index: int) -> None:
    assert_matches(lambda *t: run(*t)[index], cell_inputs(5, 7, 9), backend=fast_backend)


def test_both_biases_get_gradients_of_their_own(fast_backend: str) -> None:
    inputs = [t.requires_grad_() for t in cell_inputs(5, 7, 9)]
    first, second = torch.autograd.grad(run(*inputs)[0].sum(), inputs[-2:])
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()


def test_layout_does_not_matter(fast_backend: str) -> None:
    inputs = cell_inputs(5, 7, 9)
    assert_matches(run, [strided(t) for t in inputs], backend=fast_backend)
    x, h, c, w_ih, w_hh, b_ih, b_hh = inputs
    turned = (x.T.contiguous().T, h[:1].expand(5, 9), c, w_ih.T.contiguous().T, w_hh, b_ih, b_hh)
    assert_matches(run, turned, backend=fast_backend)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_in_float32(fast_backend: str, dtype: torch.dtype) -> None:
    inputs = cell_inputs(5, 7, 9)
    assert_matches(run, [t.to(dtype) for t in inputs], backend=fast_backend)
    mixed = [t.to(dtype) if i < 3 else t for i, t in enumerate(inputs)]
    assert_matches(run, mixed, backend=fast_backend)


@given(B=st.integers(0, 40), D=st.integers(1, 70), K=st.integers(1, 70))
@settings(max_examples=50)
def test_any_shape(fast_backend: str, B: int, D: int, K: int) -> None:
    torch.manual_seed(B * 10000 + D * 100 + K)
    assert_matches(run, cell_inputs(B, D, K), backend=fast_backend)


@pytest.mark.parametrize(
    ("B", "D", "K", "seed"), [(2, 3, 1, 719279514), (1, 4, 1, 469722625), (2, 2, 1, 1405554722)]
)
def test_saturated_gates_of_a_single_unit(
    fast_backend: str, B: int, D: int, K: int, seed: int
) -> None:
    """1 - g² of a g near 1: a rounding of g decides, and plain PyTorch is near by luck."""
    torch.manual_seed(seed)
    assert_matches(run, cell_inputs(B, D, K), backend=fast_backend)


@pytest.mark.parametrize("gate", range(4))
@pytest.mark.parametrize(
    ("dtype", "wrong"), [(torch.float32, 1e-5), (torch.float64, 1e-13)], ids=["float32", "float64"]
)
def test_a_gate_that_is_slightly_wrong_is_noticed(
    fast_backend: str, dtype: torch.dtype, wrong: float, gate: int
) -> None:
    K = 8

    def off(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        factors = torch.ones(4, K, dtype=x.dtype)
        factors[gate] += wrong * (current_backend() == fast_backend)
        scaled = [(w.movedim(0, -1) * factors.flatten()).movedim(-1, 0) for w in weights]
        return run(x, h, c, *scaled)

    with pytest.raises(AssertionError, match="from the truth"):
        assert_matches(off, cell_inputs(7, 13, K, dtype), backend=fast_backend)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_numbers_are_finite(backend: str, size: float) -> None:
    """Gates that saturate: finite results and finite gradients."""
    inputs = [t.requires_grad_() for t in cell_inputs(4, 3, 20)]
    inputs[0] = (inputs[0].detach() * size).requires_grad_()
    h, c = run(*inputs)
    for tensor in (h, c, *torch.autograd.grad(h.sum() + c.sum(), inputs)):
        assert tensor.isfinite().all()
