"""The memory that the core keeps between calls."""

from __future__ import annotations

import gc
import threading
from types import ModuleType

import pytest
import torch


def address(workspace: object) -> int:
    return torch.frombuffer(workspace, dtype=torch.uint8).data_ptr()


@pytest.fixture
def pool(core: ModuleType) -> ModuleType:
    """The core with an empty pool."""
    gc.collect()
    core.pool_release()
    assert core.pool_info()["kept"] == 0
    return core


def test_a_block_comes_back_at_the_next_request(pool: ModuleType) -> None:
    before = pool.pool_info()["in_use"]
    seen = set()
    for size in (1_000_000, 1_000_000, 999_000, 700_000):  # the last batch of an epoch is smaller
        workspace = pool.Workspace(size)
        seen.add(address(workspace))
        lent = pool.pool_info()["in_use"] - before
        assert size <= lent <= 2 * size
        del workspace
        assert pool.pool_info() == {"in_use": before, "kept": lent}
    assert len(seen) == 1
    pool.pool_release()
    assert pool.pool_info() == {"in_use": before, "kept": 0}


def test_a_block_much_too_large_is_not_lent(pool: ModuleType) -> None:
    large = address(pool.Workspace(1_000_000))
    small = pool.Workspace(100_000)
    assert address(small) != large
    assert pool.pool_info()["kept"] >= 1_000_000


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 511, 513, 4097, 1_000_003])
def test_workspaces_are_aligned_writable_bytes(pool: ModuleType, size: int) -> None:
    tensor = torch.frombuffer(pool.Workspace(size), dtype=torch.uint8)
    assert tensor.shape == (size or 64,)  # torch takes no empty buffer
    assert tensor.data_ptr() % 64 == 0
    tensor.fill_(7)
    other = torch.frombuffer(pool.Workspace(size), dtype=torch.uint8).fill_(9)
    assert (tensor == 7).all()
    assert (other == 9).all()


def test_a_tensor_keeps_its_workspace(pool: ModuleType) -> None:
    before = pool.pool_info()["in_use"]
    part = torch.frombuffer(pool.Workspace(4096), dtype=torch.uint8)[10:20]
    gc.collect()
    assert pool.pool_info()["in_use"] > before
    del part
    assert pool.pool_info()["in_use"] == before


def test_no_more_is_held_than_twice_what_was_needed_at_once(pool: ModuleType) -> None:
    before = pool.pool_info()["in_use"]
    most = 0
    for size in [2**k for k in range(12, 24)] + [3 * 2**k for k in range(22, 10, -1)]:
        workspaces = [pool.Workspace(size) for _ in range(3)]
        most = max(most, pool.pool_info()["in_use"])
        del workspaces
        info = pool.pool_info()
        assert info["in_use"] == before
        assert info["kept"] <= 2 * most


def test_memory_of_long_ago_is_given_back_to_the_system(pool: ModuleType) -> None:
    pool.Workspace(50_000_000)
    for _ in range(6000):
        pool.Workspace(1000)
    assert pool.pool_info()["kept"] < 1_000_000


def test_blocks_hold_nan_where_that_is_asked_for(pool: ModuleType) -> None:
    pool.pool_poison(True)
    try:
        for _ in range(2):  # fresh, and recycled after something was written
            block = torch.frombuffer(pool.Workspace(800), dtype=torch.float64)
            assert block.isnan().all()
            assert block.view(torch.float32).isnan().all()
            block.zero_()
            del block
    finally:
        pool.pool_poison(False)


@pytest.mark.parametrize("size", [-1, -(2**63), 2**55, 2**60, 2**63 - 1])
def test_memory_that_there_is_not(pool: ModuleType, size: int) -> None:
    before = pool.pool_info()
    with pytest.raises(MemoryError, match=f"cannot allocate a workspace of {size} bytes"):
        pool.Workspace(size)
    assert pool.pool_info() == before


def test_threads_share_the_pool(pool: ModuleType) -> None:
    before = pool.pool_info()["in_use"]
    wrong: list[int] = []

    def work(mark: int) -> None:
        for turn in range(300):
            size = 64 * (1 + (turn * 7 + mark) % 50)
            block = torch.frombuffer(pool.Workspace(size), dtype=torch.uint8).fill_(mark)
            if not (block == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.pool_info()["in_use"] == before
