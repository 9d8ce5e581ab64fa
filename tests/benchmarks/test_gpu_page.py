"""The GPU's page: it says what a record holds and nothing else."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import CASES
from benchmarks.gpu import (
    __main__ as command,
)
from benchmarks.gpu import (
    record,
)
from benchmarks.gpu.operator_cases import LARGE, SAMPLES, SCANS, SMALL, OperatorCase, Shape
from benchmarks.gpu.render import render
from benchmarks.gpu.targets import targets
from benchmarks.pool import ROOT


@pytest.fixture
def a_record() -> dict[str, Any]:
    """Made up: a read that is fast, a write that is not, a step without a graph."""

    def entry(label: str, rounds: list[float], **others: Any) -> dict[str, Any]:
        time = {"p20": rounds[0], "p50": rounds[0], "p80": rounds[0]} if rounds else None
        return {
            "label": label,
            "gate": {"error": 2e-6, "gradient": 3e-6, "tolerance": 1e-4} if rounds else None,
            "missing": None,
            "rounds": rounds,
            "call": time,
            "device": time,
            "host": time,
            "step": time,
            **others,
        }

    def operator(
        op: str, shape: Shape, *entries: dict[str, Any], mode: str = "forward", kind: str = "fp32"
    ) -> dict[str, Any]:
        case = OperatorCase(op, shape, mode, kind)
        count = case.counts()
        about = {"bytes": count.bytes, "operations": count.operations, "unit": "tf32x3"}
        return {"key": case.key, "op": op, **about, "entries": list(entries)}

    small, large = 90e-6, 50e-6
    failed = entry("compile", [], missing="wrong numbers: error 1.0e-01, tolerance 1.0e-04")
    groups = [
        operator("attention_read", SMALL, entry("eager", [small] * 2), failed,
                 entry("ours", [small / 9] * 2)),
        operator("attention_write", SMALL, entry("eager", [small] * 2),
                 entry("ours", [small / 5] * 2)),
        operator("attention_read", LARGE, entry("eager", [small] * 2),
                 entry("ours", [large] * 2)),
        operator("attention_write", LARGE, entry("ours", [10 * large] * 2)),
        operator("draw_scan", SCANS[0], entry("eager", [20e-3] * 2), entry("ours", [2e-3] * 2),
                 entry("cuda", [0.6e-3] * 2), entry("cuda-graph", [0.4e-3] * 2), kind="autocast"),
        operator("draw_scan", SCANS[0], entry("cuda", [1e-3] * 2), mode="forward+backward"),
        operator("draw_scan", SCANS[0], entry("eager", [1e-3] * 2, gate={"error": 1e-6}),
                 entry("cuda", [1e-3] * 2), mode="forward+backward", kind="autocast"),
        operator("draw_generate", SAMPLES, entry("cuda", [0.08] * 2), kind="autocast"),
        {"key": "lstm_cell/b128/264-256/forward/fp32", "failed": "OutOfMemoryError: none left"},
    ]  # fmt: skip
    eager = entry("eager/fp32", [0.5, 1.0], variant="eager", precision="fp32")
    overhead = entry(
        "compile-overhead/fp32", [], variant="compile-overhead", precision="fp32",
        missing="compile-overhead/fp32: no answer within 60 s",
    )  # fmt: skip
    ours = entry("ours/fp32", [0.02, 0.04], variant="ours", precision="fp32")
    case = CASES["draw-paper"]
    bf16 = [
        entry(f"{label}/bf16", rounds, variant=label, precision="bf16")
        for label, rounds in (("eager", [0.3] * 2), ("cuda", [0.002] * 2), ("cuda-graph", []))
    ]
    jax = entry("jax/fp32", [0.007, 0.007], variant="jax", precision="fp32")
    variants = [eager, overhead, ours, jax, *bf16]
    a_step = {"key": case.key, "case": case.to_json(), "entries": variants}
    rate = {"p20": 1e12, "p50": 1e12, "p80": 1e12}
    results = {
        "tests": {"passed": 90, "failed": 1, "error": 0, "skipped": 9, "not run": 1,
                  "failures": ["tests.device::test_a: off"], "left_out": "1 of 8 processes"},
        "ceilings": {"bandwidth": {"p20": 3e12, "p50": 3e12, "p80": 3e12},
                     "fp32": rate, "tf32": {k: 300 * v for k, v in rate.items()}, "bf16": rate},
        "operators": {"groups": groups, "left_out": ["draw_scan/b128: no time was left"]},
        "steps": {"groups": [a_step], "left_out": []},
        "sanitizer": {"left_out": "compute-sanitizer is not available"},
    }  # fmt: skip
    found = {name: {"status": "done", "seconds": 3.0, "result": r} for name, r in results.items()}
    found["tune"] = {"status": "timed out", "reason": "not done after 20 s", "result": None}
    machine = {"threads": 16, "processor": "a CPU", "memory_gib": 128, "system": "Linux"}
    gpu = {"name": "a GPU", "capability": "9.0", "multiprocessors": 132, "memory_gib": 79.6,
           "l2_mib": 50.0, "driver_version": "580"}  # fmt: skip
    environment = {"machine": machine, "gpu": gpu, "versions": {"torch": "2.11"}}
    environment["cuda_core"] = "built"  # type: ignore[assignment]
    return {"environment": {**environment, "commit": "abc", "date": "now"}, "stages": found}


def test_targets_are_met_missed_or_not_measured(a_record: dict[str, Any]) -> None:
    met = {target.text: target.met(a_record) for target in targets()}
    small, large = "1×28×28, N=5, batch 128", "3×64×64, N=12, batch 1024"
    assert met[f"`attention_read` {small}, forward: times as fast as eager"] is True
    assert met[f"`attention_write` {small}, forward: times as fast as eager"] is False
    assert met[f"`attention_read` {small}, forward+backward: times as fast as eager"] is None
    # 104 MB in 50 µs are 2.1 TB/s of 3.
    assert met[f"`attention_read` {large}, forward: of the ceilings"] is True
    assert met[f"`attention_write` {large}, forward: of the ceilings"] is False
    assert met["DRAW step, batch 128: over eager"] is True
    assert met["the same: over torch.compile, reduce-overhead"] is None
    assert met["DRAW-GAN step, batch 64: over plain DRAW in eager"] is None


def test_targets_of_the_core(a_record: dict[str, Any]) -> None:
    found = {t.text: (t.measured(a_record), t.met(a_record)) for t in targets()}
    core = {text: line for text, line in found.items() if "CUDA C++" in text or "the same" in text}
    del core["the same: over torch.compile, reduce-overhead"]
    assert core == {
        "CUDA C++: DRAW forward, batch 128, bf16": ("0.4 ms", True),
        "CUDA C++: DRAW step, batch 128, bf16": ("2 ms", True),
        "the same: over eager, bf16": ("150× (150–150)", True),
        "the same: over the best of compile and JAX": ("3.5× (3.5–3.5)", False),
        "CUDA C++: DRAW step, batch 1024, bf16: over eager": (None, None),
        "CUDA C++: sampling 10,000 digits, bf16": ("80 ms", False),
        "CUDA C++: DRAW and gradients, fp32: error": ("2e-06", True),
        "the same, bf16: error over eager autocast's": ("2×", True),
    }


def test_the_page_says_what_was_measured(a_record: dict[str, Any]) -> None:
    page = render(a_record)
    read = "`attention_read` 1×28×28, N=5, batch 128, forward: times as fast as eager"
    assert f"| {read} | ≥ 8× | 9× (9–9) | yes |" in page
    write = "`attention_write` 1×28×28, N=5, batch 128, forward: times as fast as eager"
    assert f"| {write} | ≥ 8× | 5× (5–5) | **no** |" in page
    assert f"- {write}: 5× (5–5), required ≥ 8×" in page
    assert "over torch.compile, reduce-overhead | ≥ 2× | not measured | not measured |" in page
    assert "not measured: wrong numbers: error 1.0e-01, tolerance 1.0e-04" in page
    assert "Not measured: OutOfMemoryError: none left." in page
    assert "- draw_scan/b128: no time was left" in page
    assert "| 90 | 1 | 0 | 9 | 1 |" in page
    assert "- tests.device::test_a: off" in page
    assert "- 1 of 8 processes" in page
    assert "Not measured: compute-sanitizer is not available." in page
    assert "| Tuned launches | timed out |  | not done after 20 s |" in page
    assert "not measured: compile-overhead/fp32: no answer within 60 s" in page
    # 0.5 s over 0.02 s in one round, 1.0 over 0.04 in the other.
    assert "| PyTorch eager | fp32 | 500 (500–500) | 256 | 25.0× (25.0–25.0) | 3.0e-06 |" in page
    assert "| ours, Triton | 50.0 (50.0–50.0)" in page
    assert "| 69 % | 14 % |" in page
    assert "a GPU, compute capability 9.0, 132 multiprocessors" in page
    assert "CUDA C++ core: built." in page


def test_a_page_comes_from_a_record_without_a_gpu(a_record: dict[str, Any], tmp_path: Path) -> None:
    record.save(tmp_path / "gpu.json", a_record)
    page = tmp_path / "gpu.md"
    assert command.main(["--render", str(tmp_path / "gpu.json"), "--page", str(page)]) == 0
    assert page.read_text() == render(a_record)


def test_a_second_record_adds_its_stages(a_record: dict[str, Any], tmp_path: Path) -> None:
    record.save(tmp_path / "gpu.json", a_record)
    trained = {"nats": 84.256, "test_digits": 10_000, "seconds": 580, "steps": 200_000}
    trained |= {"epochs": 426.7, "digits": 60_000, "backends": ["cuda"], "source": "From a folder."}
    stage = {"status": "done", "seconds": 600, "result": trained}
    other = {"environment": {"name": "another"}, "stages": {"training": stage}}
    record.save(tmp_path / "training.json", other)
    files, page = (
        [str(tmp_path / f"{name}.json") for name in ("gpu", "training")],
        tmp_path / "page",
    )
    assert command.main(["--render", *files, "--page", str(page)]) == 0
    text = page.read_text()
    assert "| reported | 84.26 nats, 427 epochs | yes |" in text
    assert "200,000 steps, 427 epochs of 60,000 digits, on cuda." in text
    for line in render(a_record).splitlines():
        assert line in text or "not run" in line or "not measured" in line.lower()


def test_nothing_measured_is_said_everywhere(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    assert command.main(["--render", "--page", str(page)]) == 0
    text = page.read_text()
    assert text.count("| not measured | not measured |") == len(targets())
    assert text.count("\nNot measured.\n") == 6
    assert "yes" not in text


def test_the_page_in_the_repository_is_what_its_record_gives() -> None:
    kept = [ROOT / "docs" / name for name in ("gpu.json", "gpu_training.json")]
    expected = record.joined([record.load(path) for path in kept if path.exists()])
    assert (ROOT / "docs" / "gpu.md").read_text() == render(expected)
