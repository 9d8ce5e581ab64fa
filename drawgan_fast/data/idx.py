"""The IDX file format that MNIST is distributed in, plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np

from drawgan_fast.errors import DrawganError

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(
    path: Path, dims: int, *, md5: str | None = None, remedy: str = "replace it by a whole copy"
) -> np.ndarray:
    """Read an IDX file of unsigned bytes, trusting nothing that its header says.

    Layout: two zero bytes, the type (0x08), the number of dimensions, each dimension as a
    big-endian uint32, then the bytes in row-major order.

    Args:
        path: the file; gzip is recognised by its first bytes, not by its name.
        dims: expected number of dimensions (3 for images, 1 for labels).
        md5: expected checksum of the **unpacked** content, so that a file that was packed again
            still counts; None leaves it unchecked.
        remedy: the way out that an error message ends with.

    Returns:
        uint8 array of ``dims`` dimensions.

    Raises:
        DrawganError: the file is unreadable, truncated, too long, of another type or shape, or
            its checksum differs.

    Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]))
    >>> read_idx(path, dims=1).tolist()
    [7, 3]
    """

    def refuse(what: str) -> DrawganError:
        return DrawganError(f"{path} {what}: {remedy}.")

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DrawganError(f"cannot read {path} ({error.strerror}): {remedy}.") from error
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise refuse(f"is a truncated or corrupt gzip file ({error})") from error

    header = 4 + 4 * dims
    if len(content) < header:
        raise refuse(f"is truncated: {len(content)} bytes, fewer than its header of {header}")
    expected_magic = bytes((0, 0, _UNSIGNED_BYTE, dims))
    if content[:4] != expected_magic:
        raise refuse(
            f"is not an IDX file of bytes in {dims} dimensions "
            f"(expected magic number {expected_magic.hex()}, got {content[:4].hex()})"
        )
    shape = tuple(int(side) for side in np.frombuffer(content, ">u4", dims, 4))
    if len(content) - header != math.prod(shape):
        raise refuse(
            f"is truncated or corrupt: its header announces {math.prod(shape)} bytes of data "
            f"(shape {shape}), it holds {len(content) - header}"
        )
    if md5 is not None:
        actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if actual != md5:
            raise refuse(f"is not the official file (expected md5 {md5} unpacked, got {actual})")
    # A copy, because an array over immutable bytes cannot become a tensor without a warning.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()
