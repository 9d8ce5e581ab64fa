"""The Triton kernels as a set."""

from __future__ import annotations

import torch

from drawgan_fast.backends.triton.attention_read import attention_read, attention_read_backward
from drawgan_fast.backends.triton.attention_write import attention_write, attention_write_backward
from drawgan_fast.backends.triton.draw_scan import draw_scan
from drawgan_fast.backends.triton.draw_scan_backward import draw_scan_backward
from drawgan_fast.backends.triton.launch import INTERPRETED
from drawgan_fast.backends.triton.lstm_cell import lstm_cell, lstm_cell_backward
from drawgan_fast.backends.triton.scan_arrays import saved_bytes


class TritonKernels:
    """See ``Kernels``."""

    device = "cpu" if INTERPRETED else "cuda"
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    attention_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    attention_read = staticmethod(attention_read)
    attention_read_backward = staticmethod(attention_read_backward)
    attention_write = staticmethod(attention_write)
    attention_write_backward = staticmethod(attention_write_backward)
    lstm_cell = staticmethod(lstm_cell)
    lstm_cell_backward = staticmethod(lstm_cell_backward)
    saved_bytes = staticmethod(saved_bytes)
    draw_scan = staticmethod(draw_scan)
    draw_scan_backward = staticmethod(draw_scan_backward)
