"""The operators in plain PyTorch, as the paper writes them: the truth every backend is held to.

Functions here take tensors of one dtype (float32 or float64) that have been validated; promotion,
half precision and checks are the operator layer's work.
"""

from drawgan_fast.reference.attention_read import attention_read
from drawgan_fast.reference.attention_write import attention_write
from drawgan_fast.reference.draw_scan import draw_generate, draw_scan, kl_standard_normal
from drawgan_fast.reference.filterbank import filterbank
from drawgan_fast.reference.lstm_cell import lstm_cell

__all__ = [
    "attention_read",
    "attention_write",
    "draw_generate",
    "draw_scan",
    "filterbank",
    "kl_standard_normal",
    "lstm_cell",
]
