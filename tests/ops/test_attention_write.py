"""attention_write on every fast backend against the reference: values and every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from drawgan_fast import PRESETS
from drawgan_fast import functional as F
from tests.support.cases import SHAPES, rounding_of_a_window, strided, windows
from tests.support.strategies import extreme_numbers
from tests.support.truth import assert_matches, evaluate

DTYPES = [torch.float32, torch.float64]


@pytest.mark.parametrize(("B", "C", "H", "W", "N"), SHAPES)
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_matches_the_reference(
    fast_backend: str, dtype: torch.dtype, name: str, B: int, C: int, H: int, W: int, N: int
) -> None:
    patch, canvas = torch.randn(B, C, N, N, dtype=dtype), torch.randn(B, C, H, W, dtype=dtype)

    def write(patch: Tensor, params: Tensor, canvas: Tensor) -> Tensor:
        return F.attention_write(patch, params, (H, W), name, canvas=canvas)

    assert_matches(write, (patch, windows(B, dtype), canvas), backend=fast_backend)


def test_without_a_canvas(fast_backend: str) -> None:
    def write(patch: Tensor, params: Tensor) -> Tensor:
        return F.attention_write(patch, params, (11, 7))

    assert_matches(write, (torch.randn(5, 2, 4, 4), windows(5)), backend=fast_backend)


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_only_what_is_asked_for_gets_a_gradient(fast_backend: str, frozen: tuple[int, ...]) -> None:
    def write(patch: Tensor, params: Tensor, canvas: Tensor) -> Tensor:
        return F.attention_write(patch, params, (9, 6), canvas=canvas)

    inputs = torch.randn(4, 1, 3, 3), windows(4), torch.randn(4, 1, 9, 6)
    assert_matches(write, inputs, backend=fast_backend, frozen=frozen)


@pytest.mark.parametrize("name", ["paper", "natsu", "shuaiyihuang", "rhychen"])
def test_layout_does_not_matter(fast_backend: str, name: str) -> None:
    def write(patch: Tensor, params: Tensor, canvas: Tensor) -> Tensor:
        return F.attention_write(patch, params, (13, 29), name, canvas=canvas)

    patch, params, canvas = torch.randn(3, 2, 3, 3), windows(3), torch.randn(3, 2, 13, 29)
    assert_matches(write, (strided(patch), strided(params), strided(canvas)), backend=fast_backend)
    expanded = patch[:, :1].expand(3, 2, 3, 3), params[:1].expand(3, 5), canvas[0].expand_as(canvas)
    assert_matches(write, expanded, backend=fast_backend)


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.bfloat16, torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16, torch.float16),
        (torch.float32, torch.bfloat16, torch.bfloat16),
        (torch.bfloat16, torch.float16, torch.bfloat16),
        (torch.float32, torch.float64, torch.float32),
    ],
)
def test_dtypes(fast_backend: str, dtypes: tuple[torch.dtype, ...]) -> None:
    def write(patch: Tensor, params: Tensor, canvas: Tensor) -> Tensor:
        return F.attention_write(patch, params, (9, 6), canvas=canvas)

    inputs = torch.randn(4, 2, 3, 3), windows(4), torch.randn(4, 2, 9, 6)
    assert_matches(write, [t.to(d) for t, d in zip(inputs, dtypes)], backend=fast_backend)


@given(
    B=st.integers(0, 9),
    C=st.integers(1, 4),
    H=st.integers(1, 40),
    W=st.integers(1, 40),
    N=st.integers(1, 13),
    name=st.sampled_from(list(PRESETS)),
)
def test_any_shape(fast_backend: str, B: int, C: int, H: int, W: int, N: int, name: str) -> None:
    torch.manual_seed(B * 1000 + H * 40 + W)

    def write(patch: Tensor, params: Tensor, canvas: Tensor) -> Tensor:
        return F.attention_write(patch, params, (H, W), name, canvas=canvas)

    inputs = torch.randn(B, C, N, N), windows(B), torch.randn(B, C, H, W)
    assert_matches(write, inputs, backend=fast_backend)


@pytest.mark.parametrize("name", PRESETS)
@given(numbers=st.lists(extreme_numbers, min_size=2, max_size=2), N=st.integers(1, 6))
def test_extreme_windows(fast_backend: str, name: str, numbers: list[list[float]], N: int) -> None:
    """Numbers up to ±1e4, where the window's exponentials saturate."""
    params = torch.tensor(numbers, dtype=torch.float64)
    patch = torch.linspace(-1, 1, N * N, dtype=torch.float64).view(1, 1, N, N).expand(2, 1, N, N)

    def write(patch: Tensor, params: Tensor) -> Tensor:
        return F.attention_write(patch, params, (5, 9), name)

    got = evaluate(write, (patch, params), backend=fast_backend)
    plain = evaluate(write, (patch, params), backend="reference")
    noise = rounding_of_a_window(params, (5, 9), N, PRESETS[name], writing=True)
    for ours, theirs in zip(got.outputs, plain.outputs):
        assert ((ours - theirs).abs().amax((1, 2, 3)) <= noise + 1e-9).all()
    for ours, theirs in zip(got.gradients, plain.gradients):
        off = (ours - theirs).abs().flatten(1).amax(1)
        assert (off <= noise + 1e-9 * theirs.abs().flatten(1).amax(1) + 1e-9).all()
