"""Entry point: gathers the commands and turns errors that people can act on into one sentence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from drawgan_fast._version import __version__
from drawgan_fast.cli import streams
from drawgan_fast.cli.compare import compare
from drawgan_fast.cli.evaluate import evaluate
from drawgan_fast.cli.info import info
from drawgan_fast.cli.sample import sample
from drawgan_fast.cli.train import train
from drawgan_fast.errors import DrawganError

app = typer.Typer(
    name="drawgan",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=(
        "Train, score and show VAE, InfoVAE, DRAW and DRAW-GAN with fused attention kernels. "
        "Start with: drawgan train"
    ),
    epilog="Exit codes: 0 done, 1 something outside the program is wrong (a file, a disk, a run "
    "that diverged), 2 the request itself is wrong, 129, 130 and 143 stopped by SIGHUP, SIGINT and "
    "SIGTERM with everything saved.",
)
for command in (train, evaluate, sample, compare, info):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"drawgan_fast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train, score and show VAE, InfoVAE, DRAW and DRAW-GAN with fused attention kernels."""


def main() -> None:
    """Run the command line; the exit code says how it went, see ``drawgan --help``."""
    from drawgan_fast.backends import BackendError

    streams.prepare()
    try:
        try:
            app()
        finally:
            streams.finish()
    except DrawganError as error:
        print(f"drawgan: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BackendError as error:
        print(f"drawgan: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("drawgan: interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        # What no command expected of a machine is a sentence all the same.
        where = f"{str(error.filename)!r}: " if error.filename else ""
        print(f"drawgan: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
