"""Speed of lstm_cell, at the encoder's and the decoder's shape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import LSTM_SHAPES, LSTMShape
from benchmarks.operators import Operation, lstm_cell


@pytest.mark.parametrize("shape", LSTM_SHAPES, ids=lambda shape: shape.key)
def test_lstm_cell(
    time_operation: Callable[[Operation, str], None], shape: LSTMShape, mode: str
) -> None:
    time_operation(lstm_cell(shape), mode)
