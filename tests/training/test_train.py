"""Runs in this process: what lies in the folder, what is refused, what stops a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.models import DRAWGAN, MODELS
from drawgan_fast.training import (
    Config,
    find_checkpoint,
    load_checkpoint,
    load_model,
    read_config,
    read_metrics,
    train,
)
from drawgan_fast.training.trainer import Trainer

Tiny = Callable[..., Config]


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_leaves_all_that_it_promises(tiny: Tiny, tmp_path: Path, console: Console) -> None:
    config = tiny(
        "train.steps=6",
        "train.sample_every=3",
        "train.checkpoint_every=2",
        "train.keep=2",
        "train.animation=true",
        "train.tensorboard=true",
    )
    run = tmp_path / "run"
    result = train(config, out=run, console=console)
    assert (result.step, result.total_steps, result.exit_code, result.finished) == (6, 6, 0, True)
    assert read_config(run) == config
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == [
        "step-00000004.safetensors",
        "step-00000006.safetensors",
    ]
    assert [p.name for p in sorted((run / "samples").iterdir())] == [
        "step-00000003.png",
        "step-00000006.png",
    ]
    for name in ("generation.gif", "reconstruction.gif"):
        assert (run / name).read_bytes().startswith(b"GIF8")
    assert (run / "losses.png").read_bytes().startswith(b"\x89PNG")
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == 1
    records = read_metrics(run / "metrics.jsonl")
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "reconstruction", "kl", "gradient_norm/generator"} <= records[0].keys()
    assert result.metrics == records[-1]
    assert "step 6/6" in said(console)
    assert "images/s" in said(console)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(run / "tensorboard"))
    curves.Reload()
    assert [e.value for e in curves.Scalars("loss")] == pytest.approx(
        [record["loss"] for record in records], rel=1e-6
    )


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_trains_resumes_and_loads(
    images: Path, tmp_path: Path, console: Console, model: str
) -> None:
    from drawgan_fast.training import load_config
    from tests.training.conftest import TINY

    rest = [setting for setting in TINY if not setting.startswith("model.")]
    if model.startswith("draw"):
        rest += ["model.steps=2", "model.hidden_size=8", "model.latent_size=2"]
    settings = [f"data.name={images}", f"model.name={model}", *rest]
    config = load_config("quick", settings=[*settings, "train.steps=4"])
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(config, out=whole, console=console)
    train(load_config("quick", settings=[*settings, "train.steps=2"]), out=halves, console=console)
    train(resume=halves, settings=["train.steps=4"], console=console)
    losses = [[r["loss"] for r in read_metrics(run / "metrics.jsonl")] for run in (whole, halves)]
    assert len(losses[0]) == 4
    assert losses[0] == losses[1]
    one, other = (load_checkpoint(find_checkpoint(run)) for run in (whole, halves))
    assert all(torch.equal(t, other.tensors[name]) for name, t in one.tensors.items())
    loaded = load_model(whole)
    assert loaded.generate(3).shape == (3, 1, 8, 8)


def test_the_loss_falls(tiny: Tiny, tmp_path: Path, console: Console) -> None:
    config = tiny("train.steps=80", "model.name=draw", "optimizer.generator.learning_rate=0.02")
    train(config, out=tmp_path / "run", console=console)
    losses = [record["loss"] for record in read_metrics(tmp_path / "run/metrics.jsonl")]
    assert sum(losses[-10:]) < sum(losses[:10]) - 5


def test_noise_differs_from_step_to_step_and_seed_to_seed(
    tiny: Tiny, tmp_path: Path, console: Console
) -> None:
    first = []
    for seed in (0, 1):
        run = tmp_path / str(seed)
        train(tiny("train.steps=2", f"train.seed={seed}"), out=run, console=console)
        first += [record["loss"] for record in read_metrics(run / "metrics.jsonl")]
    assert len(set(first)) == 4


def test_an_existing_run_is_not_touched(tiny: Tiny, tmp_path: Path, console: Console) -> None:
    run = tmp_path / "run"
    train(tiny("train.steps=1"), out=run, console=console)
    before = contents(run)
    with pytest.raises(UsageError, match=r"exists and is not empty; continue it with --resume"):
        train(tiny("train.steps=2"), out=run, console=console)
    assert contents(run) == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match="is no folder"):
        train(tiny("train.steps=2"), out=file, console=console)
    assert file.read_text() == "mine"


def test_default_folders_are_numbered(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(train(tiny("train.steps=1"), console=console).path) for _ in range(2)]
    assert names == ["runs/quick-draw-gan-1", "runs/quick-draw-gan-2"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.device=cudda", "train.device = 'cudda' cannot be used"),
        ("train.backend=warp", "train.backend = 'warp' cannot be used"),
        ("train.batch_size=500", r"train.batch_size = 500 is more than the \d+ images"),
        ("model.hidden_size=-3", "draw-gan cannot be built: .*hidden_size"),
    ],
)
def test_a_request_that_cannot_be_met_leaves_no_folder(
    tiny: Tiny, tmp_path: Path, console: Console, setting: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train(tiny("train.steps=1", setting), out=tmp_path / "run", console=console)
    assert not (tmp_path / "run").exists()


def test_resuming_a_finished_run_says_so(tiny: Tiny, tmp_path: Path, console: Console) -> None:
    run = tmp_path / "run"
    train(tiny("train.steps=2"), out=run, console=console)
    before = contents(run)
    result = train(resume=run, console=console)
    assert (result.exit_code, result.step, result.finished) == (0, 2, True)
    assert "is finished (2 of 2 steps)" in said(console)
    assert contents(run) == before


def test_resuming_may_change_only_what_changes_no_number(
    tiny: Tiny, tmp_path: Path, console: Console
) -> None:
    run = tmp_path / "run"
    train(tiny("train.steps=2"), out=run, console=console)
    before = contents(run)
    with pytest.raises(UsageError, match=r"train\.batch_size is 4 in run .* cannot become 5"):
        train(resume=run, settings=["train.batch_size=5"], console=console)
    with pytest.raises(UsageError, match="no run folder"):
        train(resume=tmp_path, console=console)
    with pytest.raises(UsageError, match="there is no run"):
        train(resume=tmp_path / "none", console=console)
    with pytest.raises(UsageError, match="leave --out away"):
        train(resume=run, out=tmp_path / "other", console=console)
    assert contents(run) == before


def test_a_corrupt_newest_checkpoint_names_the_one_before_and_that_one_works(
    tiny: Tiny, tmp_path: Path, console: Console
) -> None:
    run = tmp_path / "run"
    train(tiny("train.steps=4", "train.checkpoint_every=2"), out=run, console=console)
    losses = [record["loss"] for record in read_metrics(run / "metrics.jsonl")]
    newest = find_checkpoint(run)
    newest.write_bytes(newest.read_bytes()[:-10])
    older = newest.with_name("step-00000002.safetensors")
    with pytest.raises(DrawganError) as caught:
        train(resume=run, console=console)
    assert str(newest) in str(caught.value)
    assert str(older) in str(caught.value)
    assert train(resume=older, console=console).step == 4
    assert [record["loss"] for record in read_metrics(run / "metrics.jsonl")] == losses
    assert newest.with_name(newest.name + ".superseded").exists()
    assert load_checkpoint(newest).step == 4


def test_a_checkpoint_of_another_run_is_refused(
    tiny: Tiny, tmp_path: Path, console: Console
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    train(tiny("train.steps=1"), out=one, console=console)
    train(tiny("train.steps=2", "model.name=draw"), out=other, console=console)
    foreign = find_checkpoint(other)
    (one / "checkpoints" / foreign.name).write_bytes(foreign.read_bytes())
    with pytest.raises(DrawganError, match=r"is of a 'draw' and run .* trains a 'draw-gan'"):
        train(resume=one, console=console)


def test_other_images_under_the_same_name_are_noticed(
    tiny: Tiny, images: Path, tmp_path: Path, console: Console
) -> None:
    import numpy as np

    path = tmp_path / "mine.npy"
    pixels = np.load(images)
    np.save(path, pixels)
    run = tmp_path / "run"
    train(tiny("train.steps=1", f"data.name={path}"), out=run, console=console)
    pixels[:, 3, 3] ^= 1
    np.save(path, pixels)
    with pytest.raises(DrawganError, match="was trained on other images"):
        train(resume=run, settings=["train.steps=2"], console=console)


def test_a_torn_last_line_is_dropped_on_resuming(
    tiny: Tiny, tmp_path: Path, console: Console
) -> None:
    run = tmp_path / "run"
    train(tiny("train.steps=2"), out=run, console=console)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    train(resume=run, settings=["train.steps=3"], console=console)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


def inject(monkeypatch: pytest.MonkeyPatch, at: int, spoil: Callable[[Any, Any], None]) -> None:
    """Let ``spoil(model, scalars)`` loose on the gradients of one step."""
    right, calls = DRAWGAN.accumulate_gradients, []

    def wrong(self: Any, x: Any, eps: Any = None) -> Any:
        calls.append(1)
        scalars = right(self, x, eps)
        if len(calls) == at:
            spoil(self, scalars)
        return scalars

    monkeypatch.setattr(DRAWGAN, "accumulate_gradients", wrong)


def nan_loss(_model: Any, scalars: Any) -> None:
    scalars["loss"] = scalars["loss"] * float("nan")


def infinite_gradient(model: Any, _scalars: Any) -> None:
    next(model.discriminator.parameters()).grad[0] = float("inf")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (nan_loss, ["the term 'loss' of the loss is nan"]),
        (infinite_gradient, ["gradient norm of player 'discriminator'", "weight", "is inf"]),
    ],
)
def test_what_is_not_finite_stops_the_run_and_is_not_saved(
    tiny: Tiny,
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Any, Any], None],
    words: list[str],
) -> None:
    inject(monkeypatch, 4, spoil)
    run = tmp_path / "run"
    with pytest.raises(DrawganError) as caught:
        train(tiny("train.steps=9", "train.checkpoint_every=2"), out=run, console=console)
    good = run / "checkpoints" / "step-00000002.safetensors"
    for word in ["stopped at step 4", *words, str(good)]:
        assert word in str(caught.value)
    assert find_checkpoint(run) == good
    assert [record["step"] for record in read_metrics(run / "metrics.jsonl")] == [1, 2, 3]
    assert all(t.isfinite().all() for t in load_checkpoint(good).tensors.values())


def test_a_full_disk_stops_the_run_with_the_old_checkpoints_whole(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    run = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    step = Trainer._train_step

    def fill_disk(self: Trainer, x: Any) -> dict[str, float]:
        if self.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        return step(self, x)

    monkeypatch.setattr(Trainer, "_train_step", fill_disk)
    try:
        with pytest.raises(DrawganError, match=r"no space left to write .*--resume"):
            train(tiny("train.steps=9", "train.checkpoint_every=2"), out=run, console=console)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    monkeypatch.undo()
    assert load_checkpoint(find_checkpoint(run)).step == 2
    assert not list(run.rglob("*.tmp"))
    assert train(resume=run, console=console).step == 9


def test_clipping_bounds_what_the_optimizer_sees(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    right = torch.optim.Adam.step

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        seen.append(float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None])))
        return right(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    run = tmp_path / "run"
    train(tiny("train.steps=3", "optimizer.gradient_clip=0.01"), out=run, console=console)
    assert len(seen) == 6
    assert max(seen) == pytest.approx(0.01, rel=1e-3)
    records = read_metrics(run / "metrics.jsonl")
    assert max(record["gradient_norm/generator"] for record in records) > 0.1  # before clipping


def test_the_average_follows_its_formula(tiny: Tiny, tmp_path: Path, console: Console) -> None:
    run = tmp_path / "run"
    config = tiny(
        "train.steps=3", "train.checkpoint_every=1", "train.keep=9", "optimizer.ema_decay=0.15"
    )
    train(config, out=run, console=console)
    steps = [load_checkpoint(run / f"checkpoints/step-{i:08d}.safetensors") for i in range(4)]
    name = next(key for key in steps[0].group("ema"))
    average = steps[0].group("model")[name]
    for n in range(3):
        decay = min(0.15, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * steps[n + 1].group("model")[name]
        torch.testing.assert_close(steps[n + 1].group("ema")[name], average)
    assert not any("discriminator" in key for key in steps[0].group("ema"))
