"""Launches: what a device cannot run is refused by name and number; what is said to fit, fits."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest

from tests.cuda._probe import at, probe


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    emulate()
    yield
    emulate()


def emulate(capability: int = 90, shared: int = 232448, blocks: int = 8, clusters: int = 2) -> None:
    probe().probe_device(capability, ctypes.c_size_t(shared), blocks, clusters)


def launch(
    blocks: int, threads: int = 32, shared: int = 0, cluster: int = 1, cooperative: bool = False
) -> tuple[str, tuple[int, int]]:
    """The error, and how many blocks and clusters are said to be resident."""
    counters, resident = np.zeros(3, np.uint32), np.zeros(2, np.int32)
    call = probe().probe_launch
    call.restype = ctypes.c_char_p
    error: bytes = call(
        *(blocks, threads, ctypes.c_size_t(shared), cluster, cooperative),
        *(at(counters), at(resident)),
    )
    if not error:
        assert counters.tolist() == [blocks, blocks, 0]
    return error.decode(), (int(resident[0]), int(resident[1]))


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"threads": 1056}, "threads of a block: 1056 asked for, the limit is 1024"),
        ({"threads": 0}, "an empty grid or block"),
        ({"shared": 232449}, "bytes of shared memory of a block: 232449 asked for, the limit is"),
        ({"cluster": 32}, "blocks of a cluster: 32 asked for, the limit is 16"),
        ({"cluster": 8}, "the grid's 4 blocks along x do not make whole clusters of 8"),
        ({"cooperative": True, "blocks": 9}, "cudaErrorCooperativeLaunchTooLarge"),
    ],
)
def test_what_no_device_could_run_is_refused(shape: dict[str, int], says: str) -> None:
    error, _ = launch(**{"blocks": 4, **shape})
    assert error.startswith("meeting: ")
    assert says in error


def test_an_older_device_has_no_clusters_and_less_shared_memory() -> None:
    emulate(capability=80, shared=166912)
    error, resident = launch(4, cluster=4)
    assert "clusters of blocks need compute capability 9.0, this device (emulated) has 8.0" in error
    assert resident == (8, 0)
    error, resident = launch(4, shared=200_000)
    assert "200000 asked for, the limit is 166912" in error
    assert resident == (0, 0)


@pytest.mark.parametrize("cooperative", [False, True])
def test_as_many_blocks_meet_as_are_said_to_be_resident(cooperative: bool) -> None:
    assert launch(8, cooperative=cooperative) == ("", (8, 8))
    assert launch(16, cluster=8, cooperative=cooperative) == ("", (8, 2))


def test_a_team_larger_than_what_is_resident_hangs_which_is_an_error() -> None:
    error, _ = launch(9)
    assert error.startswith("meeting: hangs: in block (0, 0, 0) 31 threads wait at __syncthreads, ")
    error, _ = launch(24, cluster=8)
    assert "1 threads wait for a counter" in error
    assert launch(4)[0] == ""  # nothing of it is left
