"""``drawgan compare``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from drawgan_fast.cli.options import (
    DATA_FORMS,
    DataDir,
    Download,
    Settings,
    data_settings,
    say,
    toml_string,
)
from drawgan_fast.cli.scoring import generator_of, load_images, make_evaluator, progress_line
from drawgan_fast.errors import UsageError
from drawgan_fast.files import write_atomically

# In the order of the paper's Table I.
COMPARED = ("vae", "info-vae", "draw", "draw-gan")


def compare(
    data: Annotated[str, typer.Option(help=DATA_FORMS)] = "mnist",
    preset: Annotated[str, typer.Option(help="Preset that every model is trained with.")] = "quick",
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps of each model.", show_default="the preset's"),
    ] = None,
    settings: Settings = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the four runs and the table; must not exist.")
    ] = Path("runs/compare"),
    n: Annotated[
        int, typer.Option("--n", "-n", min=4, help="Images of the standard column.")
    ] = 10_000,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of the scores.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    data_dir: DataDir = None,
    download: Download = None,
) -> None:
    """Train VAE, InfoVAE, DRAW and DRAW-GAN on one budget and print the paper's Table I beside.

    The budget is the number of training images: the same steps of the same batch size, in the
    same order. Training times are printed as well, as in the paper's Figure 10.
    """
    from drawgan_fast import training
    from drawgan_fast.metrics import comparison_text
    from drawgan_fast.training.run_data import with_absolute_data
    from drawgan_fast.training.run_folder import RunFolder
    from drawgan_fast.training.setup import run_length

    if os.path.lexists(out):
        raise UsageError(f"--out {str(out)!r} exists already; give a new folder")
    RunFolder.refuse_existing(out)  # nor is it a name that no folder can have
    layers = data_settings(data, data_dir, download)
    if steps is not None:
        layers.append(f"train.steps={steps}")
    # All four are checked before the first is trained.
    configs = {
        name: training.load_config(
            preset, settings=[f"model.name={toml_string(name)}", *layers, *(settings or [])]
        )
        for name in COMPARED
    }
    reports: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    section = with_absolute_data(configs[COMPARED[0]]).data
    real = load_images(section)
    for config in configs.values():
        run_length(config, real.train)
    with progress_line() as progress:
        evaluator = make_evaluator(real, n=n, seeds=seeds, progress=progress)
    for name, config in configs.items():
        result = training.train(config, out=out / name)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
        seconds[name] = float(result.metrics.get("seconds", float("nan")))
        say(f"scoring {name}")
        reports[name] = evaluator.evaluate(generator_of(training.load_model(result.path)), name)
    result_table = {
        "data": real.facts(),
        "seconds": seconds,
        "reports": {name: report.to_dict() for name, report in reports.items()},
    }
    table = f"{json.dumps(result_table, indent=2)}\n"
    write_atomically(out / "comparison.json", table.encode())
    text = comparison_text(reports, section.name) + "\n\n" + _times(seconds)
    write_atomically(out / "comparison.txt", f"{text}\n".encode())
    typer.echo(json.dumps(result_table, indent=2) if as_json else text)


def _times(seconds: dict[str, float]) -> str:
    """Training times, the fastest as 1.

    >>> print(_times({"vae": 10.0, "draw": 35.0}))
    training time: vae 10 s (1.0x), draw 35 s (3.5x)
    """
    least = min(seconds.values())
    parts = [f"{name} {s:.0f} s ({s / least:.1f}x)" for name, s in seconds.items()]
    return "training time: " + ", ".join(parts)
