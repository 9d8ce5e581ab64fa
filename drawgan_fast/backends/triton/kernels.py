"""The Triton kernels as a set."""

from __future__ import annotations

from functools import partial

import torch

from drawgan_fast.backends.compiled import cell_products, image_pairs
from drawgan_fast.backends.scan.arrays import saved_bytes
from drawgan_fast.backends.scan.backward import draw_scan_backward
from drawgan_fast.backends.scan.forward import draw_scan
from drawgan_fast.backends.triton import attention_read as read
from drawgan_fast.backends.triton.attention_write import attention_write, attention_write_backward
from drawgan_fast.backends.triton.draw_scan import ForwardSteps
from drawgan_fast.backends.triton.draw_scan_backward import BackwardSteps
from drawgan_fast.backends.triton.launch import INTERPRETED
from drawgan_fast.backends.triton.lstm_cell import lstm_cell, pointwise_backward


class TritonKernels:
    """See ``Kernels``."""

    name = "triton"
    device = "cpu" if INTERPRETED else "cuda"
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    attention_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    attention_read = staticmethod(partial(image_pairs.attention_read, read.launch))
    attention_read_backward = staticmethod(
        partial(image_pairs.attention_read_backward, read.launch_backward)
    )
    attention_write = staticmethod(attention_write)
    attention_write_backward = staticmethod(attention_write_backward)
    lstm_cell = staticmethod(lstm_cell)
    lstm_cell_backward = staticmethod(partial(cell_products.lstm_cell_backward, pointwise_backward))
    saved_bytes = staticmethod(saved_bytes)
    draw_scan = staticmethod(partial(draw_scan, ForwardSteps))
    draw_scan_backward = staticmethod(partial(draw_scan_backward, ForwardSteps, BackwardSteps))
