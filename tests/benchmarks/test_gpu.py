"""The GPU's benchmark, as far as it runs without one: counts, stages, pages, and both timers."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import gate
from benchmarks.cases import CASES, AttentionShape, LSTMShape
from benchmarks.gate import WrongNumbers
from benchmarks.gpu import (
    __main__ as command,
)
from benchmarks.gpu import (
    caches,
    ceilings,
    clock,
    device_tests,
    graphs,
    operators,
    record,
    reporter,
    sanitizer,
    stages,
    step_variants,
    steps,
    tune,
)
from benchmarks.gpu.clock import DeviceClock, HostClock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.graphs import Graphed
from benchmarks.gpu.operator_cases import LARGE, SMALL, OperatorCase, turns
from benchmarks.gpu.operators import Timed, Variant
from benchmarks.gpu.render import render
from benchmarks.gpu.stages import STAGES, Stage, run_all, run_stage
from benchmarks.gpu.steps import Entry, Group
from benchmarks.gpu.targets import targets
from benchmarks.operators import MODES
from benchmarks.pool import ROOT
from drawgan_fast import backends

TINY = AttentionShape(2, 1, 6, 7, 3)
CELL = LSTMShape(3, 4, 5)
SCAN = CASES["draw-paper"].scaled(
    image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, write_size=3, batch=3
)
TINY_CASES = [
    *(
        OperatorCase(op, TINY, mode, precision)
        for op in ("attention_read", "attention_write")
        for mode in MODES
        for precision in ("fp32", "bf16")
    ),
    *(OperatorCase("lstm_cell", CELL, mode, p) for mode in MODES for p in ("fp32", "autocast")),
    *(OperatorCase("draw_scan", SCAN, mode, "fp32") for mode in MODES),
]


def fast_backend() -> str:
    """What stands for ours on a CPU."""
    return "native" if backends()["native"] is None else "reference"


# --------------------------------------------------------------------------- counts


@pytest.mark.parametrize("case", TINY_CASES, ids=lambda case: case.key)
def test_bytes_are_each_input_and_output_once(case: OperatorCase) -> None:
    variant = Variant("eager", case, "cpu")
    with torch.no_grad():
        outputs = list(variant.operation.run(variant.operation.inputs))
    numbers = sum(t.numel() for t in (*variant.operation.inputs, *outputs))
    if case.op == "draw_scan":  # mu and log_sigma, which the operation does not hand on
        numbers += 2 * SCAN.steps * SCAN.batch * SCAN.latent_size
    if case.backward:
        numbers += numbers + sum(t.numel() for t in variant.operation.wanted)
    if case.op == "attention_write" and case.backward:
        # The canvas is not looked at again, and its gradient is the output's own.
        numbers -= 2 * variant.operation.inputs[1].numel()
    assert case.counts().bytes == case.dtype.itemsize * numbers


def test_operations_are_those_of_the_products() -> None:
    read = OperatorCase("attention_read", LARGE, "forward", "fp32").counts()
    images, N, side = 2 * 1024 * 3, 12, 64
    assert read.operations == 2 * images * (N * side * side + N * N * side)
    assert read.bytes == 4 * (2 * 1024 * 3 * side * side + 1024 * 5 + images * N * N)
    write = OperatorCase("attention_write", LARGE, "forward+backward", "bf16").counts()
    assert 2 * write.operations == 3 * read.operations
    cell = OperatorCase("lstm_cell", LSTMShape(128, 264, 256), "forward", "tf32").counts()
    assert cell.operations == 2 * 128 * 520 * 1024
    scan = OperatorCase("draw_scan", CASES["draw-paper"], "forward+backward", "fp32").counts()
    assert scan.operations == pytest.approx(47.05e9 * 1.009, rel=2e-3)


# --------------------------------------------------------------------------- stages


def stage(name: str, code: str, share: float = 1.0, **others: Any) -> Stage:
    code = f"import sys, json, time; out = open(sys.argv[1], 'w'); {code}"
    return Stage(name, name, share, (sys.executable, "-c", code), **others)


GOOD = stage("good", "out.write(json.dumps({'seconds': float(sys.argv[2])}))")
CRASH = stage("crash", "out.write('{\"half\": 1}'); out.flush(); print('why'); sys.exit(3)")
HANG = stage("hang", "out.write('{\"half\": 2}'); out.flush(); time.sleep(600)", share=0.5)


def test_a_stage_that_crashes_or_hangs_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "GRACE", 0.5)
    found: dict[str, dict[str, Any]] = {}
    run_all([CRASH, HANG, GOOD], 9.0, found.__setitem__)
    assert list(found) == ["crash", "hang", "good"]
    assert found["crash"]["status"] == "failed"
    assert found["crash"]["reason"] == "ended with code 3"
    assert found["crash"]["output"] == ["why"]
    assert found["crash"]["result"] == {"half": 1}
    assert found["hang"]["status"] == "timed out"
    assert found["hang"]["result"] == {"half": 2}
    assert found["hang"]["seconds"] < 5
    assert found["good"]["status"] == "done"
    assert found["good"]["result"]["seconds"] > 3  # what the others left


def test_a_stage_runs_beside_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stages, "GRACE", 0.5)
    here = tmp_path / "here"
    waits = stage("waits", f"[time.sleep(0.05) for _ in range(100) if not __import__('os').path.exists({str(here)!r})]; out.write('{{}}')")  # fmt: skip # noqa: E501
    comes = stage("comes", f"open({str(here)!r}, 'w').close(); out.write('{{}}')", 0, beside="waits")  # fmt: skip # noqa: E501
    found: dict[str, dict[str, Any]] = {}
    run_all([waits, comes], 8.0, found.__setitem__)
    assert {name: s["status"] for name, s in found.items()} == {"waits": "done", "comes": "done"}
    assert found["waits"]["seconds"] < 4


def test_no_stage_is_begun_without_time() -> None:
    found: dict[str, dict[str, Any]] = {}
    run_all([GOOD], 1.0, found.__setitem__)
    assert found == {"good": {"status": "left out", "reason": "no time was left"}}


def test_every_stage_has_a_function() -> None:
    from benchmarks.gpu.stage import RUN

    assert sorted(RUN) == sorted(s.name for s in STAGES)


def test_every_stage_writes_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage's function with its own arguments, on what is small enough for a CPU."""
    from benchmarks.gpu import operator_cases
    from benchmarks.gpu import stage as one

    monkeypatch.setattr(clock, "clock", lambda device: HostClock())
    monkeypatch.setattr(operator_cases, "turns", lambda: [(TINY_CASES[0], False)])
    monkeypatch.setattr(steps, "groups", list)
    monkeypatch.setattr(caches, "turns", list)
    monkeypatch.setattr(tune, "buckets", lambda device: [])
    monkeypatch.setattr(tune, "TABLE", tmp_path / "tuned.json")
    monkeypatch.setattr(sanitizer, "program", lambda: None)
    monkeypatch.setattr(device_tests, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(ceilings, "run", partial(ceilings.run, copied=2**16, side=32))
    found = {}
    for each in STAGES:
        path = tmp_path / f"{each.name}.json"
        one.main([each.name, str(path), "60"])
        found[each.name] = record.load(path)
    assert found["tests"] == {"left_out": "no_such_package not installed"}
    assert found["compile"] == {"compiled": [], "left_out": []}
    assert found["ceilings"]["bandwidth"]["p50"] > 0
    assert [g["key"] for g in found["operators"]["groups"]] == [TINY_CASES[0].key]
    assert found["steps"] == {"groups": [], "left_out": []}
    assert found["sanitizer"] == {"left_out": "compute-sanitizer is not available"}
    assert found["tune"] == {"buckets": [], "left_out": []}


def test_it_needs_torch_alone(tmp_path: Path) -> None:
    """Whatever else is missing, every file can be imported, and a record be made into a page."""
    code = """
import sys
for name in ("numpy", "scipy", "jax", "hypothesis", "pytest", "pytest_timeout", "triton", "sklearn",
             "matplotlib", "pydantic", "typer", "rich", "safetensors", "torchmetrics", "PIL"):
    sys.modules[name] = None  # not found
import benchmarks.gpu.__main__, benchmarks.gpu.stage, benchmarks.gpu.step_worker
from benchmarks.gpu import caches, ceilings, device_tests, operators, sanitized, sanitizer, steps
from benchmarks.gpu import tune
sys.exit(benchmarks.gpu.__main__.main(["--render", "--page", sys.argv[1]]))
"""
    page = tmp_path / "gpu.md"
    done = subprocess.run(
        [sys.executable, "-c", code, str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert page.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == command.NO_GPU
    assert done.stdout == ""
    assert "needs a GPU, and torch" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_stage_without_a_gpu_is_recorded_as_failed() -> None:
    found = run_stage(next(s for s in STAGES if s.name == "ceilings"), 60.0)
    assert found["status"] == "failed"
    assert found["result"] is None
    assert any("CUDA" in line for line in found["output"])


def test_a_run_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.machine, "describe", lambda: None)
    tested = {"passed": 1, "failed": 1, "error": 0, "skipped": 0, "not run": 2, "failures": ["a"]}
    assert command._tests("tests", {"result": tested}) == [
        "1 passed, 1 failed, 0 error, 0 skipped, 2 not run",
        "a",
    ]
    assert command.measure([CRASH, GOOD], tmp_path, 60.0) == 1
    written = record.load(tmp_path / "gpu.json")
    assert {name: s["status"] for name, s in written["stages"].items()} == {
        "crash": "failed",
        "good": "done",
    }
    assert "# On a GPU" in (tmp_path / "gpu.md").read_text()
    assert (tmp_path / "gpu.log").read_text() == "==== crash\nwhy\n\n==== good\n\n"


def test_a_run_that_is_stopped_leaves_no_stage_behind() -> None:
    def stopped(name: str, found: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    quick = stage("quick", "out.write('{}')")
    long = stage("long", "time.sleep(600)", 0, beside="quick")
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all([quick, long], 300.0, stopped)
    assert time.monotonic() - begin < 30
    assert not stages._running


# --------------------------------------------------------------------------- timers


def test_quantiles_and_rounds_of_fake_timings() -> None:
    timed = Timed("ours", {"error": 0.0, "tolerance": 1.0})
    timed.call = [[3e-6, 1e-6, 2e-6], [5e-6, 4e-6, 6e-6]]
    timed.device = [1e-6]
    found = timed.to_json()
    assert found["samples"] == 6
    assert found["rounds"] == pytest.approx([2e-6, 5e-6])
    assert found["call"] == pytest.approx({"p20": 2e-6, "p50": 3.5e-6, "p80": 5e-6})
    assert found["device"]["p80"] == 1e-6
    assert found["host"] is None


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """Every kind of case, on the CPU."""
    saved: dict[str, Any] = {}
    cases = [(case, False) for case in TINY_CASES]
    options: dict[str, Any] = {"rounds": 2, "seconds": 0.0, "ours": fast_backend()}
    operators.run(HostClock(), cases, Deadline(120.0), saved.update, **options)
    return saved


def test_operators_are_gated_and_timed(measured: dict[str, Any]) -> None:
    assert [g["key"] for g in measured["groups"]] == [case.key for case in TINY_CASES]
    assert measured["left_out"] == []
    for group in measured["groups"]:
        entries = {e["label"]: e for e in group["entries"]}
        for label in {"eager", "ours"}:
            assert len(entries[label]["rounds"]) == 2, group["key"]
            assert 0 < entries[label]["call"]["p50"] < 1
            assert entries[label]["host"]["p50"] > 0
            assert entries[label]["gate"]["error"] <= entries[label]["gate"]["tolerance"]
        assert entries["ours-graph"]["missing"] == "no CUDA graphs on cpu"
        assert ("nn.LSTMCell" in entries) == (group["op"] == "lstm_cell")


def test_a_wrong_variant_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Variant.forward

    def wrong(self: Variant) -> Any:
        outputs = list(forward(self))
        return [1.01 * o for o in outputs] if self.backend == fast_backend() else outputs

    monkeypatch.setattr(Variant, "forward", wrong)
    if fast_backend() == "reference":
        pytest.skip("nothing stands for ours beside the reference")
    case = TINY_CASES[0]
    group = operators.measure(
        case, HostClock(), ["eager", "ours"], rounds=1, seconds=0.0, ours=fast_backend()
    )
    eager, ours = group["entries"]
    assert eager["samples"] > 0
    assert ours["samples"] == 0
    assert ours["missing"].startswith("wrong numbers: error 1.0")


def test_what_is_not_finite_does_not_pass_the_gate() -> None:
    variant = Variant("eager", TINY_CASES[0], "cpu")
    expected = operators.truth(TINY_CASES[0], "cpu")
    assert operators.check(variant, expected)["error"] < 1e-5
    variant.operation.inputs[0].fill_(float("nan"))
    with pytest.raises(WrongNumbers, match="error inf"):
        operators.check(variant, expected)


def test_no_case_is_begun_without_time() -> None:
    saved: dict[str, Any] = {}
    operators.run(HostClock(), [(TINY_CASES[0], True)], Deadline(0.0), saved.update)
    assert saved == {
        "groups": [],
        "left_out": [f"{TINY_CASES[0].key}, torch.compile: no time was left"],
    }


def test_what_targets_need_is_measured_first() -> None:
    order = turns()
    keys = [case.key for case, compiled in order if not compiled]
    assert len(set(keys)) == len(keys) == 52
    wanted = {t.key for t in targets() if getattr(t, "stage", "operators") == "operators"}
    assert wanted <= set(keys[:12])
    grouped = {g.key: {e.label for e in g.entries} for g in steps.groups()}
    for target in targets():
        if getattr(target, "stage", "") == "steps":
            assert {target.slow, *target.fast} <= grouped[target.key]
    assert len(grouped) == 5


@pytest.mark.slow
def test_operators_compile() -> None:
    case = OperatorCase("attention_write", TINY, "forward", "bf16")
    group = operators.measure(
        case, HostClock(), ["compile", "compile-overhead"], rounds=1, seconds=0.0
    )
    assert [e["missing"] for e in group["entries"]] == [None, None]
    found: dict[str, Any] = {}
    caches.run(Deadline(60.0), found.update, groups=[], cases=[case], device="cpu")
    assert found["compiled"] == [f"{case.key}/compile", f"{case.key}/compile-overhead"]


def test_ceilings_are_rates() -> None:
    found: dict[str, Any] = {}
    ceilings.run(HostClock(), Deadline(60.0), found.update, copied=2**16, side=32)
    assert set(found) >= {"bandwidth", "fp32", "tf32", "bf16"}
    assert 1e6 < found["bandwidth"]["p50"] < 1e13
    assert found["fp32"]["p20"] <= found["fp32"]["p50"] <= found["fp32"]["p80"]
    assert ceilings.unit_rate(found, "tf32x3") == found["tf32"]["p50"] / 3
    assert ceilings.unit_rate({}, "bf16") is None


def test_steps_are_gated_and_timed_in_turns() -> None:
    entries = [Entry(v, "fp32", SCAN) for v in ("eager", "ours", "ours-graph")]
    entries.append(Entry("ours", "bf16", SCAN))
    plain = CASES["draw-authors"].scaled(
        image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, batch=3
    )
    entries.append(Entry("eager", "fp32", plain))
    saved: dict[str, Any] = {}
    group, late = Group("a", SCAN, tuple(entries)), Group("b", SCAN, ())
    steps.run(
        [group],
        Deadline(120.0),
        saved.update,
        device="cpu",
        ours=fast_backend(),
        rounds=2,
        least=0.0,
    )
    (found,) = saved["groups"]
    by_label = {e["label"]: e for e in found["entries"]}
    assert set(by_label) == {
        "eager/fp32",
        "ours/fp32",
        "ours-graph/fp32",
        "ours/bf16",
        "plain DRAW: eager/fp32",
    }
    assert by_label["ours-graph/fp32"]["missing"] == "no CUDA graphs on cpu"
    for label in set(by_label) - {"ours-graph/fp32"}:
        taken = by_label[label]
        assert taken["missing"] is None, label
        assert len(taken["rounds"]) == 2
        assert 0 < taken["step"]["p50"] < 1
        assert taken["gate"]["gradient"] <= taken["gate"]["tolerance"]
    assert by_label["eager/fp32"]["gate"]["tolerance"] == 1e-4
    assert by_label["ours/bf16"]["gate"]["tolerance"] > 1e-4
    steps.run([late], Deadline(0.0), saved.update, device="cpu")
    assert saved["left_out"] == ["b: no time was left"]


def test_a_step_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOAD", 0.0)
    saved: dict[str, Any] = {}
    group = Group("a", SCAN, (Entry("eager", "fp32", SCAN),))
    steps.run([group], Deadline(60.0), saved.update, device="cpu", least=0.0)
    (entry,) = saved["groups"][0]["entries"]
    assert entry["missing"] == "eager/fp32: no answer within 1 s"
    assert entry["step"] is None


# --------------------------------------------------------------------------- CUDA, pretended


class Event:
    """Takes the host's time."""

    def __init__(self, enable_timing: bool = False) -> None:
        assert enable_timing
        self.at: float | None = None

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        assert self.at is not None

    def elapsed_time(self, end: Event) -> float:
        assert self.at is not None
        assert end.at is not None
        return 1e3 * (end.at - self.at)


class Stream:
    def wait_stream(self, other: Stream) -> None:
        assert isinstance(other, Stream)


class CUDAGraph:
    def replay(self) -> None:
        raise AssertionError("a pretended graph is called anew")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """CUDA as far as the timers use it, on the CPU; the sleeps that were asked for."""
    sleeps: list[int] = []
    properties = SimpleNamespace(L2_cache_size=2**16, clock_rate=1000)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", CUDAGraph)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "_sleep", sleeps.append)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(graphs, "check", lambda device: None)
    monkeypatch.setattr(clock, "LAUNCHES_AHEAD", 0.5)

    def replay(self: Graphed) -> Any:
        torch.utils._pytree.tree_map(write, self.result, self.call())
        return self.result

    def write(old: Any, new: Any) -> None:
        if isinstance(old, torch.Tensor):
            old.detach().copy_(new.detach())

    monkeypatch.setattr(Graphed, "__call__", replay)
    return sleeps


def test_times_by_events(slept: list[int]) -> None:
    timer = DeviceClock("cpu")
    assert 0.01 <= timer.call(lambda: time.sleep(0.01)) < 0.1
    assert 0.01 <= timer.region(lambda: time.sleep(0.01), 3) < 0.1
    assert 0.01 <= timer.host(lambda: time.sleep(0.01), 3) < 0.1
    assert slept == []
    alone = timer.ahead(lambda: time.sleep(0.002), 0.002)
    assert alone is not None
    assert 0.002 <= alone < 0.1
    assert slept == [int(1e6 * (2 * 0.002 + 2e-4))]  # 1 MHz
    assert timer.ahead(lambda: None, 1.0) is None  # never so far ahead


@pytest.mark.parametrize("case", TINY_CASES, ids=lambda case: case.key)
def test_graphs_of_operators(slept: list[int], case: OperatorCase) -> None:
    labels = ["eager", "ours-graph"]
    options: dict[str, Any] = {"rounds": 1, "seconds": 0.0, "ours": fast_backend()}
    group = operators.measure(case, DeviceClock("cpu"), labels, **options)
    for entry in group["entries"]:
        assert entry["missing"] is None
        assert entry["device"]["p50"] > 0
    assert slept


@pytest.mark.parametrize("model", ["draw", "draw-gan"])
def test_graphs_of_steps(slept: list[int], model: str) -> None:
    case = SCAN
    if model == "draw-gan":
        case = CASES["draw-gan-authors"].scaled(
            image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, batch=3
        )
    for precision in ("fp32", "bf16"):
        step = step_variants.make("ours-graph", case, precision, "cpu", fast_backend())
        expected = gate.truth(case)
        allowed = 2 * expected.bfloat16 if precision == "bf16" else 1e-4
        assert gate.check_step(step, case, allowed, expected).gradient > 0
        before = [p.detach().clone() for p in step.step.model.parameters()]
        step()
        moved = [bool((a != b).any()) for a, b in zip(before, step.step.model.parameters())]
        assert all(moved)


# --------------------------------------------------------------------------- tests, tools


def test_tests_are_collected_shared_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('i', range(3))\n"
        "def test_good(i): pass\n"
        "@pytest.mark.timeout(900)\n"
        "def test_bad(): assert 1 == 2\n"
        "def test_skipped(): pytest.skip('why')\n"
        "@pytest.fixture\n"
        "def broken(): yield; raise OSError('torn')\n"
        "def test_broken(broken): pass\n"
    )
    found: dict[str, Any] = {}
    device_tests.run(Deadline(100.0), found.update, ".", tmp_path)
    assert {name: found[name] for name in (*reporter.OUTCOMES, "not run")} == {
        "passed": 3,
        "failed": 1,
        "error": 1,
        "skipped": 1,
        "not run": 0,
    }
    assert sorted(found["failures"]) == [
        "test_some.py::test_bad: assert 1 == 2",
        "test_some.py::test_broken: OSError: torn",
    ]
    with pytest.raises(RuntimeError, match="no test was collected"):
        device_tests.collect("nothing", tmp_path)


def test_the_kernels_tests_are_found() -> None:
    names = device_tests.collect(device_tests.FOLDER, ROOT)
    files = {name.partition("::")[0].rpartition("/")[2] for name in names}
    assert files >= {"test_attention.py", "test_draw_scan.py", "test_lstm_cell.py"}
    assert not files & set(device_tests.IGNORED)
    assert len(names) > 90
    for name in device_tests.IGNORED:
        assert (ROOT / device_tests.FOLDER / name).exists()


def test_tests_that_do_not_finish_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_tests, "_processes", lambda: 1)
    (tmp_path / "test_some.py").write_text(
        "import time\n"
        "def test_done(): pass\n"
        "def test_long(): time.sleep(600)\n"
        "def test_after(): pass\n"
    )
    found: dict[str, Any] = {}
    device_tests.run(Deadline(8.0), found.update, ".", tmp_path)
    assert found["passed"] == 1
    assert found["not run"] == 2
    assert found["left_out"] == "1 of 1 processes were not done in time"


def fake_sanitizer(folder: Path) -> str:
    """Finds races, and nothing else."""
    path = folder / "compute-sanitizer"
    path.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "tool = sys.argv[sys.argv.index('--tool') + 1]\n"
        "print('========= ERROR SUMMARY: 0 errors' if tool == 'memcheck' else\n"
        "      '========= RACECHECK SUMMARY: 2 hazards displayed')\n"
        "sys.exit(0 if tool == 'memcheck' else int(sys.argv[4]))\n"
    )
    path.chmod(0o755)
    return str(path)


def test_the_sanitizers_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    checked = (sys.executable, "-c", "print('ran')")
    sanitizer.run(Deadline(60.0), found.update, fake_sanitizer(tmp_path), checked)
    assert found["alone"] == {"verdict": "clean", "summary": "ran"}
    assert found["memcheck"] == {"verdict": "clean", "summary": "ERROR SUMMARY: 0 errors"}
    assert found["racecheck"]["verdict"] == "found"
    assert found["racecheck"]["summary"] == "RACECHECK SUMMARY: 2 hazards displayed"
    monkeypatch.setattr(sanitizer, "program", lambda: None)
    missing: dict[str, Any] = {}
    sanitizer.run(Deadline(60.0), missing.update)
    assert missing == {"left_out": "compute-sanitizer is not available"}


def in_the_interpreter(code: str) -> str:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_what_is_sanitized_runs_every_kernel() -> None:
    out = in_the_interpreter("from benchmarks.gpu.sanitized import main; main('cpu')")
    assert "16 calls of 4 operators on triton" in out


@pytest.mark.slow
def test_launches_are_tried_and_the_faster_ones_kept(tmp_path: Path) -> None:
    table = tmp_path / "tuned.json"
    table.write_text('{"another/key": {"num_warps": 2}}')
    code = f"""
import json
from pathlib import Path
from benchmarks.cases import AttentionShape
from benchmarks.gpu import tune
from benchmarks.gpu.clock import DeviceClock, HostClock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.graphs import Graphed
from drawgan_fast.backends.triton import launch

class Clock(HostClock):  # twice as fast with blocks of 16 and one warp
    def host(self, call, calls): return 1.0
    def ahead(self, call, host):
        chosen = launch.attention_launch("attention_read", "interpreter", 5, 6, 2)
        return 1.0 if chosen["num_warps"] == 1 else 2.0

tune.BUCKETS = ((AttentionShape(1, 1, 5, 6, 2),),)
tune.SAMPLES = 3
tune.KERNELS = {{"attention_read": ("attention_read", "forward")}}
found = {{}}
tune.run(Clock(), Deadline(60.0), found.update, Path({str(table)!r}))
print(json.dumps(found))
"""
    (bucket,) = json.loads(in_the_interpreter(code))["buckets"]
    assert bucket["key"] == "attention_read/interpreter/16/16/16"
    assert [t["gain"] for t in bucket["tried"]] == [2.0, 1.0]
    kept = {"BLOCK_H": 16, "BLOCK_W": 16, "num_warps": 1, "PRECISION": "ieee"}
    assert bucket["chosen"] == kept
    assert json.loads(table.read_text()) == {"another/key": {"num_warps": 2}, bucket["key"]: kept}


def test_every_bucket_is_one_launch() -> None:
    code = (
        "from benchmarks.gpu import tune; from drawgan_fast.backends.triton import launch;"
        "launch.target = lambda device: 'sm_90'; print(*[b.key for b in tune.buckets('cuda')])"
    )
    keys = in_the_interpreter(code).split()
    assert keys[:2] == ["draw_boundary/sm_90/16/32/32", "attention_read/sm_90/16/32/32"]
    assert len(set(keys)) == len(keys) == len(tune.KERNELS) * len(tune.BUCKETS)


@pytest.mark.slow
def test_every_tuned_kernel_is_gated_and_timed() -> None:
    code = """
from benchmarks.cases import AttentionShape
from benchmarks.gpu import tune
from benchmarks.gpu.clock import HostClock

tune.SAMPLES = 1
shape = AttentionShape(2, 1, 5, 6, 2)
for kernel in tune.KERNELS:
    bucket = tune.Bucket(kernel, tune._key(kernel, "interpreter", shape), (shape,))
    (seconds,) = tune.times(bucket, {"num_warps": 1}, HostClock())
    assert seconds > 0, kernel
boundary = tune.Boundary(shape, "cpu")
boundary.forward = lambda: None
try:
    boundary.check()
except tune.WrongNumbers as wrong:
    print(wrong)
"""
    assert in_the_interpreter(code) == "error inf, tolerance 1.00e-04\n"


# --------------------------------------------------------------------------- pages


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

    def operator(op: str, shape: AttentionShape, *entries: dict[str, Any]) -> dict[str, Any]:
        case = OperatorCase(op, shape, "forward", "fp32")
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
        {"key": "lstm_cell/b128/264-256/forward/fp32", "failed": "OutOfMemoryError: none left"},
    ]  # fmt: skip
    eager = entry("eager/fp32", [0.5, 1.0], variant="eager", precision="fp32")
    overhead = entry(
        "compile-overhead/fp32", [], variant="compile-overhead", precision="fp32",
        missing="compile-overhead/fp32: no answer within 60 s",
    )  # fmt: skip
    ours = entry("ours/fp32", [0.02, 0.04], variant="ours", precision="fp32")
    case = CASES["draw-paper"]
    a_step = {"key": case.key, "case": case.to_json(), "entries": [eager, overhead, ours]}
    rate = {"p20": 1e12, "p50": 1e12, "p80": 1e12}
    results = {
        "tests": {"passed": 90, "failed": 1, "error": 0, "skipped": 9, "not run": 1,
                  "failures": ["tests.triton::test_a: off"], "left_out": "1 of 8 processes"},
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
    assert "- tests.triton::test_a: off" in page
    assert "- 1 of 8 processes" in page
    assert "Not measured: compute-sanitizer is not available." in page
    assert "| Tuned launches | timed out |  | not done after 20 s |" in page
    assert "not measured: compile-overhead/fp32: no answer within 60 s" in page
    # 0.5 s over 0.02 s in one round, 1.0 over 0.04 in the other.
    assert "| PyTorch eager | fp32 | 500 (500–500) | 256 | 25.0× (25.0–25.0) | 3.0e-06 |" in page
    assert "| ours | 50.0 (50.0–50.0)" in page
    assert "| 69 % | 14 % |" in page
    assert "a GPU, compute capability 9.0, 132 multiprocessors" in page


def test_a_page_comes_from_a_record_without_a_gpu(a_record: dict[str, Any], tmp_path: Path) -> None:
    record.save(tmp_path / "gpu.json", a_record)
    page = tmp_path / "gpu.md"
    assert command.main(["--render", str(tmp_path / "gpu.json"), "--page", str(page)]) == 0
    assert page.read_text() == render(a_record)


def test_nothing_measured_is_said_everywhere(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    assert command.main(["--render", "--page", str(page)]) == 0
    text = page.read_text()
    assert text.count("| not measured | not measured |") == len(targets())
    assert text.count("\nNot measured.\n") == 5
    assert "yes" not in text


def test_the_page_in_the_repository_is_what_its_record_gives() -> None:
    kept = ROOT / "docs" / "gpu.json"
    expected = record.load(kept) if kept.exists() else record.EMPTY
    assert (ROOT / "docs" / "gpu.md").read_text() == render(expected)
