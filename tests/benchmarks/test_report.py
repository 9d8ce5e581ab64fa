"""The benchmark report: its statistics, and that a page says what was measured and no more."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gate, report
from benchmarks.analysis import Run
from benchmarks.cases import CASES, build, noise
from benchmarks.products import Product, operations, products
from benchmarks.render import render
from benchmarks.targets import targets
from benchmarks.timing import Quantiles, ratios
from benchmarks.variants.torch_step import TorchStep

GROUP = "step/draw-paper/b128"
TINY = CASES["draw-paper"].scaled(
    image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, write_size=3, batch=3
)


def entry(label: str, rounds: list[dict[str, list[float]]], **others: Any) -> dict[str, Any]:
    nothing = {"gate": None, "missing": None, "disturbed": 0}
    return {"label": label, "rounds": rounds, **nothing, **others}


@pytest.fixture
def record() -> dict[str, Any]:
    """Two rounds; the second one's machine is twice as slow."""
    gated = {"gate": {"loss": 0.0, "gradient": 2e-6, "worst": "w", "tolerance": 1e-4}}
    library = [
        {"a|mkl": [0.03], "a|onednn": [0.02], "b|mkl": [0.01], "b|onednn": [0.02]},
        {"a|mkl": [0.06], "a|onednn": [0.04], "b|mkl": [0.02], "b|onednn": [0.04]},
    ]
    entries = [
        entry("eager", [{"": [0.5, 0.7, 0.6]}, {"": [1.2]}], **gated),
        entry("jax", [], missing="jax is not installed"),
        entry("ours", [{"": [0.1]}, {"": [0.2]}], disturbed=1, **gated),
        entry("floor: torch", library),
    ]
    group = {
        "key": GROUP,
        "title": "DRAW",
        "unit": "s",
        "date": "2026-01-02 03:04 UTC",
        "commit": "abc",
        "case": CASES["draw-paper"].to_json(),
        "batch": 128,
        "entries": entries,
    }
    machine = {"processor": "a CPU", "family": "1", "features": [], "threads": 2}
    environment = {
        "date": "2026-01-02 03:04 UTC",
        "commit": "abc",
        "machine": {**machine, "memory_gib": 1.0, "system": "Linux"},
        "versions": {"torch": "0"},
    }
    return {"environment": environment, "quick": False, "groups": [group]}


def test_quantiles_lie_between_order_statistics() -> None:
    assert Quantiles.of([3.0]) == Quantiles(3.0, 3.0, 3.0)
    assert Quantiles.of([30.0, 10.0, 20.0, 60.0, 50.0, 40.0]) == Quantiles(20.0, 35.0, 50.0)
    with pytest.raises(ValueError, match="at least one"):
        Quantiles.of([])


def test_a_ratio_is_taken_within_a_round(record: dict[str, Any]) -> None:
    # The ratio of the medians over all rounds would be 0.65 / 0.15.
    assert ratios([1.0, 8.0], [2.0, 4.0]) == [0.5, 2.0]
    ratio = Run(record).ratio(GROUP, "eager", "ours")
    assert ratio is not None
    assert ratio.p50 == pytest.approx(6.0)


def test_the_floor_is_each_products_best_library(record: dict[str, Any]) -> None:
    # One library for all products would give 0.04 and 0.08.
    assert Run(record).floor(GROUP) == pytest.approx([0.03, 0.06])


def test_the_best_library_is_chosen_over_all_rounds(record: dict[str, Any]) -> None:
    rounds = record["groups"][0]["entries"][3]["rounds"]
    rounds[1]["a|mkl"] = [0.03]  # lucky once; its median is 0.03, as is the other's
    rounds.append({"a|mkl": [0.9], "a|onednn": [0.02], "b|mkl": [0.01], "b|onednn": [0.02]})
    assert Run(record).floor(GROUP) == pytest.approx([0.03, 0.06, 0.03])


def test_targets_are_met_missed_or_not_measured(record: dict[str, Any]) -> None:
    run = Run(record)
    lines = {target.text: target for target in targets(threads=2)}
    assert lines["DRAW, B=128: times as fast as eager"].met(run) is True
    assert lines["DRAW, B=128: time over its matrix products"].met(run) is False
    assert lines["DRAW, B=128: times as fast as JAX/XLA"].met(run) is None
    assert lines["DRAW, B=64: times as fast as eager"].met(run) is None


def test_the_page_says_what_was_measured(record: dict[str, Any]) -> None:
    page = render(Run(record), ["bench-batch.png"])
    eager, alone = "6.00× (6.00–6.00)", "20.0× (20.0–20.0)"
    assert f"| DRAW, B=128: times as fast as eager | ≥ 4.5× | {eager} | {alone} | yes |" in page
    missing = "not measured |  | not measured"
    assert f"| DRAW, B=64: times as fast as eager | ≥ 5.5× | {missing} |" in page
    assert "- DRAW, B=128: time over its matrix products: 3.33×" in page
    assert "not measured: jax is not installed" in page
    assert "1 of the 6 turns" in page
    assert "images/bench-batch.png" in page


def test_a_quick_run_judges_nothing(record: dict[str, Any]) -> None:
    record["quick"] = True
    page = render(Run(record), [])
    assert "A quick run" in page
    assert "| yes |" not in page
    assert "**no**" not in page
    assert "Not met" not in page


def test_a_page_comes_from_a_record_without_running(record: dict[str, Any], tmp_path: Path) -> None:
    swept = copy.deepcopy(record["groups"][0])
    swept["key"] = "sweep/batch/16"
    record["groups"].append(swept)
    path = tmp_path / "benchmarks.json"
    path.write_text(report.to_text(record))
    assert json.loads(path.read_text()) == record
    report.main(["--from", str(path)])
    assert "bench-batch.png" in (tmp_path / "benchmarks.md").read_text()
    assert (tmp_path / "images" / "bench-batch.png").read_bytes()[1:4] == b"PNG"


def test_the_products_of_a_step_are_counted() -> None:
    rows = 64 * 128
    per_row = 520 * 1024 + 256 * 200 + 356 * 1024 + 256 * 35
    assert operations(CASES["draw-paper"]) == 3 * 2 * rows * per_row
    wide = {p.name: p for p in products(CASES["draw-gan-authors"])}
    assert wide["decoder, forward"] == Product("decoder, forward", 128, 420, 1600, 20)
    assert wide["discriminator 1, weight gradient"].depth == 3 * 64


def test_the_gate_lets_the_reference_through_and_a_wrong_step_not() -> None:
    expected = gate.truth(TINY)
    verdict = gate.check_step(TorchStep(TINY), TINY, 1e-5, expected)
    assert verdict.gradient < 1e-5

    class Wrong(TorchStep):
        def gradients(self, eps: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
            loss, found = super().gradients(eps)
            found["core.patch.bias"] *= 1.001
            return loss, found

    with pytest.raises(gate.WrongNumbers, match=r"core\.patch\.bias"):
        gate.check_step(Wrong(TINY), TINY, 1e-5, expected)


def test_a_step_moves_every_player_and_clears_its_gradients() -> None:
    case = CASES["draw-gan-authors"].scaled(
        image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, batch=3
    )
    step, before = TorchStep(case), build(case)
    step()
    for (name, now), then in zip(step.model.named_parameters(), before.parameters()):
        assert now.grad is None
        assert not torch.equal(now, then), name


def test_jax_gives_the_same_step() -> None:
    pytest.importorskip("jax")
    from benchmarks.variants.jax_step import JaxStep

    small = CASES["draw-gan-authors"].scaled(
        image_size=(6, 5), steps=2, hidden_size=4, latent_size=3, batch=3
    )
    for case in (TINY, small):
        gate.check_step(JaxStep(case), case, 1e-5, gate.truth(case))
        assert noise(case, build(case)).shape[-1] == 3
