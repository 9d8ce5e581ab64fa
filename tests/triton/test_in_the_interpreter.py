"""Without a GPU: this folder's tests and tests/device in Triton's interpreter, in a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.triton.conftest import IN_PROCESS


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(IN_PROCESS, reason="the tests run in this process")
def test_kernels_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "tests/triton",
            "tests/device",
        ],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None, ran.stdout[-2000:]
    assert int(passed.group(1)) > 100  # and not skipped for a reason nobody reads
    assert not torch.cuda.is_available()
