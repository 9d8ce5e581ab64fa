"""attention_read on every fast backend against the reference: values and every gradient."""

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
    x, canvas = torch.rand(B, C, H, W, dtype=dtype), torch.randn(B, C, H, W, dtype=dtype)

    def read(x: Tensor, canvas: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, N, name, canvas=canvas)

    assert_matches(read, (x, canvas, windows(B, dtype)), backend=fast_backend)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_several_images(fast_backend: str, images: int) -> None:
    def read(params: Tensor, *images: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(images, params, 4)

    inputs = (windows(5), *torch.rand(images, 5, 2, 11, 7).unbind())
    assert_matches(read, inputs, backend=fast_backend)


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_only_what_is_asked_for_gets_a_gradient(fast_backend: str, frozen: tuple[int, ...]) -> None:
    def read(x: Tensor, canvas: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, 3, canvas=canvas)

    inputs = torch.rand(4, 1, 9, 6), torch.randn(4, 1, 9, 6), windows(4)
    assert_matches(read, inputs, backend=fast_backend, frozen=frozen)


def test_a_glimpse_that_no_loss_looks_at(fast_backend: str) -> None:
    for index in (0, 1):

        def read(x: Tensor, canvas: Tensor, params: Tensor, index: int = index) -> Tensor:
            return F.attention_read(x, params, 3, canvas=canvas)[index]

        inputs = torch.rand(4, 1, 9, 6), torch.randn(4, 1, 9, 6), windows(4)
        with torch.no_grad():
            F.attention_read(inputs[0], inputs[2], 3)
        got = evaluate(read, inputs, backend=fast_backend)
        plain = evaluate(read, inputs, backend="reference")
        for ours, theirs in zip(got.gradients, plain.gradients):
            zero = torch.zeros(()) if theirs is None else theirs
            torch.testing.assert_close(ours, zero.expand_as(ours), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["paper", "natsu", "shuaiyihuang", "rhychen"])
def test_layout_does_not_matter(fast_backend: str, name: str) -> None:
    def read(x: Tensor, canvas: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, 3, name, canvas=canvas)

    x, canvas, params = torch.rand(3, 2, 13, 29), torch.randn(3, 2, 13, 29), windows(3)
    assert_matches(read, (strided(x), strided(canvas), strided(params)), backend=fast_backend)
    expanded = x[:1].expand(3, 2, 13, 29), canvas.mT.contiguous().mT, params[:1].expand(3, 5)
    assert_matches(read, expanded, backend=fast_backend)


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
    def read(x: Tensor, canvas: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, 3, canvas=canvas)

    inputs = torch.rand(4, 2, 9, 6), torch.randn(4, 2, 9, 6), windows(4)
    assert_matches(read, [t.to(d) for t, d in zip(inputs, dtypes)], backend=fast_backend)


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

    def read(x: Tensor, canvas: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, N, name, canvas=canvas)

    x, canvas = torch.rand(B, C, H, W), torch.randn(B, C, H, W)
    assert_matches(read, (x, canvas, windows(B)), backend=fast_backend)


@pytest.mark.parametrize("name", PRESETS)
@given(numbers=st.lists(extreme_numbers, min_size=2, max_size=2), N=st.integers(1, 6))
def test_extreme_windows(fast_backend: str, name: str, numbers: list[list[float]], N: int) -> None:
    """Numbers up to ±1e4, where the window's exponentials saturate."""
    params = torch.tensor(numbers, dtype=torch.float64)
    x = torch.linspace(0, 1, 45, dtype=torch.float64).view(1, 1, 5, 9).expand(2, 1, 5, 9)

    def read(x: Tensor, params: Tensor) -> Tensor:
        return F.attention_read(x, params, N, name)

    got = evaluate(read, (x, params), backend=fast_backend)
    plain = evaluate(read, (x, params), backend="reference")
    noise = rounding_of_a_window(params, (5, 9), N, PRESETS[name])
    for ours, theirs in zip(got.outputs, plain.outputs):
        assert ((ours - theirs).abs().amax((1, 2, 3)) <= noise + 1e-9).all()
    for ours, theirs in zip(got.gradients, plain.gradients):
        off = (ours - theirs).abs().flatten(1).amax(1)
        assert (off <= noise + 1e-9 * theirs.abs().flatten(1).amax(1) + 1e-9).all()
