"""Pictures reach the disk whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from drawgan_fast.errors import DrawganError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it: a temporary file beside it, then a rename.

    Args:
        path: its folder must exist; a file of that name is replaced.
        content: everything the file shall hold.

    Raises:
        DrawganError: the disk is full, the folder is missing or not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DrawganError(
            f"cannot write {path} ({error.strerror}): free some space or choose another folder."
        ) from error
