"""The core, for the tests that need it."""

from __future__ import annotations

from types import ModuleType

import pytest

from drawgan_fast._native import NativeUnavailable, load_cpu


@pytest.fixture
def core() -> ModuleType:
    """The core; its absence fails the test, unless the install left it out on purpose."""
    try:
        return load_cpu()
    except NativeUnavailable as error:
        if "DRAWGAN_NATIVE=0" in str(error):
            pytest.skip(str(error))
        raise
