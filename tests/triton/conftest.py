"""Triton's kernels, on a GPU where there is one, else in Triton's interpreter.

The interpreter has to be chosen before Triton is imported, so without a GPU the tests here run in
a process of their own, started by test_in_the_interpreter.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from drawgan_fast import backends, use_backend

IN_PROCESS = torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1"
if IN_PROCESS and backends()["triton"] is None and not torch.cuda.is_available():
    from tests.support import triton_interpreter

    triton_interpreter.correct_bfloat16()


@pytest.fixture
def device() -> Iterator[str]:
    """Where the kernels run; the backend is forced."""
    if not IN_PROCESS:
        pytest.skip("runs in a process of its own: see test_in_the_interpreter.py")
    reason = backends()["triton"]
    if reason is not None:
        pytest.skip(reason)
    with use_backend("triton"):
        yield "cuda" if torch.cuda.is_available() else "cpu"
