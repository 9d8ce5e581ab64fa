"""The command line in this process, and a run that is finished."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from drawgan_fast.cli import main

TINY = [
    "--set",
    "model.steps=2",
    "--set",
    "model.hidden_size=8",
    "--set",
    "model.latent_size=4",
    "--set",
    "train.steps=3",
    "--set",
    "train.batch_size=8",
    "--set",
    "train.tensorboard=false",
    "--no-download",
]


class Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def drawgan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path):
    """Run the command line in this process, in an empty folder, without a data folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRAWGAN_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["drawgan", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny DRAW-GAN on the shipped digits."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DRAWGAN_DATA", raising=False)
        patch.setattr(sys, "argv", ["drawgan", "train", *TINY, "--out", str(folder)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
    return folder
