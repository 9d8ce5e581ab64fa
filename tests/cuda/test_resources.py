"""What the kernels take: no spills, and the page says what the build said."""

from __future__ import annotations

import pytest

from benchmarks import cuda_resources as resources


@pytest.fixture
def rows() -> list[resources.Kernel]:
    found = resources.kernels()
    if not found:
        pytest.skip("the CUDA core was not built from this source tree")
    return found


def test_no_kernel_spills(rows: list[resources.Kernel]) -> None:
    assert [row for row in rows if row.spilled] == []


def test_every_source_is_built_for_every_chip(rows: list[resources.Kernel]) -> None:
    every = (resources.ROOT / "csrc/cuda").glob("*.cu")
    sources = {path.name for path in every if "__global__" in path.read_text()}
    chips = {row.chip for row in rows}
    built = {(row.file, row.chip) for row in rows}
    assert built == {(file, chip) for file in sources for chip in chips}


def test_the_page_is_what_the_build_said(rows: list[resources.Kernel]) -> None:
    page, version = resources.PAGE.read_text(), resources.compiler()
    if f"\n{version}: " not in page:
        pytest.skip(f"the page was written with another nvcc than {version}")
    chips = sorted({row.chip for row in rows}, key=resources.number_of)
    if f"| {' | '.join(chips)} |" not in page:
        pytest.skip(f"the page is of other chips than {', '.join(chips)}")
    assert page == resources.render(rows, version), "run python -m benchmarks.cuda_resources"
