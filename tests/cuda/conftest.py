"""The emulated CUDA core in three orders of its threads; and the backend, on a GPU or emulated."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from tests.device.conftest import forced, in_process
from tests.support.cuda_emulation import emulated

SCHEDULES = {"forward": ("forward", 1), "reverse": ("reverse", 1), "random": ("random", 7)}
IN_PROCESS = in_process("cuda")


@pytest.fixture
def device() -> Iterator[str]:
    """Where the backend's kernels run in this process; the backend is forced."""
    for _ in forced("cuda"):
        yield "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def emulation() -> Iterator[ModuleType]:
    """The emulation as it is when nothing was asked of it, before and after."""
    core = emulated()
    core.emulate_device()
    core.emulate_schedule("forward")
    yield core
    core.emulate_device()
    core.emulate_schedule("forward")


@pytest.fixture(params=SCHEDULES)
def scheduled(request: pytest.FixtureRequest, emulation: ModuleType) -> ModuleType:
    """The emulation in each schedule."""
    emulation.emulate_schedule(*SCHEDULES[request.param])
    return emulation
