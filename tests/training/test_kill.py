"""A real training process is killed, interrupted and resumed; not one bit of the run changes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drawgan_fast.errors import DrawganError
from drawgan_fast.training import (
    Config,
    find_checkpoint,
    load_checkpoint,
    read_metrics,
    train,
)
from drawgan_fast.training.config_load import config_to_table, flat

STEPS = 40
#: What tells of the clock and not of the training.
CLOCK = ("images_per_second", "seconds")


class Process:
    """Starts ``_process.py`` and stops it once so many steps are on record."""

    def __init__(self, settings: list[str]) -> None:
        self.settings = settings

    def start(self, **request: Any) -> subprocess.Popen[str]:
        request["settings"] = self.settings
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("_process.py")), json.dumps(request)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def finish(self, **request: Any) -> str:
        process = self.start(**request)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return errors

    def stop_at(self, run: Path, step: int, number: int, **request: Any) -> tuple[int, str]:
        """Send a signal when ``step`` steps are on record; returns exit code and stderr."""
        process = self.start(**request)
        deadline = time.monotonic() + 120
        while last_step(run) < step:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the run makes no progress"
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors


def last_step(run: Path) -> int:
    records = read_metrics(run / "metrics.jsonl")
    return records[-1]["step"] if records else 0


def sequence(run: Path) -> list[dict[str, Any]]:
    """Every number on record but the clock's."""
    return [
        {key: value for key, value in record.items() if key not in CLOCK}
        for record in read_metrics(run / "metrics.jsonl")
    ]


def assert_same_end(one: Path, other: Path) -> None:
    assert sequence(one) == sequence(other)
    assert [record["step"] for record in sequence(one)] == list(range(1, STEPS + 1))
    a, b = (load_checkpoint(find_checkpoint(run)) for run in (one, other))
    assert a.step == b.step == STEPS
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        assert torch.equal(tensor, b.tensors[name]), name
    assert (one / "config.toml").read_bytes() == (other / "config.toml").read_bytes()


@pytest.fixture(scope="module")
def settings(images: Path) -> list[str]:
    from tests.training.conftest import TINY

    # 40 steps over epochs of four: the end of an epoch falls before, on and after checkpoints.
    return [
        f"data.name={images}",
        *TINY,
        f"train.steps={STEPS}",
        "train.checkpoint_every=7",
        "train.keep=2",
        "data.binarise=epoch",
        "optimizer.ema_decay=0.9",
    ]


@pytest.fixture(scope="module")
def process(settings: list[str]) -> Process:
    return Process(settings)


@pytest.fixture(scope="module")
def whole(process: Process, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    process.finish(out=str(run))
    return run


def test_killed_and_interrupted_again_and_again_the_run_is_bit_identical(
    process: Process, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    chance = random.Random()  # any step must do, so others each time; printed when it fails
    stops = sorted(chance.sample(range(1, STEPS - 8), 4))
    numbers = [signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGTERM]
    codes = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGHUP: 129, signal.SIGTERM: 143}
    print(f"stopped after steps {stops}")
    request: dict[str, str] = {"out": str(run)}
    for stop, number in zip(stops, numbers):
        # A slow step, so that the signal comes before the run has ended.
        code, errors = process.stop_at(run, stop, number, slow=0.03, **request)
        assert code == codes[number], errors
        assert "Traceback" not in errors
        saved = load_checkpoint(find_checkpoint(run)).step
        if number != signal.SIGKILL:
            assert stop <= saved < STEPS
            assert last_step(run) == saved
            last_line = errors.strip().splitlines()[-1]
            assert last_line.startswith(f"{number.name}: saved at step {saved} of {STEPS}")
            assert f"--resume {run}" in last_line
        request = {"resume": str(run)}
    process.finish(resume=str(run))
    assert_same_end(run, whole)


def test_one_folder_one_process_and_a_second_signal_ends_it_at_once(
    process: Process, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    child = process.start(out=str(run), slow=2.0)
    deadline = time.monotonic() + 60
    while last_step(run) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(DrawganError, match="another process is training in"):
        train(resume=run)
    # The next step sleeps two seconds: both signals arrive in it, the second does not wait.
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    sent = time.monotonic()
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert time.monotonic() - sent < 1.5
    assert load_checkpoint(find_checkpoint(run)).step == 0
    assert train(resume=run, settings=["train.steps=3"]).step == 3  # the lock went with the process


def test_the_settings_in_these_tests_are_what_they_say(
    tiny: Callable[..., Config], settings: list[str]
) -> None:
    config = flat(config_to_table(tiny(*settings)))
    assert (config["train.steps"], config["model.discriminator"]) == (STEPS, "mlp")
