"""Which calls the native backend takes, and how it says no to the others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint

from drawgan_fast import BackendError, record_backends, use_backend
from drawgan_fast import functional as F
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs, scan_of

pytestmark = pytest.mark.usefixtures("core")

X, P = torch.rand(3, 1, 6, 6), windows(3)


def read(x: Tensor, params: Tensor) -> Tensor:
    return F.attention_read(x, params, 3)


def backend_of(call) -> str:
    with record_backends() as ran:
        call()
    ((_, name),) = ran
    return name


def test_it_is_the_first_choice_on_the_cpu() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        assert backend_of(lambda d=dtype: read(X.to(d), P.to(d))) == "native"
    assert backend_of(lambda: scan_of(SMALL)(*scan_inputs(SMALL))) == "native"
    with torch.inference_mode():
        assert backend_of(lambda: read(X, P)) == "native"


def test_other_devices_and_layouts_go_on_to_the_next() -> None:
    assert backend_of(lambda: read(X.to("meta"), P.to("meta"))) == "reference"
    with use_backend("native"):
        with pytest.raises(BackendError, match="images is on meta, and it runs on the CPU"):
            read(X.to("meta"), P.to("meta"))
        with pytest.raises(BackendError, match=r"params has layout torch\.sparse_coo"):
            read(X, P.to_sparse())


def test_a_tensor_that_dispatches_itself_is_left_alone() -> None:
    both = TwoTensor(X, X), TwoTensor(P, P)
    with record_backends() as ran:
        out = read(*both)
    assert ran == {("attention_read", "reference"): 1}
    torch.testing.assert_close(out.a, read(X, P))
    with use_backend("native"), pytest.raises(BackendError, match="images is a TwoTensor"):
        read(*both)


def test_a_plain_subclass_runs() -> None:
    class Named(Tensor):
        pass

    with use_backend("native"):
        out = read(X.as_subclass(Named), P)
        assert torch.equal(out.as_subclass(Tensor), read(X, P))


def test_transforms_run_on_the_reference() -> None:
    """vmap, torch.func.grad and forward mode: by themselves, and refused where native is forced."""
    expected = torch.stack([read(X, p.expand(3, 5)) for p in P])
    torch.testing.assert_close(torch.vmap(lambda p: read(X, p.expand(3, 5)))(P), expected)
    inputs = P.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(read(X, inputs).sum(), inputs)
    by_transform = torch.func.grad(lambda p: read(X, p).sum())(P)
    torch.testing.assert_close(by_transform, gradient, rtol=1e-4, atol=1e-5)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(P, torch.ones_like(P))
        tangent = forward_ad.unpack_dual(read(X, dual)).tangent
        assert tangent is not None
        with use_backend("native"), pytest.raises(BackendError, match="forward-mode"):
            read(X, dual)
    with use_backend("native"):
        with pytest.raises(BackendError, match=r"torch\.func transforms are not supported"):
            torch.vmap(lambda p: read(X, p.expand(3, 5)))(P)
        with pytest.raises(BackendError, match=r"torch\.func transforms are not supported"):
            torch.func.grad(lambda p: read(X, p).sum())(P)


def test_a_registered_operator_has_no_batching_rule() -> None:
    def call(p: Tensor) -> Tensor:
        return torch.ops.drawgan_fast.attention_read([X], p, None, 3, '"paper"', "native")[0]

    with pytest.raises(BackendError, match=r'attention_read.*torch.vmap.*use_backend\("reference"'):
        torch.vmap(call)(P[None].expand(2, 3, 5))


def test_batched_backward_is_refused_with_the_way_out() -> None:
    params = P.clone().requires_grad_()
    with use_backend("native"):
        out = read(X, params)
        with pytest.raises(BackendError, match=r"torch.vmap.*use_backend\(\"reference\"\)"):
            torch.autograd.grad(out, params, torch.ones(2, *out.shape), is_grads_batched=True)


def scan_loss(*inputs: Tensor) -> Tensor:
    return sum(out.square().sum() for out in scan_of(SMALL)(*inputs) if out is not None)


CALLS = {
    "attention_read": (lambda x, p: read(x, p).square().sum(), [X, P]),
    "attention_write": (
        lambda w, p: F.attention_write(w, p, (6, 6)).square().sum(),
        [torch.randn(3, 1, 2, 2), P],
    ),
    "lstm_cell": (
        lambda x, h, c, *w: F.lstm_cell(x, (h, c), *w)[0].square().sum(),
        [torch.randn(s) for s in [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]],
    ),
    "draw_scan": (scan_loss, scan_inputs(SMALL)),
}


@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_are_refused_with_the_way_out(name: str) -> None:
    function, tensors = CALLS[name]
    inputs = [t.clone().requires_grad_() for t in tensors]
    with use_backend("native"):
        plain = torch.autograd.grad(function(*inputs), inputs)
        kept = torch.autograd.grad(function(*inputs), inputs, create_graph=True)
    for one, other in zip(plain, kept):
        assert torch.equal(one, other)
    with pytest.raises(BackendError, match=rf'{name} can be .*once.*use_backend\("reference"\)'):
        torch.autograd.grad(sum(g.square().sum() for g in kept), inputs)
    with use_backend("reference"):
        kept = torch.autograd.grad(function(*inputs), inputs, create_graph=True)
        torch.autograd.grad(sum(g.square().sum() for g in kept), inputs)


@pytest.mark.parametrize("name", CALLS)
def test_saved_tensors_go_where_hooks_send_them(name: str) -> None:
    function, tensors = CALLS[name]
    inputs = [t.clone().requires_grad_() for t in tensors]
    with use_backend("native"):
        expected = torch.autograd.grad(function(*inputs), inputs)
        with torch.autograd.graph.save_on_cpu():
            moved = torch.autograd.grad(function(*inputs), inputs)
        again = torch.autograd.grad(checkpoint(function, *inputs, use_reentrant=False), inputs)
    for one, other, third in zip(expected, moved, again):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.parametrize("name", CALLS)
def test_an_input_that_changed_before_backward_is_noticed(name: str) -> None:
    function, tensors = CALLS[name]
    inputs = [t.clone().requires_grad_() for t in tensors]
    with use_backend("native"):
        loss = function(*inputs)
    with torch.no_grad():
        inputs[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_no_input_is_changed() -> None:
    for function, tensors in CALLS.values():
        inputs = [t.clone().requires_grad_() for t in tensors]
        with use_backend("native"):
            function(*inputs).backward()
        for before, after in zip(tensors, inputs):
            assert torch.equal(before, after)


def test_a_lazy_minus_sign_is_read() -> None:
    with use_backend("native"):
        assert torch.equal(read(torch._neg_view(-X), P), read(X, P))


def test_a_default_device_elsewhere_changes_nothing() -> None:
    with use_backend("native"):
        expected = read(X, P)
        with torch.device("meta"):
            assert torch.equal(read(X, P), expected)
            assert scan_of(SMALL)(*[t.cpu() for t in CALLS["draw_scan"][1]])[0].device.type == "cpu"


def test_gradients_do_not_share_memory() -> None:
    """Scaling one gradient in place, as clipping does, leaves the others alone."""
    function, tensors = CALLS["draw_scan"]
    inputs = [t.clone().requires_grad_() for t in tensors]
    with use_backend("native"):
        gradients = torch.autograd.grad(function(*inputs), inputs)
    assert len({g.data_ptr() for g in gradients}) == len(gradients)
