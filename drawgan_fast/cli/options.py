"""Options that several commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from drawgan_fast.errors import UsageError

DATA_FORMS = (
    "mnist; or a folder of images, of IDX files (Fashion-MNIST, KMNIST, EMNIST, ...) or of .amat "
    "files (static binarised MNIST); or one IDX, .amat, .npy or .npz file."
)
DataAgain = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Where the run's images are now, if they have moved; known by their checksum.",
        show_default="as the run has it",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the official MNIST files; otherwise DRAWGAN_DATA, the cache, public "
        "mirrors, and at last the digits shipped with the package.",
    ),
]
Download = Annotated[
    bool | None,
    typer.Option(
        "--download/--no-download", help="May missing files be fetched?", show_default="yes"
    ),
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


def data_settings(data: str | None, data_dir: Path | None, download: bool | None) -> list[str]:
    """What the options that name data change in a configuration.

    Raises:
        UsageError: ``data_dir`` was given for data that is no set by name.

    >>> data_settings("mnist", Path("digits"), None)
    ['data.name="mnist"', 'data.data_dir="digits"']
    """
    from drawgan_fast.data import is_name

    if data is not None and data_dir is not None and not is_name(data):
        raise UsageError(
            f"--data-dir {data_dir} says where the files of --data mnist are, and --data {data} is "
            "a path itself; leave one away"
        )
    given = {"data.name": data, "data.data_dir": data_dir}
    settings = [f"{key}={toml_string(value)}" for key, value in given.items() if value is not None]
    if download is not None:
        settings.append(f"data.download={str(download).lower()}")
    return settings


def say(line: str) -> None:
    """One line for people, on stderr, so that stdout carries results alone."""
    typer.echo(line, err=True)


def toml_string(value: str | Path) -> str:
    """A string as TOML writes it, for a setting whose value must not be read as something else.

    Raises:
        UsageError: it is a path whose bytes are no UTF-8.

    >>> toml_string("7"), toml_string("📁")
    ('"7"', '"📁"')
    """
    import tomli_w

    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!a} is no UTF-8: rename it, or give a link to it") from None
    return tomli_w.dumps({"value": text}).removeprefix("value = ").rstrip("\n")
