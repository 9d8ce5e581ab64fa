"""Triton's kernels, on a GPU where there is one, else in Triton's interpreter; see tests/device."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.device.conftest import forced, in_process

IN_PROCESS = in_process("triton")


@pytest.fixture
def device() -> Iterator[str]:
    """Where the kernels run; the backend is forced."""
    for _ in forced("triton"):
        yield "cuda" if torch.cuda.is_available() else "cpu"
