"""Without a GPU: the backend's tests and tests/device on the emulated core, in own processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drawgan_fast._native import CUDA_EMULATION_VARIABLE
from tests.cuda.conftest import IN_PROCESS, SCHEDULES
from tests.device.conftest import SCHEDULE_VARIABLE
from tests.support.cuda_emulation import module_path

TESTS = ("tests/device", "tests/cuda/test_layouts.py", "tests/cuda/test_refusals.py")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(IN_PROCESS, reason="the tests run in this process")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_backend_on_the_emulated_core(schedule: str) -> None:
    """With the threads of a block, and the blocks of a team, run in different orders."""
    variables = {
        CUDA_EMULATION_VARIABLE: str(module_path()),
        SCHEDULE_VARIABLE: schedule,
        "CUDA_VISIBLE_DEVICES": "",
        "TRITON_INTERPRET": "0",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None, ran.stdout[-2000:]
    assert int(passed.group(1)) > 140  # and not skipped for a reason nobody reads
