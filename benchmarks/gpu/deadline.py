"""The time that is left."""

from __future__ import annotations

import time


class Deadline:
    """A moment so many seconds from now.

    >>> Deadline(0.0).passed()
    True
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether it is over."""
        return self.left() == 0.0
