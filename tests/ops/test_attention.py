"""attention_read and attention_write on every backend: loops, gradients, extremes, layouts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from drawgan_fast import PRESETS, record_backends
from drawgan_fast import functional as F
from tests.support.cases import SHAPES, leaf, strided
from tests.support.strategies import extreme_numbers


def loop_read(image: Tensor, numbers: Tensor, N: int) -> Tensor:
    """γ·Σ_b Σ_a F_y[i,b]·I[b,a]·F_x[j,a] for one channel, one number at a time, from eq. 19-27."""
    B, A = image.shape
    g_x, g_y, log_sigma2, log_delta, log_gamma = numbers.tolist()
    delta = (max(A, B) - 1) / max(N - 1, 1) * math.exp(log_delta)

    def filters(g: float, side: int) -> list[list[float]]:
        rows = []
        for i in range(1, N + 1):
            mu = (side + 1) / 2 * (g + 1) + (i - N / 2 - 0.5) * delta
            exponents = [-((p - mu) ** 2) / (2 * math.exp(log_sigma2)) for p in range(1, side + 1)]
            top = max(exponents)
            row = [math.exp(e - top) for e in exponents]
            rows.append([f / sum(row) for f in row])
        return rows

    F_x, F_y = filters(g_x, A), filters(g_y, B)
    out = torch.zeros(N, N, dtype=torch.float64)
    for i in range(N):
        for j in range(N):
            out[i, j] = math.exp(log_gamma) * sum(
                F_y[i][b] * float(image[b, a]) * F_x[j][a] for b in range(B) for a in range(A)
            )
    return out


@pytest.mark.parametrize(("B", "C", "H", "W", "N"), SHAPES)
def test_read_matches_a_loop_over_pixels(
    backend: str, B: int, C: int, H: int, W: int, N: int
) -> None:
    images, params = torch.rand(B, C, H, W).double(), torch.randn(B, 5).double()
    with record_backends() as ran:
        out = F.attention_read(images, params, N)
    assert ran == {("attention_read", backend): 1}
    assert out.shape == (B, C, N, N)
    for b in range(B):
        for c in range(C):
            expected = loop_read(images[b, c], params[b], N)
            torch.testing.assert_close(out[b, c], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("B", "C", "H", "W", "N"), SHAPES)
@pytest.mark.parametrize("name", ["paper", "rhychen", "vivanov"])
def test_write_is_the_transpose_of_read(
    backend: str, B: int, C: int, H: int, W: int, N: int, name: str
) -> None:
    """⟨read(I), w⟩ = ⟨I, write(w)⟩ when both use γ = 1 and the same axes."""
    spec = PRESETS[name]
    images, patch = torch.randn(B, C, H, W).double(), torch.randn(B, C, N, N).double()
    params = torch.randn(B, 5).double()
    params[:, 4] = 0
    spec = replace(spec, write_axes=spec.read_axes)
    with record_backends() as ran:
        written = F.attention_write(patch, params, (H, W), spec)
    assert ran == {("attention_write", backend): 1}
    read = F.attention_read(images, params, N, spec)
    left, right = (read * patch).sum((1, 2, 3)), (images * written).sum((1, 2, 3))
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def test_write_adds_to_the_canvas_and_leaves_it_alone(backend: str) -> None:
    patch, params = torch.randn(3, 2, 4, 4).double(), torch.randn(3, 5).double()
    canvas = torch.randn(3, 2, 9, 7).double()
    before = canvas.clone()
    out = F.attention_write(patch, params, (9, 7), canvas=canvas)
    alone = F.attention_write(patch, params, (9, 7))
    torch.testing.assert_close(out, before + alone)
    assert torch.equal(canvas, before)


def test_gamma_divides_the_write_and_multiplies_the_read(backend: str) -> None:
    params = torch.zeros(1, 5).double()
    louder = params.clone()
    louder[0, 4] = math.log(3.0)
    image, patch = torch.rand(1, 1, 9, 9).double(), torch.rand(1, 1, 3, 3).double()
    torch.testing.assert_close(
        F.attention_read(image, louder, 3), 3 * F.attention_read(image, params, 3)
    )
    torch.testing.assert_close(
        F.attention_write(patch, louder, (9, 9)), F.attention_write(patch, params, (9, 9)) / 3
    )


def test_several_images_and_the_error_image_share_one_window(backend: str) -> None:
    x, other = torch.rand(2, 3, 7, 9).double(), torch.rand(2, 3, 7, 9).double()
    canvas, params = torch.randn(2, 3, 7, 9).double(), torch.randn(2, 5).double()
    first, second = F.attention_read((x, other), params, 3)
    torch.testing.assert_close(first, F.attention_read(x, params, 3))
    torch.testing.assert_close(second, F.attention_read(other, params, 3))
    seen, error = F.attention_read(x, params, 3, canvas=canvas)
    torch.testing.assert_close(seen, first)
    expected = F.attention_read(x - 1 / (1 + torch.exp(-canvas)), params, 3)
    torch.testing.assert_close(error, expected)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("N", [1, 3])
def test_gradients(backend: str, name: str, N: int) -> None:
    """Analytic against numerical derivatives, in every convention; the second ones too."""
    x, canvas = leaf(2, 2, 4, 6), leaf(2, 2, 4, 6)
    patch, params = leaf(2, 2, N, N), leaf(2, 5, scale=0.4)
    assert torch.autograd.gradcheck(
        lambda x, c, p: F.attention_read(x, p, N, name, canvas=c), (x, canvas, params)
    )
    assert torch.autograd.gradcheck(
        lambda w, p, c: F.attention_write(w, p, (4, 6), name, canvas=c), (patch, params, canvas)
    )
    if backend == "reference":
        assert torch.autograd.gradgradcheck(
            lambda x, p: F.attention_read(x, p, N, name), (x[:1, :1, :3, :2], params[:1])
        )


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(numbers=st.lists(extreme_numbers, min_size=2, max_size=2), N=st.integers(1, 6))
def test_any_finite_window_is_finite(
    backend: str, name: str, dtype: torch.dtype, numbers: list[list[float]], N: int
) -> None:
    """Outputs and every gradient, for numbers up to ±1e4."""
    params = torch.tensor(numbers, dtype=dtype, requires_grad=True)
    x, patch = leaf(2, 1, 5, 9, dtype=dtype), leaf(2, 1, N, N, dtype=dtype)
    glimpses = F.attention_read(x, params, N, name, canvas=x * 3)
    canvas = F.attention_write(patch, params, (5, 9), name)
    outputs = [*glimpses, canvas]
    gradients = torch.autograd.grad(sum(o.sum() for o in outputs), (x, patch, params))
    for tensor in (*outputs, *gradients):
        assert tensor.isfinite().all()


def test_a_window_off_the_image_is_pulled_back(backend: str) -> None:
    """In the paper's convention; in the forks the same window is dead."""
    ramp = torch.arange(28.0).expand(28, 28)[None, None]
    off = torch.tensor([[-1.3, 0.0, 2.0, -1.0, 0.0]])

    def pull(name: str) -> float:
        params = off.clone().requires_grad_()
        F.attention_read(ramp, params, 2, name).sum().backward()
        return float(params.grad[0, 0])

    assert pull("paper") > 0.01
    far = off.clone()
    far[0, 0] = -4.0
    _, F_x, _ = F.filterbank(far, (28, 28), 2, "natsu")
    assert F_x.sum() < 1e-30
    _, F_x, _ = F.filterbank(far, (28, 28), 2, "paper")
    torch.testing.assert_close(F_x.sum(-1), torch.ones(1, 2))


@pytest.mark.parametrize("B", [0, 1, 7])
@pytest.mark.parametrize("name", ["paper", "natsu", "shuaiyihuang"])
def test_layout_does_not_matter(backend: str, B: int, name: str) -> None:
    x, params, patch = torch.rand(B, 2, 6, 9), torch.randn(B, 5), torch.randn(B, 2, 3, 3)
    canvas = torch.randn(B, 2, 6, 9)
    x, params, patch, canvas = (t.double() for t in (x, params, patch, canvas))
    plain = F.attention_read(x, params, 3, name, canvas=canvas)
    odd = F.attention_read(strided(x), strided(params), 3, name, canvas=strided(canvas))
    for a, b in zip(plain, odd):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        F.attention_write(patch, params, (6, 9), name, canvas=canvas),
        F.attention_write(strided(patch), strided(params), (6, 9), name, canvas=strided(canvas)),
        rtol=1e-12,
        atol=1e-14,
    )


def test_expanded_inputs_get_their_summed_gradient(backend: str) -> None:
    params = leaf(1, 5, scale=0.3)
    image = torch.rand(4, 1, 6, 6).double()
    F.attention_read(image, params.expand(4, 5), 2).sum().backward()
    (expected,) = torch.autograd.grad(
        sum(F.attention_read(i[None], params, 2).sum() for i in image), params
    )
    torch.testing.assert_close(params.grad, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_types_compute_in_float32(backend: str, dtype: torch.dtype) -> None:
    """Error against float64 stays at one rounding of the result."""
    x, params = torch.rand(5, 1, 12, 12).to(dtype), torch.randn(5, 5).to(dtype)
    out = F.attention_read(x, params, 4)
    truth = F.attention_read(x.double(), params.double(), 4)
    assert out.dtype == dtype
    bound = torch.finfo(dtype).eps * truth.abs() + 4 * torch.finfo(torch.float32).eps * truth.max()
    assert ((out.double() - truth).abs() <= bound).all()


def test_dtypes_promote_as_pytorch_does(backend: str) -> None:
    x, params = torch.rand(2, 1, 6, 6), torch.zeros(2, 5, dtype=torch.bfloat16)
    assert F.attention_read(x, params, 2).dtype == torch.float32
    assert F.attention_read(x.half(), params.double(), 2).dtype == torch.float64


def test_autocast_leaves_the_filters_in_float32(backend: str) -> None:
    x, params = torch.rand(2, 1, 12, 12), torch.randn(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = F.attention_read(x, params, 4)
    assert torch.equal(inside, F.attention_read(x, params, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, p: F.attention_read(x.int(), p, 2), TypeError, "images must have a floating"),
        (lambda x, p: F.attention_read([x], p, 2), TypeError, "images must be a tensor or a tuple"),
        (lambda x, p: F.attention_read(x[0], p, 2), ValueError, r"images .*\[B, C, H, W\].*got"),
        (lambda x, p: F.attention_read(x, p[:1], 2), ValueError, r"params .*B = 2, got \[1, 5\]"),
        (lambda x, p: F.attention_read(x, p[:, :4], 2), ValueError, r"params .*got \[2, 4\]"),
        (lambda x, p: F.attention_read(x, p, 0), ValueError, "N must be at least 1, got 0"),
        (lambda x, p: F.attention_read(x, p, 2.0), TypeError, "N must be an int, got float"),
        (lambda x, p: F.attention_read(x, p, 2, "papre"), ValueError, "spec must be one of"),
        (
            lambda x, p: F.attention_read(x, p, 2, canvas=x[:, :, :3]),
            ValueError,
            r"canvas .*H = 6, W = 6, got \[2, 1, 3, 6\]",
        ),
        (
            lambda x, p: F.attention_read((x, x), p, 2, canvas=x),
            ValueError,
            "images must be one tensor when canvas is given",
        ),
        (
            lambda x, p: F.attention_read(x, p.to("meta"), 2),
            ValueError,
            "params must be on the device of images, cpu, got meta",
        ),
        (lambda x, p: F.attention_read(x[:, :, :0], p, 2), ValueError, "at least one pixel"),
        (lambda x, p: F.attention_write(x, p, (6, 6, 6)), TypeError, r"size must be \(H, W\)"),
        (lambda x, p: F.attention_write(x, p, (0, 6)), ValueError, r"size\[0\] must be at least 1"),
        (lambda x, p: F.attention_write(x[:, :, :3], p, (6, 6)), ValueError, "patch must have"),
    ],
)
def test_bad_arguments_are_named(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(torch.rand(2, 1, 6, 6), torch.zeros(2, 5))
