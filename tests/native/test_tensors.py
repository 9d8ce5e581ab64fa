"""Tensors as the core reads them: what it accepts at one look, and what it leaves to Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor

from drawgan_fast import functional as F
from drawgan_fast import record_backends, use_backend
from drawgan_fast.ops.checks import Shapes, Signature
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs, weights_of

pytestmark = pytest.mark.usefixtures("core")

SHAPES = {"images": ("B", "C", "H", 6), "params": ("B", 5), "canvas": None}
X, P = torch.rand(3, 1, 4, 6), windows(3)
needs_table = pytest.mark.skipif(
    not hasattr(Tensor, "__dlpack_c_exchange_api__"), reason="needs torch 2.10"
)


def check(images: Any, params: Any, canvas: Any = None, **bound: int) -> str | None:
    return Signature(SHAPES, **bound).check((images, params, canvas))


@contextmanager
def reading(core: ModuleType, *classes: type) -> Iterator[bool]:
    """The core reads tensors of these two classes; whether it can."""
    try:
        yield core.read_tensors(*classes)
    finally:
        core.read_tensors(Tensor, nn.Parameter)


@needs_table
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_plain_tensors_are_accepted_at_one_look(dtype: torch.dtype) -> None:
    x, params = X.to(dtype), P.to(dtype)
    assert check(x, params) == "cpu"
    assert check(x, nn.Parameter(params)) == "cpu"
    assert check(x.flip(2).transpose(2, 3).contiguous().transpose(2, 3), params) == "cpu"
    assert check(x, params, B=3, H=4) == "cpu"
    assert check(x.requires_grad_() * 1, params) == "cpu"


@needs_table
def test_no_operator_looks_at_plain_tensors_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(*_: Any) -> None:
        raise AssertionError("looked at one by one")

    monkeypatch.setattr(Shapes, "check", one_by_one)
    h, gates = torch.rand(3, 5), torch.rand(20, 5)
    bias = torch.rand(20)
    x, eps, *tensors = scan_inputs(SMALL)
    weights = weights_of(SMALL, tuple(tensors))
    with record_backends() as ran, use_backend("native"):
        F.attention_read(X, P, 2)
        F.attention_read((X, X), P, 2)
        F.attention_read(X, P, 2, canvas=X)
        F.attention_write(torch.rand(3, 1, 2, 2), P, (4, 6))
        F.attention_write(torch.rand(3, 1, 2, 2), P, (4, 6), canvas=X)
        F.lstm_cell(h, (h, h), gates, gates)
        F.lstm_cell(h, (h, h), gates, gates, bias, bias)
        F.draw_scan(x, eps, weights, SMALL)
        F.draw_scan(x, eps, weights, SMALL, prior_eps=eps)
        F.draw_generate(eps, weights, SMALL)
    assert sum(ran.values()) == 10
    with pytest.raises(AssertionError, match="one by one"):
        F.attention_read(X, P[:2], 2)


def exotic() -> dict[str, Callable[[], Tensor]]:
    return {
        "subclass": lambda: TwoTensor(X, X),
        "fake": lambda: FakeTensorMode().from_tensor(X),
        "empty": lambda: X[:, :0],
        "sparse": lambda: X.to_sparse(),
        "other dtype": lambda: X.double(),
    }


@pytest.mark.parametrize("kind", exotic())
def test_exotic_tensors_are_left_to_python(kind: str) -> None:
    assert check(exotic()[kind](), P) is None


def test_tensors_inside_a_transform_are_left_to_python() -> None:
    def inside(x: Tensor) -> Tensor:
        assert check(x, P) is None
        return x

    torch.func.vmap(inside)(torch.stack([X, X]))


@pytest.mark.parametrize(
    ("images", "params", "canvas", "error", "message"),
    [
        (X, P[:2], None, ValueError, r"params must have shape \[B, 5\] with B = 3, got \[2, 5\]"),
        (X[..., :5], P, None, ValueError, r"images must have shape \[B, C, H, 6\].*got"),
        (X[0], P, None, ValueError, "images must have shape"),
        (X, P.int(), None, TypeError, "params must have a floating-point dtype"),
        (X, [1.0], None, TypeError, "params must be a torch.Tensor, got list"),
        (X, P.to("meta"), None, ValueError, "params must be on the device of images"),
    ],
)
def test_wrong_tensors_are_named(
    images: Any, params: Any, canvas: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check(images, params, canvas)


sizes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
names = st.lists(st.one_of(st.sampled_from("ABC"), st.integers(0, 3)), max_size=3).map(tuple)


@given(st.lists(st.tuples(sizes, names), min_size=1, max_size=4), st.booleans())
def test_one_look_accepts_nothing_that_python_refuses(
    arguments: list[tuple[tuple[int, ...], tuple[str | int, ...]]], fit: bool
) -> None:
    if fit:  # shapes that are meant to fit are rare among random ones
        size = {"A": 2, "B": 1, "C": 3}
        arguments = [
            (tuple(size[n] if isinstance(n, str) else n for n in shape), shape)
            for _, shape in arguments
        ]
    tensors = tuple(torch.zeros(size) for size, _ in arguments)
    signature = Signature({str(i): shape for i, (_, shape) in enumerate(arguments)})
    slow = Shapes()
    try:
        for i, (tensor, (_, shape)) in enumerate(zip(tensors, arguments)):
            slow.check(str(i), tensor, shape)
    except ValueError:
        with pytest.raises(ValueError, match="must have shape"):
            signature.check(tensors)
        return
    if hasattr(Tensor, "__dlpack_c_exchange_api__"):
        assert signature.check(tensors) == ("cpu" if all(t.numel() for t in tensors) else None)


@needs_table
def test_addresses_are_those_of_dense_tensors(core: ModuleType) -> None:
    one_wide = torch.rand(3, 1, 7)[:, :, :1]  # strides of single elements do not matter
    tensors = (X, None, P.double(), X[1:], torch.arange(3), one_wide[:1], torch.empty(0, 3))
    wanted = [0 if t is None else t.data_ptr() for t in tensors]
    assert core.addresses(tensors) == wanted
    for tensor in (X[:, :, ::2], X.transpose(0, 2), torch._neg_view(X), TwoTensor(X, X)):
        assert core.addresses((P, tensor)) is None
    assert core.addresses((X.to("meta"),)) is None


@needs_table
def test_reading_keeps_no_reference(core: ModuleType) -> None:
    signature, tensors = Signature(SHAPES), (X, P, None)
    wrong = (X, P[:2], None)
    before = [sys.getrefcount(o) for o in (X, P, None, False, True)]
    for _ in range(1000):
        assert signature.check(tensors) == "cpu"
        assert core.addresses(tensors) is not None
        assert signature._device is not None
        assert signature._device(wrong) == 0
    after = [sys.getrefcount(o) for o in (X, P, None, False, True)]
    assert all(b - a < 100 for a, b in zip(before, after))


def test_a_torch_without_the_table_works_the_long_way(core: ModuleType) -> None:
    wanted = F.attention_read(X, P, 2)
    _, eps, *tensors = scan_inputs(SMALL)
    weights = weights_of(SMALL, tuple(tensors))
    sample = F.draw_generate(eps, weights, SMALL).canvas
    with reading(core, int, float) as able, record_backends() as ran, use_backend("native"):
        assert not able
        assert check(X, P) is None
        assert core.addresses((X,)) is None
        assert torch.equal(F.attention_read(X, P, 2), wanted)
        assert torch.equal(F.draw_generate(eps, weights, SMALL).canvas, sample)
        with pytest.raises(ValueError, match="params must have shape"):
            F.attention_read(X, P[:2], 2)
    assert set(ran) == {("attention_read", "native"), ("draw_generate", "native")}


def test_too_many_free_dimensions_are_refused(core: ModuleType) -> None:
    with pytest.raises(ValueError, match="at most 8 free dimensions"):
        core.Signature([[-9]])
