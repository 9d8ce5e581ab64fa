"""Signals: the first asks the loop to stop after its step, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

#: Ctrl-C, a scheduler's request, a terminal that has gone (Windows has no SIGHUP).
SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


class InterruptGuard:
    """Within the block a first SIGINT, SIGTERM or SIGHUP is only noted; a second exits immediately.

    A signal that is ignored stays so: ``nohup drawgan train`` outlives its terminal.

    The immediate exit leaves nothing corrupt: checkpoints are renamed into place whole, and a torn
    last line of the metrics is dropped on resuming.

    Example:
        >>> import signal
        >>> with InterruptGuard() as guard:
        ...     signal.raise_signal(signal.SIGINT)
        ...     guard.received.name, guard.exit_code
        ('SIGINT', 130)
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + signal number as shells count (129, 130, 143); 0 without a signal."""
        return 128 + self.received if self.received else 0

    def __enter__(self) -> InterruptGuard:
        # Python delivers signals to the main thread and lets no other install handlers.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
            return
        if sys.stderr is not None and sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # the progress bar hid the cursor
        os._exit(128 + number)
