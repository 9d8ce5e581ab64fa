"""torch.autocast on the CPU: attention in float32, products in bfloat16 where the CPU has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from drawgan_fast import functional as F
from drawgan_fast import use_backend
from tests.support.cases import windows
from tests.support.scans import ODD, SMALL, scan_inputs, scan_of
from tests.support.truth import assert_matches, evaluate


@pytest.fixture(params=["in use", "avx512bf16", "avx2"])
def isa(request: pytest.FixtureRequest, core: ModuleType) -> Iterator[str]:
    """The instruction set in use, and where the CPU has them, one with bfloat16 and one without."""
    before = core.isa()
    wanted = before if request.param == "in use" else request.param
    if wanted not in core.supported_isas():
        pytest.skip(f"this CPU has no {wanted}")
    core.use_isa(wanted)
    yield wanted
    core.use_isa(before)


def autocast(function: Callable, dtype: torch.dtype = torch.bfloat16) -> Callable:
    def inside(*inputs: Tensor):
        with torch.autocast("cpu", dtype=dtype):
            return function(*inputs)

    return inside


def cell(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    return F.lstm_cell(x, (h, c), *weights)


def cell_inputs(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    shapes = [(33, 70), (33, 203), (33, 203), (812, 70), (812, 203), (812,), (812,)]
    return [torch.randn(s, dtype=dtype) * (1 if i < 3 else 0.07) for i, s in enumerate(shapes)]


def test_lstm_cell_is_as_good_as_eager_autocast(isa: str) -> None:
    got = assert_matches(autocast(cell), cell_inputs(), backend="native")
    assert {t.dtype for t in got.outputs} == {torch.float32}


@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_draw_scan_is_as_good_as_eager_autocast(isa: str, memory: str) -> None:
    inputs = scan_inputs(ODD, T=6, B=5, prior=3)
    function = scan_of(ODD, prior=True, memory=memory)
    got = assert_matches(autocast(function), inputs, backend="native")
    assert {t.dtype for t in got.outputs} == {torch.float32}


def test_operands_are_rounded_where_the_cpu_multiplies_them(isa: str) -> None:
    for function, inputs in ((cell, cell_inputs()), (scan_of(ODD), scan_inputs(ODD))):
        inside = evaluate(autocast(function), inputs, backend="native")
        outside = evaluate(function, inputs, backend="native")
        same = all(torch.equal(a, b) for a, b in zip(inside.outputs, outside.outputs))
        assert same == (isa != "avx512bf16")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float16_autocast_and_float64_change_nothing(core: ModuleType, dtype: torch.dtype) -> None:
    lower = torch.float16 if dtype is torch.float32 else torch.bfloat16
    for function, inputs in (
        (cell, cell_inputs(dtype)),
        (scan_of(SMALL), scan_inputs(SMALL, dtype=dtype)),
    ):
        inside = evaluate(autocast(function, lower), inputs, backend="native")
        outside = evaluate(function, inputs, backend="native")
        for one, other in zip(inside.outputs + inside.gradients, outside.outputs + outside[1]):
            assert torch.equal(one, other)


def test_attention_stays_in_float32(core: ModuleType) -> None:
    def attend(x: Tensor, params: Tensor) -> Tensor:
        return F.attention_write(F.attention_read(x, params, 4), params, (12, 12), canvas=x)

    inputs = torch.rand(2, 1, 12, 12), windows(2)
    inside = evaluate(autocast(attend), inputs, backend="native")
    outside = evaluate(attend, inputs, backend="native")
    for one, other in zip(inside.outputs + inside.gradients, outside.outputs + outside.gradients):
        assert torch.equal(one, other)


def test_activations_in_bfloat16_come_back_in_the_promoted_dtype(core: ModuleType) -> None:
    """As they come from a Linear under autocast, beside a float32 state and float32 weights."""
    x, h, c, *weights = cell_inputs()
    with use_backend("native"), torch.autocast("cpu", dtype=torch.bfloat16):
        h_out, c_out = F.lstm_cell(x.bfloat16(), (h, c), *weights)
    assert h_out.dtype == c_out.dtype == torch.float32


def test_registered_operators_have_a_rule(core: ModuleType) -> None:
    """A direct call under autocast computes in float32 whatever it is given."""
    x, params = torch.rand(2, 1, 6, 6), windows(2)
    ops = torch.ops.drawgan_fast
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (glimpse,) = ops.attention_read(
            [x.bfloat16()], params.bfloat16(), None, 2, '"paper"', "native"
        )
        h, _, _ = ops.lstm_cell(*(t.bfloat16() for t in cell_inputs()), False, False, "native")
    assert glimpse.dtype == h.dtype == torch.float32
