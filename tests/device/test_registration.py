"""Operators of every tier as compilers and tracers see them, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, library
from torch._subclasses import FakeTensorMode

from drawgan_fast import BackendError
from drawgan_fast import functional as F
from drawgan_fast.backends import registry
from drawgan_fast.backends.compiled.texts import config_text, spec_text
from tests.device.conftest import ON_THE_CPU
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs, scan_of

OPS = torch.ops.drawgan_fast


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [t.detach().clone().requires_grad_() for t in tensors]


def attend(x: Tensor, canvas: Tensor, params: Tensor, patch: Tensor) -> tuple[Tensor, ...]:
    glimpses = F.attention_read(x, params, 3, canvas=canvas)
    return (*glimpses, F.attention_write(patch, params, (8, 9), canvas=canvas))


def attention_inputs(device: str) -> list[Tensor]:
    tensors = torch.rand(2, 1, 8, 9), torch.randn(2, 1, 8, 9), windows(2, torch.float32)
    return leaves(*(t.to(device) for t in (*tensors, torch.randn(2, 1, 3, 3))))


def test_opcheck_of_attention(tier: str, device: str) -> None:
    x, canvas, params, patch = attention_inputs(device)
    library.opcheck(OPS.attention_read, ([x], params, canvas, 3, '"paper"', tier))
    library.opcheck(OPS.attention_write, (patch, params, canvas, 8, 9, '"natsu"', tier))


def test_opcheck_of_lstm_cell(tier: str, device: str) -> None:
    shapes = [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]
    tensors = leaves(*(torch.randn(s, device=device) for s in shapes))
    library.opcheck(OPS.lstm_cell, (*tensors, False, True, tier))


@pytest.mark.parametrize("recompute", [False, True])
def test_opcheck_of_draw_scan(tier: str, device: str, recompute: bool) -> None:
    inputs = [t.to(device) for t in scan_inputs(SMALL, T=2, B=1, prior=1)]
    x, eps, prior_eps, *weights = leaves(*inputs)
    options = (config_text(SMALL), True, recompute, False, False, tier)
    library.opcheck(
        OPS.draw_scan,
        (x, eps, prior_eps, weights, *options),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("what", ["attention", "scan"])
def test_compiled_as_one_graph(tier: str, device: str, what: str) -> None:
    function, inputs = attend, attention_inputs(device)
    if what == "scan":
        function = scan_of(SMALL, prior=True)
        inputs = leaves(*(t.to(device) for t in scan_inputs(SMALL, T=2, B=2, prior=1)))
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    results = []
    for run in (function, compiled):
        outputs = run(*inputs)
        results.append([*outputs, *torch.autograd.grad(sum(o.sum() for o in outputs), inputs)])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("tier", ["cuda", "triton"])
def test_shapes_of_tensors_on_a_gpu_that_is_not_there(tier: str) -> None:
    """A compiler and an exporter ask for shapes alone; nothing needs to run, or to be built."""
    if not registry._backends[tier].has_kernels() or ON_THE_CPU[tier]:
        pytest.skip("needs the tier, and a process that does not run it on the CPU")
    with FakeTensorMode():
        x, eps, prior_eps, *weights = (
            torch.empty(t.shape, device="cuda") for t in scan_inputs(SMALL, T=3, B=2, prior=4)
        )
        out = OPS.draw_scan(
            x, eps, prior_eps, weights, config_text(SMALL), True, False, False, False, tier
        )
        assert [t.shape for t in out[:5]] == [
            (2, 1, 9, 6), (3, 2, 5), (3, 2, 5), (2,), (4, 1, 9, 6),
        ]  # fmt: skip
        assert out[5].numel() > 4 * x.numel()
        assert {t.device.type for t in out} == {"cuda"}
        params = torch.empty(2, 5, device="cuda")
        glimpses = OPS.attention_read([x], params, x, 3, spec_text(SMALL.spec), tier)
        assert [g.shape for g in glimpses] == [(2, 1, 3, 3)] * 2


def test_float64_is_refused(tier: str, device: str) -> None:
    x, params = torch.rand(1, 1, 8, 8, device=device), torch.zeros(1, 5, device=device)
    with pytest.raises(BackendError, match=r"float64, and it computes in float32"):
        F.attention_read(x.double(), params.double(), 3)


def test_second_derivatives_are_refused(tier: str, device: str) -> None:
    x, canvas, params, patch = attention_inputs(device)
    (gradient,) = torch.autograd.grad(
        attend(x, canvas, params, patch)[1].sum(), params, create_graph=True
    )
    with pytest.raises(BackendError, match="once"):
        gradient.sum().backward()
