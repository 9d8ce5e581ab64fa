"""What the triton backend refuses, and that it says so."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from drawgan_fast import BackendError, backends, record_backends, use_backend
from drawgan_fast import functional as F
from drawgan_fast.backends.compiled import limits
from drawgan_fast.backends.triton import backend as triton_backend
from tests.triton.conftest import IN_PROCESS


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
