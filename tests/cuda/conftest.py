"""The emulated CUDA core, in three orders of its threads."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.support.cuda_emulation import emulated

SCHEDULES = {"forward": ("forward", 1), "reverse": ("reverse", 1), "random": ("random", 7)}


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
