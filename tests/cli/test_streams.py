"""The command line where nobody listens, where the encoding is another, and in odd environments."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer

from drawgan_fast.cli import main, streams
from drawgan_fast.training import find_checkpoint, load_checkpoint, load_config, read_metrics

ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8"]
SHORT = [
    *("--set", "model.steps=2", "--set", "model.hidden_size=8", "--set", "model.latent_size=2"),
    *("--set", "train.batch_size=4", "--set", "train.tensorboard=false"),
    *("--set", "train.animation=false", "--set", "train.samples=4"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (60, 8, 8), dtype=np.uint8))
    return path


def command(*arguments: str | Path, **variables: str | None) -> subprocess.Popen[bytes]:
    """The command line in a process of its own; a variable that is None is unset."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"} | variables
    return subprocess.Popen(
        [sys.executable, "-m", "drawgan_fast", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={key: value for key, value in environment.items() if value is not None},
    )


def shell(line: str, *arguments: str | Path) -> tuple[int, str]:
    """A line of sh, in which ``drawgan "$@"`` is the command line; its exit code and stderr."""
    done = subprocess.run(
        ["sh", "-c", f'drawgan() {{ "{sys.executable}" -m drawgan_fast "$@"; }}\n{line}', "sh"]
        + [str(argument) for argument in arguments],
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [["info"], ["train", "--help"]], ids=" ".join)
def test_a_reader_that_goes(arguments: list[str]) -> None:
    """``drawgan info | head -0``: the pipe is closed before anything is written."""
    process = command(*arguments)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_training_outlives_its_readers(images: Path, tmp_path: Path) -> None:
    process = command(
        *("train", "--data", images, "--out", tmp_path / "run", *SHORT, "--set", "train.steps=3")
    )
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert process.wait(60) == 0
    assert load_checkpoint(find_checkpoint(tmp_path / "run")).step == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_standard_output_on_a_full_disk() -> None:
    code, errors = shell("drawgan info > /dev/full")
    assert code == 1
    assert errors == (
        "drawgan: standard output cannot be written: No space left on device; "
        "send it somewhere else\n"
    )


def test_closed_streams() -> None:
    assert shell("drawgan info >&- 2>&-") == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_terminal_that_goes_saves_the_run(images: Path, tmp_path: Path) -> None:
    """Closing the window: SIGHUP, and a terminal that takes nothing more."""
    ours, theirs = os.openpty()
    run = tmp_path / "run"
    arguments = ["train", "--data", images, "--out", run, *SHORT, "--set", "train.steps=100000"]
    code = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.executable, [sys.executable, '-m', 'drawgan_fast', *sys.argv[1:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"},
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    deadline = time.monotonic() + 60
    while not read_metrics(run / "metrics.jsonl"):
        assert time.monotonic() < deadline
        assert process.poll() is None
        try:
            os.read(ours, 65536)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(ours)
    assert process.wait(60) == 129
    saved = load_checkpoint(find_checkpoint(run)).step
    assert saved == read_metrics(run / "metrics.jsonl")[-1]["step"] > 0


class Encoded:
    """Standard output in an encoding, and what was written to it."""

    def __init__(self, encoding: str) -> None:
        self.bytes = io.BytesIO()
        self.stream = io.TextIOWrapper(self.bytes, encoding=encoding)

    def text(self) -> str:
        self.stream.flush()
        return self.bytes.getvalue().decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_letter_arrives_in_some_form(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Encoded(encoding)
    monkeypatch.setattr(sys, "stdout", out.stream)
    streams.prepare()
    print("1.5 \N{SQUARE ROOT} 2 \N{GREEK SMALL LETTER GAMMA} B\udcc3")
    expected = "\\u221a" if encoding != "utf-8" else "\N{SQUARE ROOT}"
    assert f"1.5 {expected} 2 " in out.text()
    assert "\\udcc3" in out.text()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "run"]])
def test_commands_in_every_encoding(
    encoding: str,
    arguments: list[str],
    images: Path,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, errors = Encoded(encoding), Encoded(encoding)
    monkeypatch.setattr(sys, "stdout", out.stream)
    monkeypatch.setattr(sys, "stderr", errors.stream)
    monkeypatch.setenv("COLUMNS", "100")
    if arguments == ["evaluate", "run"]:
        arguments = ["evaluate", str(run), "--n", "4", "--seeds", "1", "--bound-images", "2"]
    monkeypatch.setattr(sys, "argv", ["drawgan", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert len(out.text()) > 500


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a locale without UTF-8, in a folder with an umlaut, under a notebook's MPLBACKEND.

    Its environment is otherwise empty: no HOME, no TERM, no PATH.
    """
    folder = tmp_path_factory.mktemp("runs") / "Büro"
    odd = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    odd["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    options = [*SHORT, "--set", "train.steps=2", "--set", "train.animation=true"]
    process = command(
        "train", "--data", images, "--out", folder, *options,
        **dict.fromkeys(os.environ), **odd,
    )  # fmt: skip
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert b"not made" not in errors
    return folder


def test_a_locale_without_utf_8(run: Path) -> None:
    for picture in ("losses.png", "generation.gif", "reconstruction.gif"):
        assert (run / picture).stat().st_size > 100
    assert load_config(file=run / "config.toml").train.steps == 2


def test_names_that_the_locale_does_not_have(images: Path) -> None:
    with pytest.raises(Exception, match=r"data.name = 'B.udcc3.*LC_ALL=C.UTF-8"):
        load_config(settings=["data.name=B\udcc3\udcbccher.npy"])


@pytest.mark.parametrize("name", ["📁", 'Bü"cher', "a\\b", "1", "\x7f", "a\nb", "'"])
def test_any_name_of_data_is_a_string(name: str) -> None:
    from drawgan_fast.cli.options import toml_string

    assert load_config(settings=[f"data.name={toml_string(name)}"]).data.name == name


@pytest.mark.parametrize("backend", ["nonsense", "svg"])
def test_matplotlib_under_any_backend(backend: str, tmp_path: Path) -> None:
    """Curves and the SSIM loss, whose library imports pyplot; what the user chose stays chosen."""
    code = """if True:
        import os, sys
        from drawgan_fast.viz import loss_curves
        loss_curves([{"step": 1, "loss": 2.0}], sys.argv[1])
        assert "matplotlib.pyplot" not in sys.modules
        if os.environ["MPLBACKEND"] == "nonsense":  # seconds
            for name in [name for name in sys.modules if name.startswith("matplotlib")]:
                del sys.modules[name]
            import torch
            from drawgan_fast.losses import ssim_loss
            ssim_loss(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16))
        import matplotlib
        print(os.environ["MPLBACKEND"], matplotlib.rcParams._get("backend"), sep=",")
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "loss.png")],
        env=os.environ | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "loss.png").stat().st_size > 1000
    kept, chosen = done.stdout.strip().split(",")
    assert kept == backend
    if backend == "svg":
        assert chosen == "svg"


@pytest.mark.parametrize("command_line", [["train", "--data"], ["train", "--resume"], ["evaluate"]])
@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000])
def test_names_of_300_letters(
    command_line: list[str],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["drawgan", *command_line, name])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (1, 2)
    assert "Traceback" not in (errors := capsys.readouterr().err)
    assert errors.startswith("drawgan: ")
    assert len(errors.splitlines()) == 1


def test_what_no_command_expected_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "somewhere")

    monkeypatch.setattr("drawgan_fast.cli.info.gather", fail)
    monkeypatch.setattr(sys, "argv", ["drawgan", "info"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "drawgan: 'somewhere': Too many open files\n"


def test_streams_that_are_a_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = io.StringIO()
    monkeypatch.setattr(sys, "stdout", notebook)
    monkeypatch.setattr(sys, "stderr", None)
    streams.prepare()
    typer.echo("heard")
    streams.finish()
    assert notebook.getvalue() == "heard\n"
