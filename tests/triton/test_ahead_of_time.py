"""Every kernel compiled for chips that are not there: what the compiler says holds on them."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

pytest.importorskip("triton", reason="triton is not installed")

from benchmarks import kernel_resources as resources

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter compiles nothing"
    ),
]
CHIPS = list(resources.TARGETS)
LARGE = ("N=64, float32", "N=40 and 64")


def _conventions(chip: str) -> list[resources.Compiled]:
    return list(resources.compiled(chip, resources.conventions()))


@pytest.fixture(scope="module")
def rows() -> list[resources.Compiled]:
    """Every operator on every chip, and every convention on one of each maker."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        conventions = pool.map(_conventions, ["sm_90", "gfx942"])
        operators = pool.map(resources._of_chip, CHIPS)
        return [row for some in (*operators, *conventions) for row in some]


def test_every_kernel_is_compiled_for_every_chip(rows: list[resources.Compiled]) -> None:
    kernels = {row.kernel for row in rows}
    assert kernels == {
        "attention_read",
        "attention_read_backward",
        "attention_write",
        "attention_write_backward",
        "draw_boundary",
        "latent_sample",
        "latent_sample_backward",
        "lstm_cell",
        "lstm_pointwise",
        "lstm_pointwise_backward",
    }
    assert {(row.kernel, row.chip) for row in rows} == {(k, c) for k in kernels for c in CHIPS}


def test_nothing_spills(rows: list[resources.Compiled]) -> None:
    """But for a read's backward beyond N = 32, as much as Triton 3.6 and 3.7 do (3.9 does not)."""
    spilled = [(r.case, r.kernel, r.chip, r.resources.spilled) for r in rows if r.resources.spilled]
    large = [
        row for row in spilled if row[1] == "attention_read_backward" and row[0].endswith(LARGE)
    ]
    assert not set(spilled) - set(large)
    assert all(row[3] <= 400 for row in large)


def test_shared_memory_fits(rows: list[resources.Compiled]) -> None:
    for row in rows:
        assert row.resources.shared <= resources.SHARED_MEMORY[row.chip], row


def test_products_are_matrix_instructions(rows: list[resources.Compiled]) -> None:
    """Where they are meant to be: the backend chooses it, by operator and size."""
    meant = {(row.kernel, row.chip) for row in rows if row.uses_matrix_units}
    for row in rows:
        assert (row.resources.matrix_instructions > 0) == row.uses_matrix_units, row
    forward = {"attention_read", "attention_write", "attention_write_backward", "lstm_cell"}
    assert {(kernel, chip) for kernel in forward for chip in CHIPS} <= meant


def test_the_committed_table_names_every_kernel(rows: list[resources.Compiled]) -> None:
    page = resources.PAGE.read_text()
    for line in page.splitlines():
        assert "spilled**" not in line or ("N=" in line and "attention_read_backward" in line), line
    for row in rows:
        if row.case in resources.cases():
            assert f"| {row.case} | `{row.kernel}` |" in page, row
