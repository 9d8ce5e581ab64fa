"""Peak resident memory of a stretch of code."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """What the block adds to the process's resident memory at its peak, in bytes.

    Linux counts the peak for each program from its start; ``getrusage`` would give a child its
    parent's. Elsewhere there is no such count, and ``added`` is 0.

    >>> with PeakMemory() as memory:
    ...     block = bytearray(b"x") * 40_000_000
    >>> memory.added == 0 or memory.added > 30_000_000
    True
    """

    added = 0

    def __enter__(self) -> PeakMemory:
        # Starts the peak anew where the kernel allows it, so that imports do not hide the block.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before = _kilobytes("VmRSS")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.added = 1024 * (_kilobytes("VmHWM") - self._before)


def _kilobytes(field: str) -> int:
    """A field of the kernel's account of this process; 0 where there is none."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
