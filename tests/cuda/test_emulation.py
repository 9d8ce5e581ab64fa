"""The emulation itself: what it computes, and that no bug that it is there to find gets past it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cuda._probe import at, probe
from tests.support.cuda_emulation import program

HERE = Path(__file__).parent
BUGS = HERE / "seeded_bugs.cu"
SCHEDULES = (0, 1, 2, 3)  # forward, reverse, random twice


def run(bug: str, schedule: int, sanitize: str = "") -> str:
    options = {"TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [str(program(BUGS, sanitize)), bug, str(schedule)],
        capture_output=True,
        text=True,
        env={**os.environ, **options},
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("sanitize", ["", "address", "thread"])
def test_kernels_that_are_right_pass(sanitize: str) -> None:
    for schedule in SCHEDULES:
        assert run("none", schedule, sanitize) == "right\n"


def lines_of(bug: str) -> set[int]:
    lines = enumerate(BUGS.read_text().splitlines(), start=1)
    return {number for number, line in lines if re.search(rf"// here: .*\b{bug}\b", line)}


@pytest.mark.parametrize(
    ("bug", "sanitize", "says"),
    [
        ("missing_syncthreads", "thread", "data race"),
        ("missing_syncwarp", "thread", "data race"),
        ("missing_cluster_sync", "thread", "data race"),
        ("missing_team_sync", "thread", "data race"),
        ("missing_grid_sync", "thread", "data race"),
        ("shared_out_of_bounds", "address", "heap-buffer-overflow"),
        ("cluster_out_of_bounds", "address", "heap-buffer-overflow"),
    ],
)
def test_a_sanitizer_names_the_line_of_a_bug(bug: str, sanitize: str, says: str) -> None:
    for schedule in SCHEDULES[:3]:
        report = run(bug, schedule, sanitize)
        assert says in report
        named = {int(line) for line in re.findall(rf"{BUGS.name}:(\d+)", report)}
        assert named & lines_of(bug), report


@pytest.mark.parametrize(
    "bug",
    [
        "missing_syncthreads",
        "missing_syncwarp",
        "missing_cluster_sync",
        "missing_team_sync",
        "missing_grid_sync",
        "missing_copy_wait",
        "uninitialised_shared",
        "shared_out_of_bounds",
        "cluster_out_of_bounds",
    ],
)
def test_a_bug_shows_in_the_numbers_of_some_schedule(bug: str) -> None:
    assert any(run(bug, schedule) == "wrong\n" for schedule in SCHEDULES)


@pytest.mark.parametrize(
    ("bug", "says"),
    [
        (
            "half_a_block_at_syncthreads",
            r"cluster_sums: hangs: in block \(\d, 0, 0\) 32 threads wait at __syncthreads, "
            "32 threads wait at the cluster's barrier",
        ),
        ("team_too_large", r"team_rows: hangs: in block .* 1 threads wait for a counter"),
        ("shuffle_from_nowhere", "a shuffle reads lane 20, which takes no part in it"),
        (
            "missing_last_cluster_sync",
            r"block \(0, 0, 0\): asks for the shared memory of block \(1, 0, 0\), which has ended",
        ),
    ],
)
@pytest.mark.parametrize("sanitize", ["", "thread", "address"])
def test_what_would_hang_or_mean_nothing_is_an_error(bug: str, says: str, sanitize: str) -> None:
    # A block that ends early does so in some orders only.
    assert any(re.match(f"error: .*{says}", run(bug, order, sanitize)) for order in SCHEDULES)


# ------------------------------------------------------------------------------------------ numbers


def bits(numbers: torch.Tensor) -> np.ndarray:
    return numbers.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


@pytest.mark.parametrize("loaded", [False, True], ids=["by hand", "load_matrices"])
def test_a_tensor_core_product_has_the_manuals_fragments(loaded: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randint(-8, 9, (16, 16), generator=generator).float()
    b = torch.randint(-8, 9, (16, 8), generator=generator).float()
    before = np.zeros((16, 8), np.float32) if loaded else np.arange(128, dtype=np.float32)
    d = before.reshape(16, 8).copy()
    call = probe().probe_loaded_product if loaded else probe().probe_product
    left, right = bits(a), bits(b)
    call(at(left), at(right), at(d))
    assert np.array_equal(d, before.reshape(16, 8) + (a @ b).numpy())  # small integers: exact


@pytest.mark.parametrize("threads", [32, 64, 96])
def test_shuffles_and_votes(threads: int) -> None:
    values = np.random.default_rng(3).integers(0, 1000, threads).astype(np.int32)
    out = np.zeros((6, threads), np.int32)
    probe().probe_warp_operations(at(values), at(out), threads)
    lane, warp = np.arange(threads) % 32, np.arange(threads) // 32 * 32
    xor = values[warp + (lane ^ 5)]
    xor[lane < 8] += values[warp + 7][lane < 8]
    assert np.array_equal(out[0], xor)
    assert np.array_equal(out[1], values[warp + np.where(lane + 3 < 32, lane + 3, lane)])
    assert np.array_equal(out[2], values[warp + np.where(lane % 8 >= 3, lane - 3, lane)])
    assert np.array_equal(out[3], values[warp + lane // 16 * 16 + 2])
    votes = [sum(1 << i for i in range(32) if values[w + i] % 3 == 0) for w in warp]
    assert np.array_equal(out[4].view(np.uint32), np.array(votes, np.uint32))
    assert (out[5] == (values % 2).sum()).all()


def test_sixteen_bit_types_round_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(2)
    spread = torch.randn(20_000, generator=generator) * 10 ** (
        torch.rand(20_000, generator=generator) * 16 - 9
    )
    edges = [0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, 65504, 65520, 3e38, 3.4e38, 1e-8, 6e-8, 1e-40]
    x = torch.cat([spread, torch.tensor([*edges, float("inf"), -float("inf"), float("nan")])])
    n = len(x)
    bfloat16, float16 = np.zeros(n, np.uint16), np.zeros(n, np.uint16)
    back = np.zeros((n, 2), np.float32)
    given = x.numpy()
    probe().probe_round_trip(at(given), at(bfloat16), at(float16), at(back), n)
    for column, (found, kind) in enumerate([(bfloat16, torch.bfloat16), (float16, torch.float16)]):
        expected = x.to(kind)
        real = ~torch.isnan(x).numpy()
        assert np.array_equal(found[real], expected.view(torch.int16).numpy().view(np.uint16)[real])
        assert np.isnan(back[~real, column]).all()
        assert np.array_equal(back[real, column], expected.float().numpy()[real])


def test_activations_are_accurate_near_0_and_do_not_overflow() -> None:
    x = np.concatenate([np.linspace(-12, 12, 4001), np.geomspace(1e-30, 1, 500), [1e3, -1e3, 3e38]])
    x = np.concatenate([x, [-3e38, np.inf, -np.inf, np.nan]]).astype(np.float32)
    out = np.zeros((len(x), 2), np.float32)
    probe().probe_activations(at(x), at(out), len(x))
    truth = torch.from_numpy(x).double()
    for column, expected in enumerate([truth.sigmoid().numpy(), truth.tanh().numpy()]):
        error = np.abs(out[:, column] - expected)
        assert (error[:-1] <= 1e-6 * np.abs(expected[:-1]) + 1e-37).all()
        assert np.isnan(out[-1, column])
