"""The IDX file format that MNIST and its kin are distributed in, plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np

from drawgan_fast.errors import DrawganError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


class ChecksumError(DrawganError):
    """A whole file whose content is another than was expected."""


def read_idx(
    path: Path,
    dims: int | tuple[int, ...],
    *,
    md5: str | None = None,
    remedy: str = "replace it by a whole copy",
) -> np.ndarray:
    """Read an IDX file, trusting nothing that its header says.

    Layout: two zero bytes, the type (0x08 for unsigned bytes), the number of dimensions, each
    dimension as a big-endian uint32, then the numbers in row-major order, big-endian.

    Args:
        path: the file; gzip is recognised by its first bytes, not by its name.
        dims: expected number of dimensions (3 for images, 1 for labels), or several.
        md5: expected checksum of the **unpacked** content, so that a file that was packed again
            still counts; None leaves it unchecked.
        remedy: the way out that an error message ends with.

    Returns:
        An array of so many dimensions; uint8 where the file holds unsigned bytes.

    Raises:
        DrawganError: the file is unreadable, truncated, too long, of another type or shape.
        ChecksumError: it is a whole file, with another checksum.

    Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]))
    >>> read_idx(path, dims=1).tolist()
    [7, 3]
    """

    def refuse(what: str) -> DrawganError:
        return DrawganError(f"{path} {what}: {remedy}.")

    allowed = (dims,) if isinstance(dims, int) else dims
    content = read_plain(path, remedy)
    if len(content) < 4:
        raise refuse(f"is truncated: {len(content)} bytes, fewer than its header")
    kind, count = _TYPES.get(content[2]), content[3]
    if content[:2] != b"\0\0" or kind is None or count not in allowed:
        raise refuse(
            f"is not an IDX file of numbers in {' or '.join(map(str, allowed))} dimensions "
            f"(expected magic number 000008{allowed[0]:02x}, got {content[:4].hex()})"
        )
    header = 4 + 4 * count
    if len(content) < header:
        raise refuse(f"is truncated: {len(content)} bytes, fewer than its header of {header}")
    shape = tuple(int(side) for side in np.frombuffer(content[:header], ">u4", count, 4))
    announced = math.prod(shape) * np.dtype(kind).itemsize
    if len(content) - header != announced:
        raise refuse(
            f"is truncated or corrupt: its header announces {announced} bytes of data "
            f"(shape {shape}), it holds {len(content) - header}"
        )
    if md5 is not None:
        actual = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if actual != md5:
            raise ChecksumError(
                f"{path} is not the official file (expected md5 {md5} unpacked, got {actual}): "
                f"{remedy}."
            )
    array = np.frombuffer(content, kind, offset=header).reshape(shape)
    # A copy, because an array over immutable bytes cannot become a tensor without a warning.
    return array.astype(array.dtype.newbyteorder("="))


def read_plain(path: Path, remedy: str) -> bytes:
    """The bytes of a file, unpacked where they are gzip's.

    Raises:
        DrawganError: the file is unreadable or a damaged gzip file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DrawganError(f"cannot read {path} ({error.strerror}): {remedy}.") from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DrawganError(
            f"{path} is a truncated or corrupt gzip file ({error}): {remedy}."
        ) from error


def looks_like_idx(path: Path) -> bool:
    """Whether a file begins as an IDX file does, gzipped or not.

    >>> looks_like_idx(Path(__file__))
    False
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
        with gzip.open(path) if packed else path.open("rb") as file:
            start = file.read(4)
    except (EOFError, OSError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _TYPES and start[3] > 0
