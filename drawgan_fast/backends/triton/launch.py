"""How kernels are launched: block sizes and warps by shape, the precision of products, the device.

Nothing is tuned at run time: sizes come from rules that hold on every GPU, and from a table of
what was measured to be better (``tuned.json``, written by ``python -m benchmarks.gpu --tune``).
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

INTERPRETED: bool = triton.knobs.runtime.interpret


@lru_cache(maxsize=1)
def tuned() -> dict[str, dict[str, int]]:
    """Measured launches: ``"attention_read/sm_90/16/32/32"`` → block sizes and warps."""
    path = Path(__file__).with_name("tuned.json")
    return json.loads(path.read_text()) if path.exists() else {}


@lru_cache(maxsize=64)
def target(device: torch.device) -> str:
    """``sm_90``, ``gfx942``, or ``interpreter``."""
    if INTERPRETED or device.type != "cuda":
        return "interpreter"
    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip:
        return properties.gcnArchName.partition(":")[0]
    return f"sm_{properties.major}{properties.minor}"


def precision(target: str) -> str:
    """How products of float32 numbers are formed: to float32's accuracy on every chip.

    NVIDIA's tensor cores multiply float32 as three products of TF32; AMD's matrix cores have
    float32. One TF32 product would round filters to eleven bits: they would no longer sum to one.
    """
    return "tf32x3" if target.startswith("sm_") else "ieee"


@lru_cache(maxsize=1024)
def attention_launch(op: str, target: str, H: int, W: int, N: int) -> dict[str, Any]:
    """Block sizes, warps and precision of a read or write, forward or backward.

    >>> attention_launch("attention_read", "sm_90", 28, 28, 5)["BLOCK_N"]
    16
    """
    block_n = max(16, triton.next_power_of_2(N))
    largest = 32
    block_h = min(largest, max(16, triton.next_power_of_2(H)))
    block_w = min(largest, max(16, triton.next_power_of_2(W)))
    chosen = {
        "BLOCK_N": block_n,
        "BLOCK_H": block_h,
        "BLOCK_W": block_w,
        "num_warps": 4 if block_n <= 32 else 8,
        "num_stages": 1,
    }
    key = f"{op}/{target}/{block_n}/{block_h}/{block_w}"
    return {**chosen, **tuned().get(key, {}), "PRECISION": precision(target)}


def pointwise_block(size: int) -> int:
    """Elements that a program of a pointwise kernel takes along a row."""
    return int(min(1024, triton.next_power_of_2(max(size, 1))))


def on(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which kernels run on the tensor's device."""
    if tensor.device.type != "cuda" or tensor.device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(tensor.device)
