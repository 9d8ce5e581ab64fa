"""Triton's operators as compilers and tracers see them, and what they refuse."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, library
from torch._subclasses import FakeTensorMode

from drawgan_fast import BackendError, backends, record_backends, use_backend
from drawgan_fast import functional as F
from drawgan_fast.backends.compiled import limits
from drawgan_fast.backends.compiled.texts import config_text, spec_text
from drawgan_fast.backends.triton import backend as triton_backend
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs, scan_of
from tests.triton.conftest import IN_PROCESS

OPS = torch.ops.drawgan_fast


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [t.detach().clone().requires_grad_() for t in tensors]


def attend(x: Tensor, canvas: Tensor, params: Tensor, patch: Tensor) -> tuple[Tensor, ...]:
    glimpses = F.attention_read(x, params, 3, canvas=canvas)
    return (*glimpses, F.attention_write(patch, params, (8, 9), canvas=canvas))


def attention_inputs(device: str) -> list[Tensor]:
    tensors = torch.rand(2, 1, 8, 9), torch.randn(2, 1, 8, 9), windows(2, torch.float32)
    return leaves(*(t.to(device) for t in (*tensors, torch.randn(2, 1, 3, 3))))


def test_opcheck_of_attention(device: str) -> None:
    x, canvas, params, patch = attention_inputs(device)
    library.opcheck(OPS.attention_read, ([x], params, canvas, 3, '"paper"', "triton"))
    library.opcheck(OPS.attention_write, (patch, params, canvas, 8, 9, '"natsu"', "triton"))


def test_opcheck_of_lstm_cell(device: str) -> None:
    shapes = [(2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,)]
    tensors = leaves(*(torch.randn(s, device=device) for s in shapes))
    library.opcheck(OPS.lstm_cell, (*tensors, False, True, "triton"))


@pytest.mark.parametrize("recompute", [False, True])
def test_opcheck_of_draw_scan(device: str, recompute: bool) -> None:
    inputs = [t.to(device) for t in scan_inputs(SMALL, T=2, B=1, prior=1)]
    x, eps, prior_eps, *weights = leaves(*inputs)
    options = (config_text(SMALL), True, recompute, False, False, "triton")
    library.opcheck(
        OPS.draw_scan,
        (x, eps, prior_eps, weights, *options),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("what", ["attention", "scan"])
def test_compiled_as_one_graph(device: str, what: str) -> None:
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


def test_shapes_of_tensors_on_a_gpu_that_is_not_there() -> None:
    """A compiler and an exporter ask for shapes alone."""
    if not triton_backend.TritonBackend().has_kernels() or IN_PROCESS:
        pytest.skip("needs Triton, and a process that does not interpret it")
    with FakeTensorMode():
        x, eps, prior_eps, *weights = (
            torch.empty(t.shape, device="cuda") for t in scan_inputs(SMALL, T=3, B=2, prior=4)
        )
        out = OPS.draw_scan(
            x, eps, prior_eps, weights, config_text(SMALL), True, False, False, False, "triton"
        )
        assert [t.shape for t in out[:5]] == [
            (2, 1, 9, 6), (3, 2, 5), (3, 2, 5), (2,), (4, 1, 9, 6),
        ]  # fmt: skip
        assert out[5].numel() > 4 * x.numel()
        assert {t.device.type for t in out} == {"cuda"}
        params = torch.empty(2, 5, device="cuda")
        glimpses = OPS.attention_read([x], params, x, 3, spec_text(SMALL.spec), "triton")
        assert [g.shape for g in glimpses] == [(2, 1, 3, 3)] * 2


def test_a_window_too_large_goes_to_the_next_backend(
    device: str, caplog: pytest.LogCaptureFixture
) -> None:
    x, params = torch.rand(1, 1, 8, 8, device=device), torch.zeros(1, 5, device=device)
    with pytest.raises(BackendError, match="'triton': N is 65, and its windows have at most 64"):
        F.attention_read(x, params, 65)
    with pytest.raises(BackendError, match="N is 65"):
        F.attention_write(torch.zeros(1, 1, 65, 65, device=device), params, (8, 8))
    caplog.set_level(logging.INFO, "drawgan_fast.backends")
    with use_backend("auto"), record_backends() as ran:
        for _ in range(2):
            F.attention_read(x, params, 66)
    assert ("attention_read", "triton") not in ran
    assert len([r for r in caplog.records if "N is 66" in r.getMessage()]) == 1


def test_float64_is_refused(device: str) -> None:
    x, params = torch.rand(1, 1, 8, 8, device=device), torch.zeros(1, 5, device=device)
    with pytest.raises(BackendError, match=r"float64, and it computes in float32"):
        F.attention_read(x.double(), params.double(), 3)


def test_second_derivatives_are_refused(device: str) -> None:
    x, canvas, params, patch = attention_inputs(device)
    (gradient,) = torch.autograd.grad(
        attend(x, canvas, params, patch)[1].sum(), params, create_graph=True
    )
    with pytest.raises(BackendError, match="once"):
        gradient.sum().backward()


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it can run")
def test_without_a_gpu_it_says_so() -> None:
    if IN_PROCESS:
        pytest.skip("the interpreter needs no GPU")
    reason = backends()["triton"]
    assert reason in ("torch sees no GPU", triton_backend._unavailable())
    with pytest.raises(BackendError, match="'triton', which cannot run here: t"):
        use_backend("triton")


def test_tensors_of_the_cpu_and_old_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = triton_backend.TritonBackend()
    if not backend.has_kernels() or IN_PROCESS:
        pytest.skip("needs Triton, and a process that does not interpret it")
    args = {"images": (torch.zeros(1, 1, 4, 4),), "params": torch.zeros(1, 5), "N": 2}
    assert backend.can_run("attention_read", args) == "images is on cpu, and it runs on a GPU"

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old GPU")
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip=None))
    limits._against_capability.cache_clear()
    reason = limits.against_capability(torch.device("cuda:0"), triton_backend.MIN_CAPABILITY)
    limits._against_capability.cache_clear()
    assert reason == "an old GPU has compute capability 7.5, and its kernels need 8.0"
