"""``drawgan evaluate``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from drawgan_fast.cli.options import DataDir, Download, Ema, RunArgument
from drawgan_fast.cli.scoring import bound_of, generator_of, make_evaluator, progress_line


def evaluate(
    run: RunArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout instead of tables.")
    ] = False,
    n: Annotated[
        int, typer.Option("--n", "-n", min=4, help="Images of the standard column.")
    ] = 10_000,
    seeds: Annotated[
        int, typer.Option(min=1, help="Independent repetitions; the spread is over them.")
    ] = 3,
    bound_images: Annotated[
        int, typer.Option(min=0, help="Test images for the bound in nats; 0 leaves it out.")
    ] = 10_000,
    bound_samples: Annotated[
        int, typer.Option(min=1, help="Draws per image of the importance-weighted bound.")
    ] = 1,
    data_dir: DataDir = None,
    download: Download = True,
    ema: Ema = None,
) -> None:
    """Score a trained model in the paper's convention and in a standard one.

    Each score stands beside its real-vs-real floor: what two sets of real images score against
    each other under the same protocol. Models with a likelihood also get their test bound in nats
    on binarised images.
    """
    from drawgan_fast.training import find_checkpoint, load_model, read_config

    checkpoint = find_checkpoint(run)
    config = read_config(checkpoint.parent.parent)
    model = load_model(checkpoint, ema=ema)
    with progress_line() as progress:
        evaluator = make_evaluator(
            config, data_dir=data_dir, download=download, n=n, seeds=seeds, progress=progress
        )
        report = evaluator.evaluate(generator_of(model), config.model.name)
        bound = None
        if bound_images:
            bound = bound_of(
                model,
                config,
                data_dir=data_dir,
                download=download,
                images=bound_images,
                samples=bound_samples,
                progress=progress,
            )
    report = replace(report, bound=bound)
    if as_json:
        result = {"checkpoint": str(checkpoint), **report.to_dict()}
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    typer.echo(report.text(data=config.data.name, model=config.model.name))
