"""The GPU's benchmark without a GPU: counts, gates and clocks, on the CPU."""

from __future__ import annotations

import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import gate
from benchmarks.cases import CASES, LSTMShape
from benchmarks.gate import WrongNumbers
from benchmarks.gpu import (
    caches,
    ceilings,
    clock,
    graphs,
    operators,
    step_variants,
    steps,
)
from benchmarks.gpu.clock import DeviceClock, HostClock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.graphs import Graphed
from benchmarks.gpu.operator_cases import LARGE, OperatorCase, turns
from benchmarks.gpu.operators import Timed, Variant
from benchmarks.gpu.steps import Entry, Group
from benchmarks.gpu.targets import targets
from drawgan_fast import DrawWeights
from tests.support.gpu_cases import SCAN, TINY, TINY_CASES, fast_backend


@pytest.mark.parametrize("case", TINY_CASES, ids=lambda case: case.key)
def test_bytes_are_each_input_and_output_once(case: OperatorCase) -> None:
    variant = Variant("eager", case, "cpu")
    with torch.no_grad():
        outputs = list(variant.operation.run(variant.operation.inputs))
    numbers = sum(t.numel() for t in (*variant.operation.inputs, *outputs))
    if case.op == "draw_scan":  # mu and log_sigma, which the operation does not hand on
        numbers += 2 * SCAN.steps * SCAN.batch * SCAN.latent_size
    if case.op == "draw_generate":  # nor does a sample look at the posterior's weights
        named = zip(DrawWeights._fields, variant.operation.inputs[1:])
        numbers -= sum(w.numel() for n, w in named if n.startswith(("enc_", "posterior_", "read_")))
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
        for label in ("eager", "ours", "cuda"):
            assert len(entries[label]["rounds"]) == 2, group["key"]
            assert 0 < entries[label]["call"]["p50"] < 1
            assert entries[label]["host"]["p50"] > 0
            assert entries[label]["gate"]["error"] <= entries[label]["gate"]["tolerance"]
        assert entries["ours-graph"]["missing"] == "no CUDA graphs on cpu"
        assert entries["cuda-graph"]["missing"] == "no CUDA graphs on cpu"
        assert ("nn.LSTMCell" in entries) == (group["op"] == "lstm_cell")


def test_the_core_multiplies_windows_in_float32(measured: dict[str, Any]) -> None:
    """And is held to that ceiling; recurrences and cells to that of their precision."""
    for group in measured["groups"]:
        units = {e["label"]: e["unit"] for e in group["entries"]}
        attention = group["op"].startswith("attention")
        expected = "bf16" if group["precision"] == "autocast" else "fp32"
        assert units["cuda"] == units["cuda-graph"] == ("fp32" if attention else expected)


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
    assert len(set(keys)) == len(keys) == 58
    wanted = {t.key for t in targets() if getattr(t, "stage", "operators") == "operators"}
    assert wanted <= set(keys[:22])
    grouped = {g.key: {e.label for e in g.entries} for g in steps.groups()}
    for target in targets():
        if getattr(target, "stage", "") == "steps":
            labels = getattr(target, "labels", None) or (*target.slow, *target.fast)
            assert set(labels) <= grouped[target.key]
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
    entries = [Entry(v, "fp32", SCAN) for v in ("eager", "ours", "ours-graph", "cuda")]
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
        "cuda/fp32",
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
    labels = ["eager", "ours-graph", "cuda-graph"]
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
