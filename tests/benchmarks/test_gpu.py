"""The GPU's benchmark without a GPU: its stages, its command, its tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import (
    __main__ as command,
)
from benchmarks.gpu import (
    caches,
    ceilings,
    clock,
    device_tests,
    record,
    reporter,
    sanitizer,
    stages,
    steps,
    training,
    tune,
)
from benchmarks.gpu.clock import HostClock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.stages import STAGES, Stage, run_all, run_stage
from benchmarks.pool import ROOT
from tests.support.cuda_emulation import module_path
from tests.support.gpu_cases import TINY_CASES


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
    monkeypatch.setattr(training, "run", lambda deadline, save: save({"left": deadline.left()}))
    found = {}
    for each in STAGES:
        path = tmp_path / f"{each.name}.json"
        one.main([each.name, str(path), "60"])
        found[each.name] = record.load(path)
    assert found["tests"] == {"left_out": "no_such_package not installed"}
    assert 0 < found["training"]["left"] <= 60
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
    device_tests.run(Deadline(100.0), found.update, ["."], tmp_path)
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
        device_tests.collect(["nothing"], tmp_path)


def test_the_kernels_tests_are_found() -> None:
    names = device_tests.collect(device_tests.FOLDERS, ROOT)
    files = {name.partition("::")[0] for name in names}
    operators = ("attention", "draw_scan", "lstm_cell", "registration")
    assert files >= {f"tests/device/test_{name}.py" for name in operators}
    assert files >= {"tests/cuda/test_layouts.py", "tests/triton/test_far_rows.py"}
    assert not files & set(device_tests.IGNORED)
    for tier in ("cuda", "triton"):
        assert sum(f"[{tier}" in name for name in names) > 90
    for name in device_tests.IGNORED:
        assert (ROOT / name).exists()


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
    device_tests.run(Deadline(8.0), found.update, ["."], tmp_path)
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
        "print('========= RACECHECK SUMMARY: 2 hazards displayed' if tool == 'racecheck' else\n"
        "      '========= ERROR SUMMARY: 0 errors')\n"
        "sys.exit(int(sys.argv[4]) if tool == 'racecheck' else 0)\n"
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
    assert found["synccheck"] == {"verdict": "clean", "summary": "ERROR SUMMARY: 0 errors"}
    monkeypatch.setattr(sanitizer, "program", lambda: None)
    missing: dict[str, Any] = {}
    sanitizer.run(Deadline(60.0), missing.update)
    assert missing == {"left_out": "compute-sanitizer is not available"}


def in_the_interpreter(code: str) -> str:
    pytest.importorskip("triton")
    return own_process(code, TRITON_INTERPRET="1")


def own_process(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **variables, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_what_is_sanitized_runs_every_kernel() -> None:
    out = in_the_interpreter("from benchmarks.gpu.sanitized import main; main('cpu')")
    assert "17 calls of 5 operators on triton; cuda cannot run here: torch sees no GPU" in out


@pytest.mark.slow
def test_what_is_sanitized_runs_the_core_in_every_layout() -> None:
    out = own_process(
        "from benchmarks.gpu.sanitized import main; main('cpu')",
        DRAWGAN_CUDA_EMULATION=str(module_path()),
    )
    assert "triton cannot run here: torch sees no GPU; 29 calls of 5 operators on cuda" in out
    assert "left out" not in out


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
