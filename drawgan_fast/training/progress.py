"""Progress of a training run: a Rich bar on a terminal, plain lines every few seconds elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

#: Seconds between plain lines.
PLAIN_INTERVAL = 10.0
#: Loss terms shown, in this order, where the model has them.
_SHOWN = ("loss", "reconstruction", "kl", "gan", "discriminator")


def fancy(console: Console) -> bool:
    """A bar that redraws itself? Not in files, in CI, or on a terminal that cannot.

    >>> import io
    >>> fancy(Console(file=io.StringIO()))
    False
    """
    return console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")


def duration(seconds: float) -> str:
    """Seconds as a clock.

    >>> duration(75), duration(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class TrainingProgress:
    """Shows steps, loss terms, images per second and the time left.

    Args:
        console: where to.
        done: steps already done (of a resumed run).
        total: steps of the whole run.
        interval: seconds between plain lines.
    """

    def __init__(
        self, console: Console, *, done: int, total: int, interval: float = PLAIN_INTERVAL
    ) -> None:
        self.console = console
        self.total, self._first, self._step = total, done, done
        self._interval = interval
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if fancy(console):
            self._bar = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=console,
                refresh_per_second=4,
                expand=True,
            )

    def __enter__(self) -> TrainingProgress:
        self._started = self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                "train", total=self.total, completed=self._step, text=""
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, scalars: Mapping[str, float], images_per_second: float) -> None:
        """A step is done: ``step`` of them in all."""
        self._step = step
        now = time.monotonic()
        if self._bar is None and now - self._last_line < self._interval and step < self.total:
            return
        terms = "  ".join(f"{key} {scalars[key]:.2f}" for key in _SHOWN if key in scalars)
        text = f"{terms}  {images_per_second:.0f} images/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, text=text)
            return
        self._last_line = now
        left = (now - self._started) / (step - self._first) * (self.total - step)
        self.say(f"step {step}/{self.total}  {text}  {duration(left)} left")

    def say(self, text: str) -> None:
        """Print one line above the bar."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
