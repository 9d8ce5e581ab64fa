"""The tiers for GPUs: on a GPU where there is one, else on the CPU as far as this process can.

Triton's interpreter and the CUDA core's emulation have to be chosen before either is imported, so
without a GPU the tests here run in processes of their own, started by
tests/triton/test_in_the_interpreter.py and tests/cuda/test_in_emulation.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from drawgan_fast import backends, use_backend
from drawgan_fast._native import CUDA_EMULATION_VARIABLE

SCHEDULE_VARIABLE = "DRAWGAN_CUDA_SCHEDULE"  # in which order the emulation runs threads
ON_THE_CPU = {
    "cuda": bool(os.environ.get(CUDA_EMULATION_VARIABLE)),
    "triton": os.environ.get("TRITON_INTERPRET") == "1",
}
if not torch.cuda.is_available():
    if ON_THE_CPU["triton"] and backends()["triton"] is None:
        from tests.support import triton_interpreter

        triton_interpreter.correct_bfloat16()
    if ON_THE_CPU["cuda"] and SCHEDULE_VARIABLE in os.environ:
        from drawgan_fast.backends.cuda.core import core

        core().emulate_schedule(os.environ[SCHEDULE_VARIABLE], 7)


def in_process(tier: str) -> bool:
    """Whether this process can run a tier's kernels."""
    return torch.cuda.is_available() or ON_THE_CPU[tier]


@pytest.fixture(params=["cuda", "triton"])
def tier(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend for GPUs, forced."""
    yield from forced(request.param)


def forced(name: str) -> Iterator[str]:
    """A tier while a test runs; without it the test is skipped, with the reason."""
    if not in_process(name):
        pytest.skip(f"{name}: runs in a process of its own")
    reason = backends()[name]
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    with use_backend(name):
        yield name


@pytest.fixture
def device() -> str:
    """Where the kernels run."""
    return "cuda" if torch.cuda.is_available() else "cpu"
