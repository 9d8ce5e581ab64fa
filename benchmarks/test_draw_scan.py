"""Speed of draw_scan alone, at the paper's MNIST sizes: no loss, no optimizer."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.operators import Operation, named


def test_draw_scan(time_operation: Callable[[Operation, str], None], mode: str) -> None:
    time_operation(named("draw_scan", "paper"), mode)
