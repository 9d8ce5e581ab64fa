"""The compiled CUDA core as a set of kernels."""

from __future__ import annotations

from functools import partial

import torch

from drawgan_fast.backends.compiled import cell_products, image_pairs
from drawgan_fast.backends.cuda import attention_read as read
from drawgan_fast.backends.cuda import lstm_cell as cell
from drawgan_fast.backends.cuda.attention_write import attention_write, attention_write_backward
from drawgan_fast.backends.cuda.core import EMULATED
from drawgan_fast.backends.cuda.draw_scan import BackwardSteps, ForwardSteps
from drawgan_fast.backends.scan.arrays import saved_bytes
from drawgan_fast.backends.scan.backward import draw_scan_backward
from drawgan_fast.backends.scan.forward import draw_scan


class CudaKernels:
    """See ``Kernels``."""

    name = "cuda"
    device = "cpu" if EMULATED else "cuda"
    dtypes: tuple[torch.dtype, ...] = (torch.float32,)
    attention_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16, torch.float16)

    attention_read = staticmethod(partial(image_pairs.attention_read, read.launch))
    attention_read_backward = staticmethod(
        partial(image_pairs.attention_read_backward, read.launch_backward)
    )
    attention_write = staticmethod(attention_write)
    attention_write_backward = staticmethod(attention_write_backward)
    lstm_cell = staticmethod(partial(cell_products.lstm_cell, cell.pointwise))
    lstm_cell_backward = staticmethod(
        partial(cell_products.lstm_cell_backward, cell.pointwise_backward)
    )
    saved_bytes = staticmethod(saved_bytes)
    draw_scan = staticmethod(partial(draw_scan, ForwardSteps, needs_segments=False))
    draw_scan_backward = staticmethod(partial(draw_scan_backward, ForwardSteps, BackwardSteps))
