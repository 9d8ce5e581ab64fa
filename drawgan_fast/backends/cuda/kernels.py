"""The compiled CUDA core as a set of kernels."""

from __future__ import annotations

from functools import partial

import torch

from drawgan_fast.backends.cuda.attention_read import attention_read, attention_read_backward
from drawgan_fast.backends.cuda.attention_write import attention_write, attention_write_backward
from drawgan_fast.backends.cuda.core import EMULATED
from drawgan_fast.backends.cuda.draw_scan import BackwardSteps, ForwardSteps
from drawgan_fast.backends.cuda.lstm_cell import lstm_cell, lstm_cell_backward
from drawgan_fast.backends.scan.arrays import saved_bytes
from drawgan_fast.backends.scan.backward import draw_scan_backward
from drawgan_fast.backends.scan.forward import draw_scan


class CudaKernels:
    """See ``Kernels``."""

    name = "cuda"
    device = "cpu" if EMULATED else "cuda"
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    attention_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    attention_read = staticmethod(attention_read)
    attention_read_backward = staticmethod(attention_read_backward)
    attention_write = staticmethod(attention_write)
    attention_write_backward = staticmethod(attention_write_backward)
    lstm_cell = staticmethod(lstm_cell)
    lstm_cell_backward = staticmethod(lstm_cell_backward)
    saved_bytes = staticmethod(saved_bytes)
    draw_scan = staticmethod(partial(draw_scan, ForwardSteps, needs_segments=False))
    draw_scan_backward = staticmethod(partial(draw_scan_backward, ForwardSteps, BackwardSteps))
