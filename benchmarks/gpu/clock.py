"""How time is taken: by CUDA events on a GPU, by the host's clock elsewhere.

Three times of a call are told apart:

``call``    from an idle device and a cold cache until the result is there: launching included;
``device``  on a cold cache with the host far ahead: what the device alone needs;
``host``    until the call returns to Python, the device left to itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Call = Callable[[], object]
LAUNCHES_AHEAD = 0.005  # seconds of host time beyond which a call fills the queue of launches


class Clock(Protocol):
    """Takes times of calls on one device."""

    device: str

    def synchronise(self) -> None:
        """Wait until the device has done everything."""

    def call(self, call: Call) -> float:
        """Seconds of one call from an idle device and a cold cache."""

    def ahead(self, call: Call, host: float) -> float | None:
        """Seconds on the device alone, cold; None where the host cannot be ``host`` s ahead."""

    def host(self, call: Call, calls: int) -> float:
        """Seconds until a call returns, the mean of several from an idle device."""

    def region(self, call: Call, calls: int) -> float:
        """Seconds of a call, the mean of several back to back; nothing is flushed."""


class DeviceClock:
    """CUDA events around a region; the cache is flushed before, outside of it.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: str = "cuda") -> None:
        self.device = device
        properties = torch.cuda.get_device_properties(device)
        cache = getattr(properties, "L2_cache_size", 0) or 2**26
        self._buffer = torch.empty(4 * cache, dtype=torch.uint8, device=device)
        # Cycles of a second at most: a sleep may be longer than asked for, never shorter.
        self._cycles = 1e3 * (getattr(properties, "clock_rate", 0) or 2_000_000)

    def synchronise(self) -> None:
        """See :class:`Clock`."""
        torch.cuda.synchronize(self.device)

    def call(self, call: Call) -> float:
        """See :class:`Clock`."""
        self._buffer.zero_()
        self.synchronise()
        return self._between(call, 1)

    def ahead(self, call: Call, host: float) -> float | None:
        """See :class:`Clock`."""
        if host > LAUNCHES_AHEAD:
            return None
        self.synchronise()
        self._buffer.zero_()
        torch.cuda._sleep(int(self._cycles * (2 * host + 2e-4)))
        return self._between(call, 1)

    def host(self, call: Call, calls: int) -> float:
        """See :class:`Clock`."""
        self.synchronise()
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        taken = (time.perf_counter() - begin) / calls
        self.synchronise()
        return taken

    def region(self, call: Call, calls: int) -> float:
        """See :class:`Clock`."""
        self.synchronise()
        return self._between(call, calls) / calls

    def _between(self, call: Call, calls: int) -> float:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return 1e-3 * begin.elapsed_time(end)


class HostClock:
    """The host's clock, for the CPU: a call has returned when its result is there.

    Args:
        cache: bytes written to flush it.
    """

    device = "cpu"

    def __init__(self, cache: int = 2**20) -> None:
        self._buffer: Tensor = torch.empty(cache, dtype=torch.uint8)

    def synchronise(self) -> None:
        """Nothing is ever pending."""

    def call(self, call: Call) -> float:
        """See :class:`Clock`."""
        self._buffer.zero_()
        return self.region(call, 1)

    def ahead(self, call: Call, host: float) -> float | None:
        """Never: the host is the device."""
        return None

    def host(self, call: Call, calls: int) -> float:
        """See :class:`Clock`."""
        return self.region(call, calls)

    def region(self, call: Call, calls: int) -> float:
        """See :class:`Clock`."""
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls


def clock(device: str) -> Clock:
    """The clock of a device."""
    return HostClock() if device == "cpu" else DeviceClock(device)
