"""The coordinator's side of the workers: one process for each variant and setting, kept."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.variants.base import Unavailable

ROOT = Path(__file__).parents[1]


class WorkerFailed(RuntimeError):
    """A worker raised or died; the message holds its traceback."""


@dataclass(frozen=True)
class Setting:
    """What makes a process: its name, its threads and its variables."""

    name: str
    threads: int
    variables: tuple[tuple[str, str], ...] = ()
    module: str = "benchmarks.worker"

    def environment(self) -> dict[str, str]:
        """The process's variables."""
        threads = dict.fromkeys(
            ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads)
        )
        # The coordinator's own choice of backend must not reach a worker that forces its own.
        inherited = {k: v for k, v in os.environ.items() if k != "DRAWGAN_BACKEND"}
        quiet = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": python_path(inherited)}
        return {**inherited, **quiet, **threads, **dict(self.variables)}


def python_path(environment: Mapping[str, str]) -> str:
    """PYTHONPATH with the repository before what the environment has."""
    before = environment.get("PYTHONPATH")
    return f"{ROOT}{os.pathsep}{before}" if before else str(ROOT)


class Process:
    """One worker; commands and answers are lines of JSON."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._process = subprocess.Popen(
            [sys.executable, "-m", setting.module, str(setting.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=setting.environment(),
        )

    def send(self, do: str, **arguments: Any) -> None:
        """Give a command; :meth:`receive` waits for its answer."""
        assert self._process.stdin is not None
        # A worker that died says so at the next answer.
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """The answer to the command given last.

        Args:
            timeout: seconds to wait for it, after which the process is killed; None: for ever.

        Raises:
            Unavailable: the job cannot run here.
            WorkerFailed: it raised, or the process died, or there was no answer in time.
        """
        assert self._process.stdout is not None
        # One command, one line: nothing of an answer is ever left in the reader's buffer.
        if timeout is not None and not select.select([self._process.stdout], [], [], timeout)[0]:
            self._process.kill()
            raise WorkerFailed(f"{self.setting.name}: no answer within {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self.setting.name}: died with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "error" in answer:
            raise WorkerFailed(f"{self.setting.name}:\n{answer['error']}")
        return answer

    def answered(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def call(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Command and answer; raises as :meth:`receive`."""
        self.send(do, **arguments)
        return self.receive(timeout)

    def close(self) -> None:
        """Close the pipe, at which the worker ends, and wait for that."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


class Pool:
    """Workers by setting, each started when it is first asked for."""

    def __init__(self) -> None:
        self._processes: dict[Setting, Process] = {}

    def get(self, setting: Setting) -> Process:
        """The setting's worker."""
        if setting not in self._processes:
            self._processes[setting] = Process(setting)
        return self._processes[setting]

    def end(self, setting: Setting) -> None:
        """End one worker, so that the next one of its setting is fresh."""
        if setting in self._processes:
            self._processes.pop(setting).close()

    def end_all(self) -> None:
        """End every worker."""
        for setting in list(self._processes):
            self.end(setting)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_all()
