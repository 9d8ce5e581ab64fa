"""The folder of a run: who may write in it, and where everything lies.

::

    runs/quick-draw-gan-1/
        config.toml          the resolved configuration
        environment.json     versions, processor, threads, backend
        metrics.jsonl        one record per logged step
        tensorboard/         the same as curves
        checkpoints/         step-00000100.safetensors ... (the last few)
        samples/             step-00000100.png ... grids from one fixed noise
        losses.png           curves, at the end
        generation.gif       samples being painted, with the write windows (DRAW models)
        reconstruction.gif   digits being read and painted again, with both windows (DRAW models)
"""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import torch

from drawgan_fast._version import __version__
from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.files import disk_error, remove_temporaries, write_atomically
from drawgan_fast.training.checkpoint import Checkpoint, load_checkpoint, run_of
from drawgan_fast.training.config import Config
from drawgan_fast.training.config_load import config_from_table, config_to_toml, read_toml

try:
    import fcntl
except ImportError:  # Windows: no advisory locks of this kind, so nothing guards the folder there
    fcntl = None  # type: ignore[assignment]


_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # by another process
_log = logging.getLogger("drawgan_fast.training")


class RunFolder:
    """A run's folder, locked against a second process while it is open.

    Use :meth:`create` or :meth:`open`; then as a context manager, so that the lock goes.
    The lock is the kernel's: a killed process leaves none behind. Where the file system has no
    locks, a warning says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._acquire()

    checkpoints = property(lambda self: self.path / "checkpoints")
    samples = property(lambda self: self.path / "samples")
    metrics = property(lambda self: self.path / "metrics.jsonl")
    tensorboard = property(lambda self: self.path / "tensorboard")
    config_file = property(lambda self: self.path / "config.toml")

    @classmethod
    def create(cls, out: Path | str | None, config: Config) -> RunFolder:
        """Make a new folder; ``out=None``: ``runs/<preset>-<model>-<n>`` with the first free n.

        Raises:
            UsageError: ``out`` exists and is not empty. Nothing in it is touched.
            DrawganError: the folder cannot be made.
        """
        if out is None:
            path = cls._make_numbered(Path("runs"), f"{config.preset}-{config.model.name}")
        else:
            path = Path(out)
            cls.refuse_existing(path)
            cls._make(path)
        folder = cls(path)
        try:
            folder.checkpoints.mkdir()
            folder.samples.mkdir()
        except OSError as error:
            folder.close()
            raise disk_error(path, error) from None
        folder.write_config(config)
        return folder

    @staticmethod
    def refuse_existing(path: Path) -> None:
        """Raise :class:`UsageError` if ``path`` is there and holds anything."""
        try:
            path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(
                f"{str(path)!r} cannot be a run's folder: {error.strerror}; give another --out"
            ) from None
        if path.is_dir():
            # The lock file alone is what an attempt leaves that failed before its first file.
            if any(entry.name != ".lock" for entry in path.iterdir()):
                raise UsageError(
                    f"run folder {str(path)!r} exists and is not empty; continue it with "
                    f"--resume {path}, or give another --out"
                )
        else:
            raise UsageError(f"{str(path)!r} exists and is no folder; give another --out")

    @staticmethod
    def _make(path: Path, *, exist_ok: bool = True) -> None:
        try:
            path.mkdir(parents=True, exist_ok=exist_ok)
        except FileExistsError:
            raise
        except OSError as error:
            raise disk_error(path, error) from None

    @classmethod
    def _make_numbered(cls, parent: Path, stem: str) -> Path:
        cls._make(parent)
        number = 1
        while True:
            path = parent / f"{stem}-{number}"
            try:
                cls._make(path, exist_ok=False)  # mkdir decides who of two gets the name
            except FileExistsError:
                number += 1
            else:
                return path

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """Open the folder of an earlier run to continue it.

        Raises:
            UsageError: it is no run folder.
            DrawganError: another process is training in it.
        """
        path = Path(path)
        if not os.path.isfile(path / "config.toml"):  # False, too, for a name that cannot be
            raise UsageError(
                f"{str(path)!r} is no run folder (it has no config.toml); give the folder that "
                "drawgan train made"
            )
        folder = cls(path)
        try:
            for place in (folder.path, folder.checkpoints, folder.samples):
                place.mkdir(exist_ok=True)
                remove_temporaries(place)
        except OSError as error:
            folder.close()
            raise disk_error(path, error) from None
        return folder

    def _acquire(self) -> None:
        try:
            self._lock = (self.path / ".lock").open("w", encoding="utf-8")
        except OSError as error:
            raise disk_error(self.path / ".lock", error) from None
        if fcntl is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                _log.warning(
                    "%s is on a file system without locks (%s): see to it yourself that no second "
                    "process trains there",
                    self.path,
                    error.strerror,
                )
                return
            self._lock.close()
            raise DrawganError(
                f"another process is training in {str(self.path)!r}; wait for it, stop it, or "
                "give another --out"
            ) from None

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def config(self) -> Config:
        """The configuration in the folder."""
        return read_config(self.path)

    def write_config(self, config: Config) -> None:
        """Write ``config.toml``."""
        write_atomically(self.config_file, config_to_toml(config).encode())

    def write_environment(self, **more: Any) -> None:
        """Write ``environment.json``: versions, processor, and what the caller adds."""
        text = json.dumps(environment() | more, indent=2)
        write_atomically(self.path / "environment.json", f"{text}\n".encode())


def read_config(run_or_checkpoint: Path | str | Checkpoint) -> Config:
    """The resolved configuration of a run, from its folder or from the header of a checkpoint.

    Args:
        run_or_checkpoint: a run folder, or a checkpoint. One that lies in its run gives the run's
            present configuration, which may name data that has moved since it was written.

    Raises:
        UsageError, DrawganError: there is none, or it has been damaged.
    """
    if not isinstance(run_or_checkpoint, Checkpoint):
        path = Path(run_or_checkpoint)
        if not os.path.isfile(path):
            return config_from_table(read_toml(path / "config.toml"))
        run_or_checkpoint = load_checkpoint(path)
    run = run_of(run_or_checkpoint.path)
    if run is not None:
        return config_from_table(read_toml(run / "config.toml"))
    try:
        return config_from_table(run_or_checkpoint.header.get("config", {}))
    except UsageError as error:
        raise DrawganError(
            f"the configuration in checkpoint {str(run_or_checkpoint.path)!r} is none of this "
            f"version's: {error}"
        ) from None


def environment() -> dict[str, Any]:
    """What a reader needs to judge and repeat a measurement: versions and the machine.

    >>> sorted(environment())[:3]
    ['commit', 'cpu', 'cpu_count']
    """
    return {
        "drawgan_fast": __version__,
        "commit": _commit(),
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The commit of the checkout this package runs from, if it is one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        ):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
