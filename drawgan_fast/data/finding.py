"""The image files under a folder, and what is there besides and was left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from drawgan_fast.errors import DrawganError

# Formats that Pillow opens but that are no pictures, need another program or run code.
_NO_PICTURES = frozenset(("BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"))
_NAMED = 3  # of each kind of what was left out


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        paths: image files, ordered by path.
        left_out: what was not followed or read, by the reason.
    """

    paths: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, reason: str, *paths: Path) -> None:
        """Note something that is not used."""
        self.left_out.setdefault(reason, []).extend(paths)

    def left_out_line(self, folder: Path) -> str | None:
        """One line that counts and names what was left out; None where nothing was.

        >>> found = Found()
        >>> found.leave_out("no image", Path("a/x.txt"), Path("a/y.txt"))
        >>> found.left_out_line(Path("a"))
        'a: left out 2 (no image: x.txt, y.txt)'
        """
        if not self.left_out:
            return None
        kinds = []
        for reason, paths in self.left_out.items():
            names = sorted(path.relative_to(folder).as_posix() for path in paths)[:_NAMED]
            more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
            kinds.append(f"{reason}: {', '.join(names)}{more}")
        count = sum(len(paths) for paths in self.left_out.values())
        return f"{folder}: left out {count:,} ({'; '.join(kinds)})"


@cache
def suffixes() -> frozenset[str]:
    """Endings of the image files that Pillow reads, in lower case.

    >>> {".png", ".jfif", ".jpe"} <= suffixes()
    True
    """
    from PIL import Image

    readable = set()
    for suffix, kind in Image.registered_extensions().items():
        # MPO files are JPEGs with more behind them, and are opened as such.
        if (kind in Image.OPEN or kind == "MPO") and kind not in _NO_PICTURES:
            readable.add(suffix)
    return frozenset(readable)


def find_images(folder: Path) -> Found:
    """Image files at or under ``folder``, ordered by path.

    Symbolic links are followed; a folder that is reached twice (or contains itself) counts once,
    under its own path where it lies in ``folder``. Names that begin with a dot are not looked at.
    Run folders of this program are left out: their pictures are what a model made.

    Raises:
        DrawganError: a folder cannot be listed.

    >>> find_images(Path(__file__).parent / "assets").paths
    []
    """
    found = Found()
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:  # links wait until all that is really there has been seen
        start = waiting.pop(0)
        if _is_new(start, seen):
            waiting += _walk(start, found, seen)
        else:
            found.leave_out("the same folder again", start)
    found.paths.sort(key=lambda path: path.relative_to(folder).as_posix())
    return found


def _walk(start: Path, found: Found, seen: set[tuple[int, int]]) -> list[Path]:
    """Collect what lies under ``start``; returns the linked folders that it met."""
    links: list[Path] = []
    folders = [start]
    while folders:
        place = folders.pop()
        if is_run_folder(place):
            found.leave_out("run folder of this program", place)
            continue
        for entry in _entries(place):
            path = place / entry.name
            if entry.is_dir():
                if entry.is_symlink():
                    links.append(path)
                elif _is_new(path, seen):
                    folders.append(path)
                else:
                    found.leave_out("the same folder again", path)
            elif path.suffix.lower() in suffixes() and (entry.is_file() or entry.is_symlink()):
                found.paths.append(path)  # of a broken link the reader says so
            else:
                broken = entry.is_symlink() and not path.exists()
                found.leave_out("broken link" if broken else "no image", path)
    return links


def _entries(place: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DrawganError(f"cannot list {place} ({error.strerror}).") from error
    return (entry for entry in listed if not entry.name.startswith("."))


def _is_new(place: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = place.stat()
    except OSError as error:
        raise DrawganError(f"cannot list {place} ({error.strerror}).") from error
    key = (status.st_dev, status.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def is_run_folder(place: Path) -> bool:
    """Whether ``drawgan train`` made this folder: it has a ``config.toml`` and ``checkpoints/``.

    >>> is_run_folder(Path(__file__).parent)
    False
    """
    return (place / "config.toml").is_file() and (place / "checkpoints").is_dir()
