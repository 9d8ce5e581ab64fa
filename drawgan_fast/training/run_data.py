"""The images of a run: loaded in one place for every command, and known again by a checksum."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drawgan_fast.errors import DrawganError, UsageError
from drawgan_fast.training.config import Config, DataSection

if TYPE_CHECKING:
    from drawgan_fast.data import ImageData
    from drawgan_fast.data.pixels import Channels

#: What every command that uses a run's data takes, and the keys behind it.
NAME_AGAIN = "name their present place with --data or --data-dir (data.name, data.data_dir)"


def load_data(
    section: DataSection,
    say: Callable[[str], None],
    *,
    split: Literal["train", "test"] = "train",
    size: tuple[int, int] | None = None,
    channels: Channels = "auto",
    run: Path | None = None,
) -> ImageData:
    """The images of a configuration, on the CPU: the same bytes for whoever asks.

    Args:
        section: ``[data]``.
        say: told what people should know, such as which images are used instead.
        split: which of them.
        size: (H, W) of the model they are for; None: ``section.size``.
        channels: of the model they are for.
        run: whose data it is, where it was not named just now.

    Raises:
        UsageError: there is no such data.
        DrawganError: from the data room: damaged, of the wrong kind.
    """
    from drawgan_fast.data import is_name, load

    if run is not None and not is_name(section.name) and not os.path.exists(section.name):
        raise UsageError(
            f"the images that {str(run)!r} was trained on are not at {section.name!r} (any more): "
            f"{NAME_AGAIN}"
        )
    return load(
        section.name,
        split,
        data_dir=Path(section.data_dir) if section.data_dir is not None else None,
        download=section.download,
        size=size if size is not None else section.size,
        channels=channels,
        notify=say,
    )


def with_absolute_data(config: Config) -> Config:
    """The configuration with its data named so that it is found from anywhere.

    Raises:
        UsageError: a path is no UTF-8, as the configuration file is.

    >>> from drawgan_fast.training import load_config
    >>> config = load_config(settings=["data.name=x.npy"], check_model=False)
    >>> Path(with_absolute_data(config).data.name).is_absolute()
    True
    """
    from drawgan_fast.data import absolute

    data = config.data
    folder = Path(data.data_dir).expanduser().absolute() if data.data_dir is not None else None
    changed = {
        "name": absolute(data.name),
        "data_dir": None if folder is None else str(folder),
    }
    for path in filter(None, changed.values()):
        if path != path.encode(errors="ignore").decode():  # bytes that Python kept as surrogates
            raise UsageError(
                f"the path of the data, {path!a}, is no UTF-8, and a run's config.toml has to hold "
                "it: rename the folder, or give a link to it from another one"
            )
    return config.model_copy(update={"data": data.model_copy(update=changed)})


def fingerprint(data: ImageData) -> dict[str, Any]:
    """What tells these images from others: their number and the CRC-32 of their pixels."""
    pixels = data.images.cpu().contiguous().numpy()
    return {"name": data.name, "images": len(data), "crc32": zlib.crc32(pixels.data)}


def other_data(stored: dict[str, Any], data: ImageData) -> str | None:
    """Half a sentence where a run's data and these images differ; None where they are the same.

    Args:
        stored: :func:`fingerprint` of the images that the run was trained on.
        data: training images of the same size.
    """
    now = fingerprint(data)
    if (stored.get("images"), stored.get("crc32")) == (now["images"], now["crc32"]):
        return None
    return (
        f"trained on other images: {stored.get('images')} of {stored.get('name')!r} then, "
        f"{now['images']} of {now['name']!r} now ({data.source})"
    )


def check_same_data(stored: dict[str, Any], data: ImageData, path: Path, otherwise: str) -> None:
    """A run goes on with, and is scored on, the images it began with.

    Args:
        stored: in the header of the checkpoint ``path``.
        data: training images.
        path: for the sentence.
        otherwise: what one can do who wants other images.

    Raises:
        DrawganError: these are others.
    """
    other = other_data(stored, data)
    if other is not None:
        raise DrawganError(
            f"checkpoint {str(path)!r} was {other}; to use the first ones {NAME_AGAIN}; {otherwise}"
        )
