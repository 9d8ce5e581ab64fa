"""``drawgan compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from drawgan_fast.cli.options import DataDir, Download, Settings, say, toml_string
from drawgan_fast.cli.scoring import generator_of, make_evaluator, progress_line
from drawgan_fast.errors import UsageError

# In the order of the paper's Table I.
COMPARED = ("vae", "info-vae", "draw", "draw-gan")


def compare(
    data: Annotated[
        str, typer.Option(help="mnist, a folder of images, or an .npy or .npz file.")
    ] = "mnist",
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
    download: Download = True,
) -> None:
    """Train VAE, InfoVAE, DRAW and DRAW-GAN on one budget and print the paper's Table I beside.

    The budget is the number of training images: the same steps of the same batch size, in the
    same order. Training times are printed as well, as in the paper's Figure 10.
    """
    from drawgan_fast import training
    from drawgan_fast.metrics import comparison_text

    if out.exists():
        raise UsageError(f"--out {str(out)!r} exists already; give a new folder")
    layers = [f"data.name={toml_string(data)}"]
    if data_dir is not None:
        layers.append(f"data.data_dir={toml_string(data_dir)}")
    if not download:
        layers.append("data.download=false")
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
    with progress_line() as progress:
        first = configs[COMPARED[0]]
        evaluator = make_evaluator(
            first, data_dir=data_dir, download=download, n=n, seeds=seeds, progress=progress
        )
    for name, config in configs.items():
        result = training.train(config, out=out / name)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
        seconds[name] = float(result.metrics.get("seconds", float("nan")))
        say(f"scoring {name}")
        reports[name] = evaluator.evaluate(generator_of(training.load_model(result.path)), name)
    result_table = {
        "seconds": seconds,
        "reports": {name: report.to_dict() for name, report in reports.items()},
    }
    (out / "comparison.json").write_text(json.dumps(result_table, indent=2) + "\n")
    text = comparison_text(reports, data) + "\n\n" + _times(seconds)
    (out / "comparison.txt").write_text(text + "\n")
    typer.echo(json.dumps(result_table, indent=2) if as_json else text)


def _times(seconds: dict[str, float]) -> str:
    """Training times, the fastest as 1.

    >>> print(_times({"vae": 10.0, "draw": 35.0}))
    training time: vae 10 s (1.0x), draw 35 s (3.5x)
    """
    least = min(seconds.values())
    parts = [f"{name} {s:.0f} s ({s / least:.1f}x)" for name, s in seconds.items()]
    return "training time: " + ", ".join(parts)
