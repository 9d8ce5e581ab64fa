"""Metrics of a run: JSON lines that survive a kill, and TensorBoard curves of the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drawgan_fast.errors import first_line
from drawgan_fast.files import disk_error, sync, write_atomically


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Records of a metrics file; a torn last line (the process was killed) is left out.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "metrics.jsonl"
        >>> _ = file.write_text('{"step": 1, "loss": 2.0}\\n{"step": 2, "lo')
        >>> read_metrics(file)
        [{'step': 1, 'loss': 2.0}]
    """
    path = Path(path)
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline is torn
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict) or "step" not in record:
            break
        records.append(record)
    return records


class MetricsLog:
    """Appends one record per logged step to ``metrics.jsonl`` and to TensorBoard.

    Args:
        path: the JSONL file.
        tensorboard: folder of the curves; ``None``: no curves.
        step: steps already done; records after it (of a run that was killed) are dropped.
        say: told why there are no more curves, where TensorBoard does not work.
    """

    def __init__(
        self, path: Path, tensorboard: Path | None, *, step: int, say: Callable[[str], None]
    ) -> None:
        self.path = path
        kept = [record for record in read_metrics(path) if record["step"] <= step]
        write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        # Line by line to the operating system, so that a killed process loses no record.
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise disk_error(path, error) from None
        self._writer: Any = None
        self._curves, self._say = tensorboard, say
        if tensorboard is not None:
            with self._curves_if_they_can_be_had():
                from torch.utils.tensorboard import SummaryWriter

                # purge_step hides what a killed run wrote beyond its checkpoint.
                purge = step + 1 if step else None
                self._writer = SummaryWriter(str(tensorboard), purge_step=purge)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; it has a "step", and its numbers become curves.

        Raises:
            DrawganError: the disk is full.
        """
        try:
            self._file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise disk_error(self.path, error) from error
        if self._writer is not None:
            with self._curves_if_they_can_be_had():
                for key, value in record.items():
                    if key not in ("step", "epoch", "seconds"):
                        self._writer.add_scalar(key, value, record["step"])

    def sync(self) -> None:
        """Flush to the disk itself: what a checkpoint counts on is there before it."""
        try:
            self._file.flush()
            sync(self._file.fileno(), self.path.parent)
        except OSError as error:
            raise disk_error(self.path, error) from error

    def close(self) -> None:
        """Close both."""
        try:
            self._file.close()
        except OSError as error:
            raise disk_error(self.path, error) from error
        if self._writer is not None:
            with self._curves_if_they_can_be_had():
                self._writer.close()

    @contextmanager
    def _curves_if_they_can_be_had(self) -> Iterator[None]:
        """Curves are for looking at: where TensorBoard fails, that is said, and the run goes on."""
        try:
            yield
        except Exception as error:
            self._writer = None
            self._say(f"no more TensorBoard curves in {self._curves}: {first_line(error)}")
