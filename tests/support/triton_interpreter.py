"""Triton's interpreter made right for bfloat16, which it computes on bit patterns otherwise.

Seen in Triton 3.6 to 3.9: adding gives NaN, products multiply bit patterns, casts truncate.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits as the float32 values that they stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values as bfloat16 bits, to nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    up = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where(np.isnan(values), np.uint16(0x7FC0), up.astype(np.uint16)).astype(np.uint16)


def correct_bfloat16() -> None:
    """Cast right on loads and stores, and refuse arithmetic on bfloat16: kernels use float32."""
    import triton.language as tl
    from triton.runtime import interpreter

    Handle, Builder = interpreter.TensorHandle, interpreter.InterpreterBuilder
    cast, to_fp = Builder.cast_impl, Builder.create_fp_to_fp

    def is_bf16(handle: object) -> bool:
        return isinstance(handle, Handle) and handle.dtype.scalar == tl.bfloat16

    def cast_impl(self, src, dst):
        source, target = src.dtype.scalar, dst.scalar
        if source == tl.bfloat16 and target != tl.bfloat16:
            return cast(self, Handle(widened(src.data), tl.float32), dst)
        if target == tl.bfloat16 and source != tl.bfloat16:
            return Handle(rounded(src.data.astype(np.float32)), tl.bfloat16)
        return cast(self, src, dst)

    def create_fp_to_fp(self, src, dst, mode):
        if tl.bfloat16 in (src.dtype.scalar, dst.scalar):
            return self.cast_impl(src, dst)
        return to_fp(self, src, dst, mode)

    def refusing(name):
        original = getattr(Builder, name)

        def run(self, *args):
            if any(is_bf16(arg) for arg in args):
                raise NotImplementedError(f"{name} on bfloat16: cast to float32 first")
            return original(self, *args)

        return run

    Builder.cast_impl, Builder.create_fp_to_fp = cast_impl, create_fp_to_fp
    for name in ("binary_op", "unary_op", "ternary_op", "create_fma", "create_dot"):
        setattr(Builder, name, refusing(name))
