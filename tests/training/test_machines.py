"""Training on machines as they are: file systems, libraries for pictures, devices, names."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from drawgan_fast import files
from drawgan_fast.compat import save_weights
from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.files import TEMPORARY, write_atomically
from drawgan_fast.models import VAE
from drawgan_fast.training import (
    Config,
    find_checkpoint,
    load_checkpoint,
    load_config,
    load_model,
    read_config,
    read_metrics,
    train,
)
from drawgan_fast.training.interrupt import SIGNALS, InterruptGuard
from drawgan_fast.training.run_folder import RunFolder

Tiny = Callable[..., Config]


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks(
    tiny: Tiny,
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", failing(number))
    assert train(tiny("train.steps=2"), out=tmp_path / "run", console=console).finished
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert f"without locks ({os.strerror(number)})" in caplog.text
    assert train(resume=tmp_path / "run", settings=["train.steps=3"], console=console).finished


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_that_is_held_is_one(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(DrawganError, match="another process is training"):
        RunFolder.create(tmp_path / "run", tiny("train.steps=2"))


def only_files(number: int) -> Callable[[int], None]:
    """fsync of a file system that flushes files and no folders."""
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            failing(number)()
        flush(descriptor)

    return fsync


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
@pytest.mark.parametrize("folders", [True, False], ids=["no folders", "nothing at all"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_does_not_flush(
    tiny: Tiny,
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    folders: bool,
) -> None:
    monkeypatch.setattr(files, "_said", set())
    monkeypatch.setattr(os, "fsync", only_files(number) if folders else failing(number))
    assert train(tiny("train.steps=2"), out=tmp_path / "run", console=console).finished
    assert load_checkpoint(find_checkpoint(tmp_path / "run")).step == 2
    assert len(caplog.records) == 1  # once, of all the files that a run writes
    assert f"does not flush to the disk ({os.strerror(number)})" in caplog.text


def test_a_disk_that_fails_is_not_one_that_does_not_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(DrawganError, match="cannot be written: Input/output error"):
        write_atomically(tmp_path / "file", b"data")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_a_folder_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "_said", set())
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    write_atomically(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert "does not flush" in caplog.text


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    """The temporary file beside it fits, too, and no two of them meet."""
    names = ["a" * 255, "a" * 254 + "b", "ü" * 127]
    for name in names:
        write_atomically(tmp_path / name, name.encode())
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    assert all((tmp_path / name).read_bytes() == name.encode() for name in names)
    assert len({files._temporary_name(name) for name in names}) == 3
    assert all(files._temporary_name(name).endswith(TEMPORARY) for name in names)
    save_weights(VAE((4, 4), hidden_size=2, latent_size=1), tmp_path / ("m" * 243 + ".safetensors"))


def test_names_that_no_file_can_have(tiny: Tiny, tmp_path: Path) -> None:
    long = tmp_path / ("a" * 300)
    with pytest.raises(UsageError, match=r"cannot be a run's folder: File name too long"):
        train(tiny("train.steps=2"), out=long)
    with pytest.raises(UsageError, match="there is no run"):
        train(resume=long)
    with pytest.raises(UsageError, match="there is no run folder or checkpoint"):
        load_model(long)
    with pytest.raises(DrawganError, match="cannot be read: File name too long"):
        read_config(long)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["meta", "cuda:77", "nonsense", "xpu", "lazy"])
def test_devices_that_compute_nothing(tiny: Tiny, tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"train.device = '{device}' cannot be used here: .*'cpu'"):
        train(tiny("train.steps=2", f"train.device={device}"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("no FreeType here\nand more")


PICTURES = {
    "drawgan_fast.viz.image_grid": "step-00000002.png was not made: no FreeType here",
    "drawgan_fast.viz.loss_curves": "losses.png was not made: no FreeType here",
    "drawgan_fast.viz.canvas_animation": "generation.gif was not made: no FreeType here",
    "torch.utils.tensorboard.SummaryWriter": "no more TensorBoard curves in",
    "torch.utils.tensorboard.SummaryWriter.add_scalar": "no more TensorBoard curves in",
    "torch.utils.tensorboard.SummaryWriter.close": "no more TensorBoard curves in",
}


@pytest.mark.parametrize("broken_one", PICTURES)
def test_a_picture_that_fails_fails_no_run(
    tiny: Tiny,
    tmp_path: Path,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    broken_one: str,
) -> None:
    if "tensorboard" in broken_one:
        pytest.importorskip("torch.utils.tensorboard")
    monkeypatch.setattr(broken_one, broken)
    options = ["train.steps=4", "train.sample_every=2", "train.animation=true"]
    options += ["train.tensorboard=true"]
    result = train(tiny(*options), out=tmp_path / "run", console=console)
    assert result.finished
    assert result.exit_code == 0
    assert said(console).count(PICTURES[broken_one]) == 1
    assert "and more" not in said(console)
    monkeypatch.undo()
    # The weights are those of a run with all its pictures.
    assert train(tiny(*options), out=tmp_path / "other", console=console).finished
    for name, tensor in load_model(result.path).state_dict().items():
        assert torch.equal(tensor, load_model(tmp_path / "other").state_dict()[name])
    assert len(read_metrics(result.path / "metrics.jsonl")) == 4


def test_without_matplotlib_and_tensorboard(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib.figure", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    result = train(
        tiny("train.steps=2", "train.tensorboard=true"), out=tmp_path / "run", console=console
    )
    assert result.finished
    assert "losses.png was not made: import of matplotlib.figure halted" in said(console)
    assert "no more TensorBoard curves in" in said(console)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ignored_signals_stay_ignored() -> None:
    """As ``nohup`` sets them."""
    assert [s.name for s in SIGNALS] == ["SIGINT", "SIGTERM", "SIGHUP"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with InterruptGuard() as guard:
            signal.raise_signal(signal.SIGHUP)
            assert guard.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGHUP)
        assert (guard.received, guard.exit_code) == (signal.SIGHUP, 129)


def test_a_second_signal_without_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with InterruptGuard() as guard:
        guard._handle(signal.SIGTERM, None)
        guard._handle(signal.SIGTERM, None)
    assert ended == [143]


def test_a_machine_that_does_not_say_how_many_processors_it_has(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert train(tiny("train.steps=2"), out=tmp_path / "run", console=console).finished


def test_a_clock_that_goes_backwards(
    tiny: Tiny, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10_000, 0, -7))
    monkeypatch.setattr("time.time", lambda: float(next(times)))
    assert train(
        tiny("train.steps=3", "train.tensorboard=true"), out=tmp_path / "run", console=console
    ).finished
    assert all(r["seconds"] >= 0 for r in read_metrics(tmp_path / "run" / "metrics.jsonl"))


@pytest.mark.skipif(importlib.util.find_spec("resource") is None, reason="limits of POSIX")
def test_a_disk_that_takes_no_picture(images: Path, tmp_path: Path, console: Console) -> None:
    """A real refusal by the kernel: pictures are larger than files may be, checkpoints are not."""
    import resource

    options = ["hidden_size=8", "latent_size=2"]
    config = load_config(
        settings=[
            f"data.name={images}",
            "model.name=vae",
            *(f"model.{option}" for option in options),
            "train.steps=2",
            "train.batch_size=4",
            "train.samples=900",
            "train.tensorboard=false",
        ]
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        result = train(config, out=tmp_path / "run", console=console)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.finished
    assert said(console).count("no space left to write") == 2  # samples and curves
    assert not list((tmp_path / "run").rglob(f"*{TEMPORARY}"))
    assert load_checkpoint(find_checkpoint(tmp_path / "run")).step == 2
