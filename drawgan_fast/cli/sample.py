"""``drawgan sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from drawgan_fast.cli.options import Ema, RunArgument, Seed
from drawgan_fast.errors import DrawganError


def sample(
    run: RunArgument,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many images.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for grid.png and generation.gif; files there of those names are replaced.",
            show_default="samples/ of the run, or beside a checkpoint that was copied away",
        ),
    ] = None,
    seed: Seed = 0,
    ema: Ema = None,
) -> None:
    """Draw new images from a trained model: a grid, and an animation of how they are drawn."""
    from drawgan_fast.training import find_checkpoint, load_model
    from drawgan_fast.training.checkpoint import run_of
    from drawgan_fast.training.pictures import ANIMATED, write_generation
    from drawgan_fast.viz import image_grid, save_png

    checkpoint = find_checkpoint(run)
    model = load_model(checkpoint, ema=ema)
    folder = out if out is not None else (run_of(checkpoint) or checkpoint.parent) / "samples"
    _make(folder)
    generator = torch.Generator().manual_seed(seed)
    save_png(image_grid(model.generate(n, generator=generator)), folder / "grid.png")
    typer.echo(str(folder / "grid.png"))
    drawing = folder / "generation.gif"
    generator.manual_seed(seed)
    try:
        drawn = write_generation(model, drawing, n=min(n, ANIMATED), generator=generator)
    except (OSError, ImportError) as error:  # a Pillow without FreeType, for one
        raise DrawganError(f"{drawing} was not made: {error}") from error
    if drawn:
        typer.echo(str(drawing))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DrawganError(
            f"folder {str(folder)!r} cannot be made ({error.strerror}); give another with --out"
        ) from None
