"""Speed of a full training step of DRAW and DRAW-GAN, over every way to run one.

Here the ways run one after the other in one process. What they are to each other is said by
``python -m benchmarks.report``, which interleaves them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import gate, variants
from benchmarks.cases import CASES
from benchmarks.floor import LIBRARIES, ProductTimer
from benchmarks.products import products

CASE_NAMES = ("draw-paper", "draw-gan-authors")


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """A variant sets the precision of products for the whole process."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def truths() -> dict[str, gate.Truth]:
    """Loss and gradients in float64, computed once for each case."""
    return {name: gate.truth(CASES[name]) for name in CASE_NAMES}


@pytest.mark.timeout(1800)  # torch.compile of T steps in one graph takes minutes
@pytest.mark.parametrize("variant", list(variants.VARIANTS))
@pytest.mark.parametrize("name", CASE_NAMES)
def test_train_step(
    benchmark: BenchmarkFixture,
    truths: dict[str, gate.Truth],
    name: str,
    variant: str,
) -> None:
    case = CASES[name]
    try:
        step = variants.make(variant, case)
    except variants.Unavailable as reason:
        pytest.skip(str(reason))
    tolerance = variants.VARIANTS[variant].tolerance
    verdict = gate.check_step(step, case, tolerance, truths[name])
    benchmark.extra_info["error"] = verdict.gradient
    benchmark.pedantic(step, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("library", list(LIBRARIES))
@pytest.mark.parametrize("name", CASE_NAMES)
def test_matrix_products_alone(benchmark: BenchmarkFixture, name: str, library: str) -> None:
    """The floor by one library; the report takes the best of all for each product."""
    try:
        timer = ProductTimer([library], products(CASES[name]))
    except variants.Unavailable as reason:
        pytest.skip(str(reason))
    benchmark.pedantic(timer.run, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]
