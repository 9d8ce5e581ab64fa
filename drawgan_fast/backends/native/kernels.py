"""The compiled CPU core as a set of kernels."""

from __future__ import annotations

import torch

from drawgan_fast.backends.native.attention_read import attention_read, attention_read_backward
from drawgan_fast.backends.native.attention_write import attention_write, attention_write_backward
from drawgan_fast.backends.native.draw_scan import draw_scan, draw_scan_backward, saved_bytes
from drawgan_fast.backends.native.lstm_cell import lstm_cell, lstm_cell_backward


class NativeKernels:
    """See ``Kernels``."""

    name = "native"
    device = "cpu"
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    attention_dtypes = dtypes

    attention_read = staticmethod(attention_read)
    attention_read_backward = staticmethod(attention_read_backward)
    attention_write = staticmethod(attention_write)
    attention_write_backward = staticmethod(attention_write_backward)
    lstm_cell = staticmethod(lstm_cell)
    lstm_cell_backward = staticmethod(lstm_cell_backward)
    saved_bytes = staticmethod(saved_bytes)
    draw_scan = staticmethod(draw_scan)
    draw_scan_backward = staticmethod(draw_scan_backward)
