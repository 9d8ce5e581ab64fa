"""The compiled CPU core."""

from __future__ import annotations

from drawgan_fast._native import load_cpu
from drawgan_fast.backends.compiled.core import Core
from drawgan_fast.backends.tracing import constant_when_traced

core = Core("native", load_cpu)


# A compiler that traces a call takes the answer as it is, instead of tracing the loading.
@constant_when_traced
def unavailable() -> str | None:
    """Why there is no core, or None if there is one."""
    return core.unavailable()
