"""Every instruction set that runs here, against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from drawgan_fast import functional as F
from drawgan_fast._native import NativeUnavailable, load_cpu
from tests.support.cases import windows
from tests.support.scans import ODD, scan_inputs, scan_of
from tests.support.truth import assert_matches


def supported() -> list[str]:
    try:
        return list(load_cpu().supported_isas())
    except NativeUnavailable:
        return ["none"]


@pytest.fixture(params=supported())
def isa(request: pytest.FixtureRequest, core: ModuleType) -> Iterator[str]:
    """Each in turn; the one that was in use comes back."""
    before = core.isa()
    core.use_isa(request.param)
    yield request.param
    core.use_isa(before)


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


@DTYPES
@pytest.mark.parametrize("name", ["paper", "natsu", "shuaiyihuang", "vivanov"])
def test_attention(isa: str, dtype: torch.dtype, name: str) -> None:
    def attend(x: Tensor, canvas: Tensor, params: Tensor, patch: Tensor) -> tuple[Tensor, ...]:
        glimpses = F.attention_read(x, params, 5, name, canvas=canvas)
        return (*glimpses, F.attention_write(patch, params, (13, 29), name, canvas=canvas))

    x, canvas = torch.rand(7, 3, 13, 29, dtype=dtype), torch.randn(7, 3, 13, 29, dtype=dtype)
    patch = torch.randn(7, 3, 5, 5, dtype=dtype)
    assert_matches(attend, (x, canvas, windows(7, dtype), patch), backend="native")


@DTYPES
def test_lstm_cell(isa: str, dtype: torch.dtype) -> None:
    shapes = [(33, 70), (33, 203), (33, 203), (812, 70), (812, 203), (812,), (812,)]
    inputs = [torch.randn(s, dtype=dtype) * (1 if i < 3 else 0.07) for i, s in enumerate(shapes)]
    assert_matches(lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w), inputs, backend="native")


@DTYPES
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_draw_scan(isa: str, dtype: torch.dtype, memory: str) -> None:
    inputs = scan_inputs(ODD, T=4, B=5, prior=3, dtype=dtype)
    assert_matches(scan_of(ODD, prior=True, memory=memory), inputs, backend="native")
