"""The training loop: gradients, checks, optimizers, records, checkpoints."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_weights,
    save_checkpoint,
)
from drawgan_fast.training.config import Config
from drawgan_fast.training.config_load import config_to_table
from drawgan_fast.training.interrupt import InterruptGuard
from drawgan_fast.training.metrics_log import MetricsLog
from drawgan_fast.training.optimizers import AveragedWeights, make_optimizers
from drawgan_fast.training.pictures import for_looking_at, write_samples
from drawgan_fast.training.progress import TrainingProgress
from drawgan_fast.training.run_data import fingerprint
from drawgan_fast.training.run_folder import RunFolder
from drawgan_fast.training.seeds import seed_step
from drawgan_fast.training.setup import run_length
from drawgan_fast.training.step import TrainingStep, recorder

if TYPE_CHECKING:
    from drawgan_fast.data import ImageData
    from drawgan_fast.models import GenerativeModel


class Trainer:
    """Everything that a training step changes, and the loop that changes it.

    Args:
        config: checked configuration.
        model: on its device.
        data: on the same device.
        folder: an open run folder.

    Attributes:
        step: optimizer steps done.
        total: steps of the whole run.
    """

    def __init__(
        self, config: Config, model: GenerativeModel, data: ImageData, folder: RunFolder
    ) -> None:
        self.config, self.model, self.data, self.folder = config, model, data, folder
        self.per_epoch, self.total = run_length(config, data)
        self.step = 0
        players = model.players()
        self.optimizers = make_optimizers(players, config.optimizer)
        record = recorder(model.device, self.optimizers)
        if config.train.cuda_graph is True and record is None:
            raise UsageError(
                f"train.cuda_graph = true cannot be had on {model.device} with these optimizers; "
                "use 'auto'"
            )
        allowed = config.train.cuda_graph is not False
        self._step = TrainingStep(model, self.optimizers, record if allowed else None)
        self.average: AveragedWeights | None = None
        if config.optimizer.ema_decay > 0:
            sampling = next(iter(players.values()))
            self.average = AveragedWeights(model, sampling, config.optimizer.ema_decay)
        self.data_fingerprint = fingerprint(data)
        self.last_record: dict[str, Any] = {}
        self._saved_at = -1
        self._ticks: deque[tuple[int, float]] = deque(maxlen=50)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of the same model.

        Raises:
            DrawganError: something in it does not fit.
        """
        load_weights(self.model, checkpoint.group("model"), checkpoint.path)
        for optimizer in self.optimizers:
            optimizer.load(checkpoint.group(f"optimizer/{optimizer.name}"), checkpoint.path)
        if self.average is not None:
            self.average.load(checkpoint.group("ema"), checkpoint.path)
        self.step = self._saved_at = checkpoint.step

    def save(self) -> Path:
        """Write a checkpoint of the present state.

        Raises:
            DrawganError: it cannot be written; the older ones are still there.
        """
        tensors: dict[str, Tensor] = {
            f"model/{key}": value for key, value in self.model.state_dict().items()
        }
        for optimizer in self.optimizers:
            for key, value in optimizer.tensors().items():
                tensors[f"optimizer/{optimizer.name}/{key}"] = value
        if self.average is not None:
            tensors |= {f"ema/{key}": value for key, value in self.average.tensors().items()}
        header = {
            "step": self.step,
            "total_steps": self.total,
            "epoch": self.step // self.per_epoch,
            "batch": self.step % self.per_epoch,
            "model": {"name": self.config.model.name, "config": self.model.config()},
            "config": config_to_table(self.config),
            "data": self.data_fingerprint,
            "threads": torch.get_num_threads(),
            "metrics": self.last_record,
        }
        path = save_checkpoint(
            self.folder.checkpoints, header, tensors, keep=self.config.train.keep
        )
        self._saved_at = self.step
        return path

    def run(self, guard: InterruptGuard, progress: TrainingProgress) -> None:
        """Train to the end, or to the first signal; the state is then saved.

        Raises:
            DrawganError: a loss or a gradient is not finite, or the disk is full.
        """
        train = self.config.train
        log = MetricsLog(
            self.folder.metrics,
            self.folder.tensorboard if train.tensorboard else None,
            step=self.step,
            say=progress.say,
        )
        try:
            if self._saved_at < 0:
                # The start is worth a file: a diverging or a killed run can always go back to
                # something, and a full disk shows now and not after an hour.
                self.save()
            self.model.train()
            started = time.monotonic()
            for x in self._batches():
                scalars = self._train_step(x)
                rate = self._images_per_second()
                done = self.step == self.total
                if self.step % train.log_every == 0 or done:
                    self.last_record = {
                        "step": self.step,
                        "epoch": round(self.step / self.per_epoch, 6),
                        **scalars,
                        "images_per_second": round(rate, 1),
                        "seconds": round(time.monotonic() - started, 3),
                    }
                    log.write(self.last_record)
                progress.update(self.step, scalars, rate)
                stop = done or guard.received is not None
                if self.step % train.checkpoint_every == 0 or stop:
                    log.sync()
                    self.save()
                if guard.received is not None:
                    break
                if done or (train.sample_every and self.step % train.sample_every == 0):
                    self.samples(progress.say)
        finally:
            log.close()

    def samples(self, say: Callable[[str], None]) -> None:
        """Write the sample grid of the present step, or say why there is none."""
        path = self.folder.samples / f"step-{self.step:08d}.png"
        with for_looking_at(path, say):
            write_samples(
                self.model,
                self.average,
                path,
                n=self.config.train.samples,
                seed=self.config.train.seed,
            )

    def _batches(self) -> Iterator[Tensor]:
        """The batches [B, C, H, W] of all steps that are left, across epochs."""
        while self.step < self.total:
            batches = self.data.batches(
                self.config.train.batch_size,
                epoch=self.step // self.per_epoch,
                seed=self.config.train.seed,
                binarise=self.config.data.binarise,
                start=self.step % self.per_epoch,
            )
            for x in batches:
                yield x
                if self.step >= self.total:
                    return

    def _train_step(self, x: Tensor) -> dict[str, float]:
        """One step on ``x`` [B, C, H, W]; returns the losses and the gradient norms.

        Everything that is looked at comes over in one transfer, before any weight has moved: a bad
        step leaves the weights as they were.
        """
        scalars, move = self._step(x, lambda: seed_step(self.config.train.seed, self.step))
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise self._not_finite(name, value)
        move()
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        return scalars

    def _not_finite(self, name: str, value: float) -> DrawganError:
        what = f"the term {name!r} of the loss"
        if name.startswith("gradient_norm/"):
            player = name.removeprefix("gradient_norm/")
            optimizer = next(o for o in self.optimizers if o.name == player)
            bad = [
                key
                for key, parameter in optimizer.named.items()
                if parameter.grad is not None and not bool(parameter.grad.isfinite().all())
            ]
            where = f" (first in {bad[0]!r})" if bad else ""
            what = f"the gradient norm of player {player!r}{where}"
        good = list_checkpoints(self.folder.checkpoints)[-1]
        return DrawganError(
            f"training stopped at step {self.step + 1}: {what} is {value}; the last good "
            f"checkpoint is {str(good)!r}: start a new run with a smaller learning rate or "
            "optimizer.gradient_clip"
        )

    def _images_per_second(self) -> float:
        self._ticks.append((self.step, time.monotonic()))
        (first, since), (last, now) = self._ticks[0], self._ticks[-1]
        if last == first or now <= since:
            return 0.0
        return (last - first) * self.config.train.batch_size / (now - since)
