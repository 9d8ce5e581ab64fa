"""The emulated CUDA core in three orders of its threads; and the backend, on a GPU or emulated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.device.conftest import forced, in_process
from tests.support.cuda_emulation import SANITIZE_VARIABLE, emulated

SCHEDULES = {"forward": ("forward", 1), "reverse": ("reverse", 1), "random": ("random", 7)}
SANITIZED = os.environ.get(SANITIZE_VARIABLE)
if SANITIZED:  # what it looks for hardly depends on the order, and it takes its time
    SCHEDULES = {"random": ("random", 7)}
IN_PROCESS = in_process("cuda")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under a sanitizer only the tests that run kernels in this process."""
    if not SANITIZED:
        return
    here, kernels = Path(__file__).parent, {"emulation", *(["device"] if IN_PROCESS else [])}
    others = [i for i in items if here in i.path.parents and not kernels & {*i.fixturenames}]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


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
