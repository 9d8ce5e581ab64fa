"""Images as text, a line of 0s and 1s each: the form of static binarised MNIST."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from drawgan_fast.data.idx import read_plain
from drawgan_fast.errors import DrawganError


def read_binary_text(path: Path) -> np.ndarray:
    """Read square images of 0s and 1s, one a line, the numbers of a line separated by blanks.

    ``binarized_mnist_train.amat``, ``_valid`` and ``_test`` (50,000, 10,000 and 10,000 lines of
    784) are such files; DRAW's bounds in nats are on them.

    Args:
        path: the file, gzipped or not; empty lines count for nothing.

    Returns:
        bool [n, H, H], rows first.

    Raises:
        DrawganError: the file is unreadable or of another form; the line is named.

    Source: Larochelle and Murray, "The neural autoregressive distribution estimator", 2011, after
    Salakhutdinov and Murray 2008.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.amat"
    >>> _ = path.write_text("0 1 0 0\\n1 1 1 0\\n")
    >>> read_binary_text(path).astype(int).tolist()
    [[[0, 1], [0, 0]], [[1, 1], [1, 0]]]
    """
    rows: list[bytes] = []
    remedy = "expected one image a line, as 0s and 1s separated by blanks"
    for number, line in enumerate(read_plain(path, remedy).splitlines(), 1):
        numbers = line.split()
        if not numbers:
            continue
        row = b"".join(numbers)
        if len(row) != len(numbers) or row.strip(b"01"):
            odd = next(word for word in numbers if word not in (b"0", b"1"))
            raise DrawganError(f"{path}, line {number}, holds {_shown(odd)}: {remedy}.")
        if rows and len(row) != len(rows[0]):
            raise DrawganError(
                f"{path}, line {number}, holds {len(row)} numbers and the line before it "
                f"{len(rows[0])}: {remedy}, all of one size."
            )
        rows.append(row)
    if not rows:
        raise DrawganError(f"{path} is empty: {remedy}.")
    side = math.isqrt(len(rows[0]))
    if side * side != len(rows[0]):
        raise DrawganError(
            f"{path} holds {len(rows[0])} numbers a line, which make no square image: {remedy}."
        )
    digits = np.frombuffer(b"".join(rows), np.uint8)
    return (digits == ord("1")).reshape(len(rows), side, side)


def _shown(word: bytes) -> str:
    text = repr(word[:20].decode("ascii", "replace"))
    return f"{text}..." if len(word) > 20 else text
