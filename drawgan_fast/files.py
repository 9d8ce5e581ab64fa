"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import zlib
from pathlib import Path

from drawgan_fast.errors import DrawganError

_log = logging.getLogger("drawgan_fast.files")
_NOT_DONE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_said: set[int | None] = set()

#: Ending of files that are being written; whatever bears it after a crash may be removed.
TEMPORARY = ".tmp"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at every moment the old content or the new one is there, entire.

    A temporary file in the same folder is written and flushed to the disk (fsync), renamed over
    ``path`` (atomic in POSIX), and the folder is flushed so that the rename survives a power cut.
    On failure the temporary file is removed and ``path`` is as it was.

    Args:
        path: where to; its folder exists.
        data: the content.

    Raises:
        DrawganError: the disk is full or refuses.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_atomically(path, b"whole"); path.read_bytes()
        b'whole'
    """
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            sync(file.fileno(), path.parent)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _temporary_name(name: str) -> str:
    """Hidden, of this process and this file, and no longer than a name may be.

    >>> len(_temporary_name("ü" * 127).encode()) <= 255
    True
    """
    return f".{name[:40]}.{zlib.crc32(name.encode(errors='surrogateescape')):08x}.{os.getpid()}" + (
        TEMPORARY
    )


def sync(descriptor: int, folder: Path) -> None:
    """Flush a file, or the folder itself, to the disk, and say once where that cannot be done.

    Some file systems (of networks, of phones, of user space) do not flush files or folders.

    Raises:
        OSError: the disk refuses.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_DONE:
            raise
        _say_not_flushed(folder, error)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; NTFS journals the rename by itself.
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in (*_NOT_DONE, errno.EACCES, errno.EPERM):  # of one not to be read
            raise
        _say_not_flushed(folder, error)
        return
    try:
        sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _say_not_flushed(folder: Path, error: OSError) -> None:
    if error.errno not in _said:
        _said.add(error.errno)
        _log.warning(
            "%s is on a file system that does not flush to the disk (%s): after a power cut the "
            "newest files may be missing",
            folder,
            error.strerror,
        )


def disk_error(path: Path, error: OSError) -> DrawganError:
    """An operating system's refusal to write ``path``, as a sentence with a way out."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DrawganError(
            f"no space left to write {str(path)!r} ({error.strerror}); what was there before is "
            "untouched: free some space, then try again (a run continues with --resume)"
        )
    return DrawganError(
        f"{str(path)!r} cannot be written: {error.strerror or error}; check the path and its "
        "permissions"
    )


def remove_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder."""
    for leftover in folder.glob(f".*{TEMPORARY}"):
        leftover.unlink(missing_ok=True)
