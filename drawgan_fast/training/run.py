"""``train``: a new run or an earlier one continued, from the configuration to the last picture."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.files import disk_error
from drawgan_fast.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    run_of,
)
from drawgan_fast.training.config import Config
from drawgan_fast.training.config_load import (
    check_changes,
    config_from_table,
    load_config,
    override,
)
from drawgan_fast.training.interrupt import InterruptGuard
from drawgan_fast.training.model_options import build_model
from drawgan_fast.training.pictures import (
    ANIMATED,
    averaged,
    for_looking_at,
    sample_generator,
    write_curves,
    write_generation,
    write_reconstruction,
)
from drawgan_fast.training.progress import TrainingProgress
from drawgan_fast.training.run_data import check_same_data, load_data, with_absolute_data
from drawgan_fast.training.run_folder import RunFolder
from drawgan_fast.training.seeds import INIT_STREAM, seed_step
from drawgan_fast.training.setup import (
    backend_in_use,
    pick_device,
    run_length,
    threads_in_use,
)
from drawgan_fast.training.trainer import Trainer


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        path: the run's folder.
        step: optimizer steps done.
        total_steps: steps of the whole run.
        exit_code: 0, or 129 / 130 / 143 after SIGHUP / SIGINT / SIGTERM.
        checkpoint: the newest checkpoint.
        metrics: the last record of ``metrics.jsonl`` (losses in mean nats per image).
    """

    path: Path
    step: int
    total_steps: int
    exit_code: int
    checkpoint: Path
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Were all steps made?"""
        return self.step >= self.total_steps


def train(
    config: Config | None = None,
    *,
    out: Path | str | None = None,
    resume: Path | str | None = None,
    settings: Sequence[str] = (),
    console: Console | None = None,
) -> RunResult:
    """Train a model, or continue training one.

    Args:
        config: from :func:`load_config`; ``None``: the preset ``quick``, or the resumed run's own.
        out: folder of a new run; ``None``: ``runs/<preset>-<model>-<n>``.
        resume: run folder, or one of its checkpoints, to continue.
        settings: with ``resume``, ``"key=value"`` changes (only those of ``CHANGEABLE``); data
            that has moved is named again by ``data.name`` or ``data.data_dir`` and known by its
            checksum. For a new run give them to :func:`load_config`.
        console: where progress goes; ``None``: the standard error.

    Returns:
        How it ended. SIGHUP, SIGINT and SIGTERM end it after the step they arrive in, with all
        saved.

    Raises:
        UsageError: the request cannot be met; nothing has been written.
        DrawganError: data, disk or a checkpoint is bad, or the training diverged.
    """
    console = console if console is not None else Console(stderr=True)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if resume is None:
        if settings:
            config = override(config if config is not None else load_config(), settings)
        return _start(config if config is not None else load_config(), out, console, say)
    if out is not None:
        raise UsageError("--resume continues in the run's own folder; leave --out away")
    return _resume(Path(resume), config, settings, console, say)


def _start(
    config: Config, out: Path | str | None, console: Console, say: Callable[[str], None]
) -> RunResult:
    config = with_absolute_data(config)
    # Everything that can be wrong with the request comes before the folder is made.
    if out is not None:
        RunFolder.refuse_existing(Path(out))
    with contextlib.ExitStack() as stack:
        device = pick_device(config.train.device)
        stack.enter_context(backend_in_use(config.train.backend))
        stack.enter_context(threads_in_use(config.train.threads))
        data = load_data(config.data, say)
        run_length(config, data)
        seed_step(config.train.seed, INIT_STREAM)
        model = build_model(config.model.name, config.model.options, data.image_size, data.channels)
        folder = stack.enter_context(RunFolder.create(out, config))
        folder.write_environment(device=str(device), backend=config.train.backend)
        trainer = Trainer(config, model.to(device), data.to(device), folder)
        return _run(trainer, console, say)


def _resume(
    path: Path,
    config: Config | None,
    settings: Sequence[str],
    console: Console,
    say: Callable[[str], None],
) -> RunResult:
    chosen = path if os.path.isfile(path) else None
    if chosen is not None:
        run = run_of(chosen)
        if run is None:
            raise UsageError(
                f"{str(chosen)!r} lies outside of its run folder, which --resume continues: give "
                "the run folder or a checkpoint in its checkpoints/ (evaluate and sample take "
                "this file as it is)"
            )
        path = run
    elif not os.path.exists(path):
        raise UsageError(f"there is no run {str(path)!r} to resume; check the path")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(RunFolder.open(path))
        stored = folder.config()
        config = with_absolute_data(override(config if config is not None else stored, settings))
        check_changes(stored, config, str(path))
        found = list_checkpoints(folder.checkpoints)
        checkpoint: Checkpoint | None = None
        if chosen is not None or found:
            checkpoint = load_checkpoint(chosen if chosen is not None else found[-1])
            _check_model(checkpoint, config, path)
        threads = config.train.threads
        if threads == 0 and checkpoint is not None:
            # Sums over threads are split differently for another number of them.
            threads = int(checkpoint.header.get("threads", 0))
        device = pick_device(config.train.device)
        stack.enter_context(backend_in_use(config.train.backend))
        stack.enter_context(threads_in_use(threads))
        data = load_data(config.data, say, run=path)
        if checkpoint is not None:
            then = checkpoint.header.get("data", {})
            check_same_data(then, data, checkpoint.path, "or start a new run")
        seed_step(config.train.seed, INIT_STREAM)
        model = build_model(config.model.name, config.model.options, data.image_size, data.channels)
        trainer = Trainer(config, model.to(device), data.to(device), folder)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            _set_aside(found, checkpoint)
        if config != stored:
            folder.write_config(config)
        if trainer.step >= trainer.total:
            say(
                f"run {path} is finished ({trainer.step} of {trainer.total} steps); "
                f"to go on, raise its length: --resume {path} --set train.steps=..."
            )
            if not (folder.path / "losses.png").exists():
                _last_pictures(trainer, say)
            return _result(trainer, 0, checkpoint.header.get("metrics") if checkpoint else None)
        folder.write_environment(device=str(device), backend=config.train.backend)
        say(f"resuming {path} after step {trainer.step}")
        return _run(trainer, console, say)


def _check_model(checkpoint: Checkpoint, config: Config, run: Path) -> None:
    """The checkpoint is of this run: same model, and no setting that would change its numbers."""
    described = checkpoint.header.get("model", {})
    if described.get("name") != config.model.name:
        raise DrawganError(
            f"checkpoint {str(checkpoint.path)!r} is of a {described.get('name')!r} and run "
            f"{str(run)!r} trains a {config.model.name!r}; give a checkpoint of this run"
        )
    try:
        written = config_from_table(checkpoint.header.get("config", {}))
        check_changes(written, config, str(run))
    except UsageError as error:
        raise DrawganError(
            f"checkpoint {str(checkpoint.path)!r} was made with another configuration than "
            f"{str(run / 'config.toml')!r} now holds: {error}"
        ) from None


def _set_aside(found: Sequence[Path], checkpoint: Checkpoint) -> None:
    """Going on from an older checkpoint: the newer ones keep their content under another name."""
    for other in found:
        if int(other.stem.removeprefix("step-")) > checkpoint.step:
            other.replace(other.with_name(f"{other.name}.superseded"))


def _run(trainer: Trainer, console: Console, say: Callable[[str], None]) -> RunResult:
    folder, config = trainer.folder, trainer.config
    for optimizer in trainer.optimizers:
        if optimizer.not_fused is not None:
            say(f"optimizer of {optimizer.name} is not fused: {optimizer.not_fused}")
    say(
        f"training {config.model.name} on {trainer.data.name} "
        f"({len(trainer.data)} images, {trainer.data.image_size[0]}x{trainer.data.image_size[1]}), "
        f"{trainer.total} steps of {config.train.batch_size} on {trainer.model.device}; "
        f"everything goes into {folder.path}"
    )
    try:
        with InterruptGuard() as guard:
            progress = TrainingProgress(console, done=trainer.step, total=trainer.total)
            with progress:
                trainer.run(guard, progress)
            if guard.received is None:
                _last_pictures(trainer, say)
            else:
                say(
                    f"{guard.received.name}: saved at step {trainer.step} of {trainer.total}; "
                    f"continue with --resume {folder.path}"
                )
            # Only a signal before the last step leaves something undone.
            return _result(trainer, guard.exit_code if trainer.step < trainer.total else 0)
    except OSError as error:
        raise disk_error(folder.path, error) from error


def _last_pictures(trainer: Trainer, say: Callable[[str], None]) -> None:
    folder, config, model = trainer.folder, trainer.config, trainer.model
    if not (folder.samples / f"step-{trainer.step:08d}.png").exists():
        trainer.samples(say)
    generation, reconstruction = (
        folder.path / f"{n}.gif" for n in ("generation", "reconstruction")
    )
    if config.train.animation:
        generator = sample_generator(config.train.seed)
        x = trainer.data.images[:ANIMATED].float() / 255
        with for_looking_at(generation, say), averaged(trainer.average):
            write_generation(model, generation, n=ANIMATED, generator=generator)
        with for_looking_at(reconstruction, say), averaged(trainer.average):
            write_reconstruction(model, reconstruction, x, generator=generator)
    curves = folder.path / "losses.png"
    with for_looking_at(curves, say):
        write_curves(folder.metrics, curves)


def _result(trainer: Trainer, exit_code: int, metrics: dict[str, Any] | None = None) -> RunResult:
    return RunResult(
        path=trainer.folder.path,
        step=trainer.step,
        total_steps=trainer.total,
        exit_code=exit_code,
        checkpoint=list_checkpoints(trainer.folder.checkpoints)[-1],
        metrics=metrics or trainer.last_record,
    )
