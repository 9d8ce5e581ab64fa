"""Operator layer: one file per operator, which validates, chooses the backend and runs it."""

from drawgan_fast.ops.attention_read import attention_read
from drawgan_fast.ops.attention_write import attention_write
from drawgan_fast.ops.draw_scan import draw_generate, draw_scan
from drawgan_fast.ops.filterbank import filterbank
from drawgan_fast.ops.lstm_cell import lstm_cell

__all__ = [
    "attention_read",
    "attention_write",
    "draw_generate",
    "draw_scan",
    "filterbank",
    "lstm_cell",
]
