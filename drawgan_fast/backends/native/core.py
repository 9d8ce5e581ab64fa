"""The compiled core: loaded at first use, with the reason kept where it cannot be."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from drawgan_fast._native import load_cpu
from drawgan_fast.backends.tracing import constant_when_traced


@lru_cache(maxsize=1)
def _outcome() -> tuple[Any, str | None]:
    try:
        return load_cpu(), None
    except Exception as error:
        # Whatever a broken build raises, the package must still run on the reference.
        return None, str(error) or type(error).__name__


# A compiler that traces a call takes the answer as it is, instead of tracing the loading.
@constant_when_traced
def unavailable() -> str | None:
    """Why there is no core, or None if there is one; the question is asked once per process."""
    return _outcome()[1]


def core() -> Any:
    """The extension module.

    Raises:
        RuntimeError: it is not built or cannot be loaded.
    """
    module, reason = _outcome()
    if module is None:
        raise RuntimeError(f"the native backend cannot run here: {reason}")
    return module
