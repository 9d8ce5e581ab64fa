"""Reads and writes on every tier against the float64 truth, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawgan_fast import PRESETS, AttentionSpec
from drawgan_fast import functional as F
from tests.support.cases import strided, windows
from tests.support.truth import assert_matches


def attend(N: int, size: tuple[int, int], spec: str | AttentionSpec):
    """A read of an image and its error image, and a write, as one function."""

    def function(x: Tensor, canvas: Tensor, params: Tensor, patch: Tensor) -> tuple[Tensor, ...]:
        glimpses = F.attention_read(x, params, N, spec, canvas=canvas)
        return (*glimpses, F.attention_write(patch, params, size, spec, canvas=canvas))

    return function


def inputs(
    B: int, C: int, size: tuple[int, int], N: int, device: str, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    tensors = [
        torch.rand(B, C, *size),
        torch.randn(B, C, *size),
        windows(B, torch.float32),
        torch.randn(B, C, N, N),
    ]
    return [tensor.to(device, dtype) for tensor in tensors]


@pytest.mark.parametrize("name", PRESETS)
def test_conventions(tier: str, device: str, name: str) -> None:
    assert_matches(attend(3, (9, 13), name), inputs(2, 2, (9, 13), 3, device), backend=tier)


@pytest.mark.parametrize("normalisation", ["softmax", "add", "max", "each", "total", "none"])
def test_normalisations(tier: str, device: str, normalisation: str) -> None:
    spec = AttentionSpec(normalisation=normalisation, eps=1e-3)
    assert_matches(attend(4, (11, 8), spec), inputs(3, 1, (11, 8), 4, device), backend=tier)


@pytest.mark.parametrize(
    ("B", "C", "size", "N"),
    [(1, 1, (1, 1), 1), (2, 3, (5, 40), 2), (2, 1, (37, 70), 5), (1, 2, (33, 16), 17),
     (1, 1, (28, 28), 40), (3, 1, (13, 29), 12)],
)  # fmt: skip
def test_sizes(tier: str, device: str, B: int, C: int, size: tuple[int, int], N: int) -> None:
    assert_matches(attend(N, size, "paper"), inputs(B, C, size, N, device), backend=tier)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_in_float32(tier: str, device: str, dtype: torch.dtype) -> None:
    got = assert_matches(
        attend(3, (9, 13), "paper"), inputs(2, 2, (9, 13), 3, device, dtype), backend=tier
    )
    assert {t.dtype for t in got.outputs} == {dtype}


def test_empty_batches(tier: str, device: str) -> None:
    got = assert_matches(
        attend(3, (9, 13), "paper"), inputs(0, 2, (9, 13), 3, device), backend=tier
    )
    assert [g.shape[0] for g in got.gradients if g is not None] == [0, 0, 0, 0]


@pytest.mark.parametrize("images", [1, 2, 3])
def test_images_through_one_window(tier: str, device: str, images: int) -> None:
    given = [torch.rand(2, 1, 8, 9, device=device) for _ in range(images)]
    params = windows(2, torch.float32).to(device)
    assert_matches(
        lambda params, *xs: F.attention_read(xs if images > 1 else xs[0], params, 3),
        [params, *given],
        backend=tier,
    )


@pytest.mark.parametrize("looked_at", [0, 1])
def test_one_glimpse_without_a_gradient(tier: str, device: str, looked_at: int) -> None:
    x, canvas, params, _ = inputs(2, 2, (9, 13), 3, device)
    assert_matches(
        lambda *t: F.attention_read(t[0], t[2], 3, canvas=t[1])[looked_at],
        [x, canvas, params],
        backend=tier,
    )


@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1), (2,), (1, 2, 3)])
def test_gradients_of_some_inputs(tier: str, device: str, frozen: tuple[int, ...]) -> None:
    given = inputs(2, 2, (9, 13), 3, device)
    assert_matches(attend(3, (9, 13), "paper"), given, backend=tier, frozen=frozen)


def test_a_write_without_a_canvas(tier: str, device: str) -> None:
    _, _, params, patch = inputs(2, 2, (9, 13), 3, device)
    assert_matches(
        lambda patch, params: F.attention_write(patch, params, (9, 13)),
        [patch, params],
        backend=tier,
    )


def test_layout_does_not_matter(tier: str, device: str) -> None:
    given = inputs(2, 2, (9, 13), 3, device)
    function = attend(3, (9, 13), "paper")
    for one, other in zip(function(*given), function(*map(strided, given))):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["paper", "natsu", "vivanov", "shuaiyihuang"])
@pytest.mark.parametrize("extreme", [-1e4, -60.0, 60.0, 1e4, 1e30])
def test_finite_windows_are_finite(tier: str, device: str, name: str, extreme: float) -> None:
    x, canvas, _, patch = inputs(5, 1, (9, 13), 3, device)
    params = (0.1 * torch.randn(5, 5) + extreme * torch.eye(5)).to(device)
    given = [t.requires_grad_() for t in (x, canvas, params, patch)]
    outputs = attend(3, (9, 13), name)(*given)
    gradients = torch.autograd.grad(sum(o.sum() for o in outputs), given)
    assert all(torch.isfinite(t).all() for t in (*outputs, *gradients))


def test_results_are_the_same_on_every_run(tier: str, device: str) -> None:
    given = [t.requires_grad_() for t in inputs(3, 2, (19, 40), 5, device)]
    runs = []
    for _ in range(2):
        outputs = attend(5, (19, 40), "paper")(*given)
        runs.append([*outputs, *torch.autograd.grad(sum(o.sum() for o in outputs), given)])
    assert all(torch.equal(one, other) for one, other in zip(*runs))
