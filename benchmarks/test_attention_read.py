"""Speed of attention_read, with the error image fused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import ATTENTION_SHAPES, AttentionShape
from benchmarks.operators import Operation, attention_read


@pytest.mark.parametrize("shape", ATTENTION_SHAPES, ids=lambda shape: shape.key)
def test_attention_read(
    time_operation: Callable[[Operation, str], None], shape: AttentionShape, mode: str
) -> None:
    time_operation(attention_read(shape), mode)
