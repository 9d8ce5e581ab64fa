"""Options that several commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the official MNIST files; otherwise DRAWGAN_DATA, the cache, public "
        "mirrors, and at last the digits shipped with the package.",
    ),
]
Download = Annotated[
    bool, typer.Option("--download/--no-download", help="May missing files be fetched?")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the configuration, e.g. train.steps=500; may be repeated.",
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(help="Run folder of `drawgan train`, or one checkpoint file of it.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random draw.")]
Ema = Annotated[
    bool | None,
    typer.Option(
        "--ema/--no-ema", help="Use the averaged weights; the default is where there are any."
    ),
]


def say(line: str) -> None:
    """One line for people, on stderr, so that stdout carries results alone."""
    typer.echo(line, err=True)


def toml_string(value: str | Path) -> str:
    """A string as TOML writes it, for a setting whose value must not be read as something else."""
    import json

    return json.dumps(str(value))
