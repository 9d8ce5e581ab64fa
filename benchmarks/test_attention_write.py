"""Speed of attention_write, onto a canvas."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import ATTENTION_SHAPES, AttentionShape
from benchmarks.operators import Operation, attention_write


@pytest.mark.parametrize("shape", ATTENTION_SHAPES, ids=lambda shape: shape.key)
def test_attention_write(
    time_operation: Callable[[Operation, str], None], shape: AttentionShape, mode: str
) -> None:
    time_operation(attention_write(shape), mode)
