"""Settings that every test runs under."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

# The tensors here are tiny: a second thread costs more than it brings.
torch.set_num_threads(1)

hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a GPU, and this machine has none")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _poisoned_memory() -> Iterator[None]:
    """Fill ``torch.empty`` with NaN, so that memory read before it is written shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the official MNIST files; tests that need the full set skip without it."""
    folder = os.environ.get("DRAWGAN_DATA")
    if not folder:
        pytest.skip("needs the official MNIST files: set DRAWGAN_DATA to their folder")
    return Path(folder)
