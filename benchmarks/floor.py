"""The floor: a training step's matrix products alone, each by the fastest library at hand.

Every product is run by every library in turn, on operands of its true shape that are used again
and again: they are warm in whatever cache holds them, and the library may lay the weights of the
recurrence out in advance, as a step of T products can. Weight gradients get their operands in the
order in which the library likes them, but nothing is packed for them in advance. No step can have
it better, so the sum of the fastest times is a floor, though not one that can be proved: a library
nobody tried may be faster.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.products import Product
from benchmarks.variants.base import Unavailable

Run = Callable[[], object]


@dataclass(frozen=True)
class Library:
    """A library's product: ``prepare`` gives the function that runs one product once."""

    title: str
    prepare: Callable[[Product], Run]


def _operands(product: Product, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, depth] and [columns, depth], as activations and ``nn.Linear``'s weights lie."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(product.rows, product.depth, generator=generator)
    right = torch.randn(product.columns, product.depth, generator=generator)
    return left.to(dtype), right.to(dtype)


def _torch_mm(product: Product, dtype: torch.dtype, *, transposed: bool) -> Run:
    left, right = _operands(product, dtype)
    second = right.t() if transposed else right.t().contiguous()
    out = torch.empty(product.rows, product.columns, dtype=dtype)
    return lambda: torch.mm(left, second, out=out)


def _onednn(product: Product, dtype: torch.dtype) -> Run:
    left, right = _operands(product, dtype)
    linear = torch.ops.mkldnn._linear_pointwise
    if product.count > 1:
        right = torch.ops.mkldnn._reorder_linear_weight(right, product.rows)
    return lambda: linear(left, right, None, "none", [], "")


def _openblas(product: Product) -> Run:
    import numpy as np

    left, right = (operand.numpy() for operand in _operands(product, torch.float32))
    out = np.empty((product.rows, product.columns), np.float32)
    return lambda: np.matmul(left, right.T, out=out)


def _xla(product: Product) -> Run:
    if importlib.util.find_spec("jax") is None:
        raise Unavailable("jax is not installed: pip install 'drawgan-fast[bench]'")
    import jax

    left, right = (jax.numpy.asarray(o.numpy()) for o in _operands(product, torch.float32))
    # XLA's product is slower on a transposed second factor.
    right = jax.numpy.array(right.T)
    product_of = jax.jit(jax.numpy.matmul)
    return lambda: product_of(left, right).block_until_ready()


LIBRARIES: dict[str, Library] = {
    # Which layout of the second factor is the faster one depends on the shape.
    "mkl": Library("torch.mm (MKL)", partial(_torch_mm, dtype=torch.float32, transposed=False)),
    "mkl-t": Library(
        "torch.mm (MKL), transposed", partial(_torch_mm, dtype=torch.float32, transposed=True)
    ),
    "onednn": Library("oneDNN linear", partial(_onednn, dtype=torch.float32)),
    "openblas": Library("NumPy (OpenBLAS)", _openblas),
    "xla": Library("JAX (XLA)", _xla),
    "mm-bf16": Library(
        "torch.mm, bfloat16", partial(_torch_mm, dtype=torch.bfloat16, transposed=False)
    ),
    "mm-bf16-t": Library(
        "torch.mm, bfloat16, transposed",
        partial(_torch_mm, dtype=torch.bfloat16, transposed=True),
    ),
    "onednn-bf16": Library("oneDNN linear, bfloat16", partial(_onednn, dtype=torch.bfloat16)),
}

# The libraries that share a process, since each has threads of its own.
FLOOR = {
    "floor: torch": ("mkl", "mkl-t", "onednn"),
    "floor: numpy": ("openblas",),
    "floor: jax": ("xla",),
}
FLOOR_BFLOAT16 = {"floor bf16: torch": ("mm-bf16", "mm-bf16-t", "onednn-bf16")}
# XLA's run-time library of products knows no switch that keeps it to AVX2, so it stays out.
FLOOR_AVX2 = {k: v for k, v in FLOOR.items() if k != "floor: jax"}

# Keeps every library to AVX2; each reads its own variable when it is loaded.
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "DRAWGAN_CPU_ISA": "avx2",
}


class ProductTimer:
    """Times a list of products with some libraries, one after the other for each product.

    Args:
        libraries: names in LIBRARIES.
        products: what to run.

    Raises:
        Unavailable: a library cannot run here; the message says why.
    """

    def __init__(self, libraries: Sequence[str], products: Sequence[Product]) -> None:
        for library in libraries:
            check_library(library)
        with torch.inference_mode():
            self.runs = [
                (f"{product.name}|{library}", product.count, LIBRARIES[library].prepare(product))
                for product in products
                for library in libraries
            ]

    def __call__(self) -> dict[str, float]:
        """One pass: seconds by ``product|library``, all repetitions in a step together."""
        with torch.inference_mode():
            return {name: _time(run, count) for name, count, run in self.runs}

    def run(self) -> None:
        """Every product as often as a step has it, and nothing else."""
        with torch.inference_mode():
            for _, count, run in self.runs:
                for _ in range(count):
                    run()


def check_library(name: str) -> None:
    """Raise Unavailable, with the reason, if a library is not there."""
    if name.startswith("mkl") and not torch._C.has_mkl:
        raise Unavailable("this torch was built without MKL")
    if name.startswith("onednn") and not torch._C._has_mkldnn:
        raise Unavailable("this torch was built without oneDNN")


def _time(run: Run, count: int) -> float:
    run()  # warm
    repeats = max(count, 3)
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) * count / repeats
