"""How kernels are launched: block sizes and warps by shape, and the precision of products.

Nothing is tuned at run time: sizes come from rules that hold on every GPU, and from a table of
what was measured to be better: ``tuned.json``, written by ``python -m benchmarks.gpu --only tune``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton

INTERPRETED: bool = triton.knobs.runtime.interpret


@lru_cache(maxsize=1)
def tuned() -> dict[str, dict[str, Any]]:
    """Measured launches: ``"attention_read/sm_90/16/32/32"`` → block sizes and warps."""
    path = Path(__file__).with_name("tuned.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


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


class Rule(NamedTuple):
    """Tile, warps, and whether products use the tensor cores of NVIDIA's chips."""

    block_h: int = 32
    block_w: int = 32
    num_warps: int = 4
    tensor_cores: bool = True
    maxnreg: int | None = None


# By operator and BLOCK_N: the largest tiles that spill no register on any chip in any convention
# (docs/kernel_resources.md; but for a read's backward beyond N = 32, where Triton 3.6 and 3.7 load
# 64 factors of each sum at once). The three parts of every operand of a TF32 product are what fills
# registers: where they do not fit, products run on the multiply-add units instead. Without a limit
# of its own the compiler may aim lower than 255 registers, and spill to get there.
_NVIDIA = {
    ("attention_read", 16): Rule(maxnreg=255),
    ("attention_read", 64): Rule(num_warps=8, tensor_cores=False),
    ("attention_read_backward", 16): Rule(tensor_cores=False, maxnreg=255),
    ("attention_read_backward", 32): Rule(num_warps=8, tensor_cores=False, maxnreg=255),
    ("attention_read_backward", 64): Rule(16, 16, 8, tensor_cores=False, maxnreg=255),
    ("attention_write_backward", 16): Rule(16, 32),
    ("draw_boundary", 64): Rule(num_warps=8, tensor_cores=False),
    ("attention_write_backward", 32): Rule(16, 16, 8),
    ("attention_write_backward", 64): Rule(num_warps=8, tensor_cores=False),
}
_AMD = {
    ("attention_read_backward", 32): Rule(16, 16),
    ("attention_read_backward", 64): Rule(16, 16),
    ("attention_write_backward", 64): Rule(16, 16),
}


def block_n(N: int) -> int:
    """Filters of a tile: a product's sides have 16 rows at least.

    >>> block_n(5), block_n(17)
    (16, 32)
    """
    return max(16, int(triton.next_power_of_2(N)))


@lru_cache(maxsize=1024)
def _launch(op: str, target: str, H: int, W: int, N: int) -> dict[str, Any]:
    filters = block_n(N)
    rules = _AMD if target.startswith("gfx") else _NVIDIA
    rule = rules.get((op, filters), Rule())
    chosen = {
        "BLOCK_N": filters,
        "BLOCK_H": min(rule.block_h, max(16, triton.next_power_of_2(H))),
        "BLOCK_W": min(rule.block_w, max(16, triton.next_power_of_2(W))),
        "PRECISION": precision(target) if rule.tensor_cores else "ieee",
        "num_warps": rule.num_warps,
        "num_stages": 1,
    }
    if rule.maxnreg is not None and target.startswith("sm_"):
        chosen["maxnreg"] = rule.maxnreg
    key = f"{op}/{target}/{filters}/{chosen['BLOCK_H']}/{chosen['BLOCK_W']}"
    return {**chosen, **tuned().get(key, {})}


def forget() -> None:
    """Ask for every launch again: the table has changed."""
    _launch.cache_clear()


def attention_launch(op: str, target: str, H: int, W: int, N: int) -> dict[str, Any]:
    """Block sizes, warps and precision of a read or write, forward or backward: a fresh dict.

    >>> attention_launch("attention_read", "sm_90", 28, 28, 5)["BLOCK_N"]
    16
    """
    return dict(_launch(op, target, H, W, N))


def pointwise_block(size: int) -> int:
    """Elements that a program of a pointwise kernel takes along a row."""
    return int(min(1024, triton.next_power_of_2(max(size, 1))))
