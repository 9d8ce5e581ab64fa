"""``drawgan train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drawgan_fast.cli.options import (
    DATA_FORMS,
    DataDir,
    Download,
    Settings,
    data_settings,
    toml_string,
)
from drawgan_fast.errors import UsageError


def train(
    preset: Annotated[
        str | None,
        typer.Option(
            help="quick: digits in minutes on a laptop. authors: the DRAW-GAN authors' settings. "
            "authors-code: the same with their published code's loss. paper: DRAW's T=64 network.",
            show_default="quick",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="draw-gan, draw, vae or info-vae.", show_default="the preset's"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file whose keys win over the preset's.")
    ] = None,
    settings: Settings = None,
    data: Annotated[
        str | None,
        typer.Option(help=f"{DATA_FORMS} With --resume: where the run's images are now."),
    ] = None,
    data_dir: DataDir = None,
    download: Download = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; must not exist.", show_default="runs/…"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Continue a run where it stopped; on CPU bit for bit."),
    ] = None,
) -> None:
    """Train a model; with no options, DRAW-GAN on MNIST, small enough for a laptop.

    Everything goes into one run folder: the resolved configuration, metrics, checkpoints, grids of
    samples and an animation of the canvas being painted. Ctrl-C saves and stops; --resume RUN goes
    on from there.
    """
    from drawgan_fast import training

    layers = data_settings(data, data_dir, download)
    if resume is not None:
        given = {"--preset": preset, "--model": model, "--config": config}
        clash = [name for name, value in given.items() if value is not None]
        if clash:
            raise UsageError(f"--resume keeps the run's own configuration; leave {clash[0]} away")
        result = training.train(resume=resume, out=out, settings=[*layers, *(settings or [])])
    else:
        if model is not None:
            layers.insert(0, f"model.name={toml_string(model)}")
        layers += settings or []
        result = training.train(
            training.load_config(preset or "quick", file=config, settings=layers), out=out
        )
    if result.exit_code:
        raise typer.Exit(result.exit_code)
    if result.finished:
        typer.echo(f"{result.path}")
