"""What the cuda backend leaves to the next one, and the reasons that it gives."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from drawgan_fast import BackendError, DrawConfig, backends, record_backends, use_backend
from drawgan_fast import functional as F
from drawgan_fast.backends.compiled import limits
from drawgan_fast.backends.cuda import backend as cuda_backend
from drawgan_fast.backends.cuda import draw_plan
from drawgan_fast.backends.cuda.backend import CudaBackend, attention_shared_bytes
from tests.cuda.conftest import IN_PROCESS
from tests.support.scans import SMALL, scan_inputs, scan_of, weights_of

LARGE = DrawConfig((9, 6), hidden_size=4096, latent_size=5, read_size=2, write_size=3)


@pytest.mark.parametrize(
    ("cfg", "reason"),
    [
        (replace(SMALL, attention=False), "no attention windows: .* the triton backend"),
        (LARGE, "bytes of shared memory .* the limit is .*triton"),
    ],
    ids=["blind", "too large"],
)
def test_a_network_that_does_not_fit_goes_to_the_next_backend(
    device: str, cfg: DrawConfig, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = [t.to(device) for t in scan_inputs(cfg, T=1, B=1)]
    with pytest.raises(BackendError, match=f"forced backend 'cuda': .*{reason}"):
        scan_of(cfg)(*inputs)
    with pytest.raises(BackendError, match=reason):
        F.draw_generate(inputs[1], weights_of(cfg, tuple(inputs[2:])), cfg)
    caplog.set_level(logging.INFO, "drawgan_fast.backends")
    with use_backend("auto"), record_backends() as ran:
        canvas = scan_of(cfg)(*inputs)[0]
        F.attention_read(inputs[0], torch.zeros(1, 5, device=device), 2)
    assert canvas is not None
    assert ("draw_scan", "cuda") not in ran
    assert ran["attention_read", "cuda"] == 1  # what does fit still runs here
    if caplog.records:  # a reason is logged once a process
        assert "draw_scan: backend cuda declined" in caplog.text


def test_a_window_too_large_goes_to_the_next_backend(device: str) -> None:
    x, params = torch.rand(1, 1, 99, 99, device=device), torch.zeros(1, 5, device=device)
    with pytest.raises(BackendError, match=r"N is 99 and the image 99 by 99: .* a block has"):
        F.attention_read(x, params, 99)
    with pytest.raises(BackendError, match="N is 99 and the image 9 by 999"):
        F.attention_write(torch.zeros(1, 1, 99, 99, device=device), params, (9, 999))
    with use_backend("auto"), record_backends() as ran:
        F.attention_read(x, params, 99)
    assert ("attention_read", "cuda") not in ran


@pytest.mark.parametrize(("H", "W", "N"), [(1, 1, 1), (28, 28, 5), (13, 99, 40), (64, 64, 64)])
def test_shared_memory_is_reckoned_as_the_core_does(device: str, H: int, W: int, N: int) -> None:
    needed = attention_shared_bytes(H, W, N)
    assert needed == cuda_backend.core().attention_shared_bytes(H, W, N)


def test_a_compiled_graph_makes_the_same_choice(device: str) -> None:
    """Sizes may be symbolic, and the batch is never what decides."""
    compiled = torch.compile(F.attention_read, fullgraph=True, backend="aot_eager", dynamic=True)
    for B in (2, 5, 7):
        x, params = torch.rand(B, 1, 9, 13, device=device), torch.randn(B, 5, device=device)
        assert torch.equal(compiled(x, params, 3), F.attention_read(x, params, 3))
    torch._dynamo.reset()


def test_a_device_without_clusters_gets_teams_of_the_grid(device: str) -> None:
    if device != "cpu":
        pytest.skip("needs a device that can be pretended")
    core, inputs = cuda_backend.core(), scan_inputs(SMALL, T=2, B=2)
    expected = scan_of(SMALL)(*inputs)
    core.emulate_device(capability=80, shared_bytes=166912)
    draw_plan.forget()
    try:
        plan = draw_plan.draw_plan(SMALL, False, 2, 0, torch.device(device))
        assert plan.kind == "grid"
        for one, other in zip(scan_of(SMALL)(*inputs), expected):
            if one is not None:
                torch.testing.assert_close(one, other)
    finally:
        core.emulate_device()
        draw_plan.forget()


def test_tensors_of_the_cpu_and_old_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if IN_PROCESS and not torch.cuda.is_available():
        pytest.skip("needs a process that does not emulate")
    args = {"images": (torch.zeros(1, 1, 4, 4),), "params": torch.zeros(1, 5), "N": 2}
    says = CudaBackend().can_run("attention_read", args)
    assert says == "images is on cpu, and it runs on a GPU"

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old GPU")
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip=None))
    limits._against_capability.cache_clear()
    reason = limits.against_capability(torch.device("cuda:0"), cuda_backend.MIN_CAPABILITY)
    limits._against_capability.cache_clear()
    assert reason == "an old GPU has compute capability 7.5, and its kernels need 8.0"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it can run")
def test_without_a_gpu_it_says_so() -> None:
    if IN_PROCESS:
        pytest.skip("the emulation needs no GPU")
    assert backends()["cuda"] == "torch sees no GPU"
    with pytest.raises(BackendError, match="'cuda', which cannot run here: torch sees no GPU"):
        use_backend("cuda")


@pytest.mark.parametrize(
    ("gpu", "hip", "loads", "limits_of", "says"),
    [
        (True, None, "the compiled CUDA core is not there: no nvcc", None, "no nvcc"),
        (True, None, None, "cudaGetDevice: the driver is older", "the driver is older"),
        (True, "6.2", None, None, "this torch is built for AMD GPUs"),
        (False, None, "the compiled CUDA core is not there", None, "torch sees no GPU"),
        (True, None, None, None, None),
    ],
)
def test_every_reason_that_it_cannot_run(
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    hip: str | None,
    loads: str | None,
    limits_of: str | None,
    says: str | None,
) -> None:
    def device_limits() -> None:
        if limits_of is not None:
            raise RuntimeError(limits_of)

    monkeypatch.setattr(cuda_backend, "EMULATED", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip=hip))
    monkeypatch.setattr(cuda_backend, "not_loaded", lambda: loads)
    core = SimpleNamespace(device_limits=device_limits)
    monkeypatch.setattr(cuda_backend, "core", lambda: core)
    cuda_backend._why.cache_clear()
    try:
        reason = CudaBackend().unavailable()
    finally:
        cuda_backend._why.cache_clear()
    assert (reason is None) == (says is None)
    assert says is None or (reason is not None and says in reason)
