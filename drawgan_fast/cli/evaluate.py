"""``drawgan evaluate``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

import typer

from drawgan_fast.cli.options import (
    DataAgain,
    DataDir,
    Download,
    Ema,
    RunArgument,
    data_settings,
)
from drawgan_fast.cli.scoring import (
    bound_of,
    generator_of,
    load_images,
    make_evaluator,
    progress_line,
)


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
    data: DataAgain = None,
    data_dir: DataDir = None,
    download: Download = None,
    other_data: Annotated[
        bool,
        typer.Option("--other-data", help="Score on other images than the run was trained on."),
    ] = False,
    ema: Ema = None,
) -> None:
    """Score a trained model in the paper's convention and in a standard one.

    On the images that it was trained on (their checksum is in the checkpoint) and the test images
    that belong to them.

    Each score stands beside its real-vs-real floor: what two sets of real images score against
    each other under the same protocol. Models with a likelihood also get their test bound in nats
    on binarised images.
    """
    from drawgan_fast.training import find_checkpoint, load_checkpoint, load_model, read_config
    from drawgan_fast.training.config_load import override
    from drawgan_fast.training.run_data import check_same_data
    from drawgan_fast.training.run_data import other_data as others

    checkpoint = load_checkpoint(find_checkpoint(run))
    config = override(read_config(checkpoint), data_settings(data, data_dir, download))
    model = load_model(checkpoint, ema=ema)
    real = load_images(config.data, model=model, run=run)
    then = checkpoint.header.get("data", {})
    if not other_data:
        otherwise = "to score on these ones give --other-data"
        check_same_data(then, real.train, checkpoint.path, otherwise)
    with progress_line() as progress:
        evaluator = make_evaluator(real, n=n, seeds=seeds, progress=progress)
        report = evaluator.evaluate(generator_of(model), config.model.name)
        bound = None
        if bound_images:
            bound = bound_of(
                model, real.test, images=bound_images, samples=bound_samples, progress=progress
            )
    differ = others(then, real.train)
    if differ is not None:
        report = replace(report, notes=(*report.notes, f"The model was {differ}."))
    report = replace(report, bound=bound)
    if as_json:
        result = {
            "checkpoint": str(checkpoint.path),
            "data": real.facts(),
            **report.to_dict(),
        }
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    typer.echo(report.text(data=config.data.name, model=config.model.name))
