"""Make the digits that are shipped with the package out of the official MNIST files.

``python -m drawgan_fast.data.make_subset SOURCE_DIR`` writes ``assets/mnist_subset.npz`` anew, byte
for byte the same each time.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

from drawgan_fast.data.mnist import SUBSET, load_mnist
from drawgan_fast.data.pixels import Split
from drawgan_fast.errors import DrawganError

PER_CLASS: dict[Split, int] = {"train": 500, "test": 100}


def choose(labels: np.ndarray, per_class: int) -> np.ndarray:
    """Indices of ``per_class`` images of each class, evenly spaced through the file.

    Evenly spaced and not the first ones: the first half of MNIST's test file is by other, neater
    writers than the second.

    Args:
        labels: int [n].
        per_class: images of each class, at most what the rarest class has.

    Returns:
        int [classes · per_class], ascending.

    >>> choose(np.array([0, 1, 0, 1, 0, 1, 0, 1]), 2).tolist()
    [0, 1, 4, 5]
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.arange(per_class) * len(members) // per_class])
    return np.sort(np.concatenate(chosen))


def make_subset(source: Path) -> bytes:
    """The subset as the bytes of an ``.npz`` file.

    Args:
        source: folder with the official files.

    Raises:
        DrawganError: the files are not there or not the official ones.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, per_class in PER_CLASS.items():
        data = load_mnist(split, data_dir=source)
        assert data.labels is not None
        indices = choose(data.labels.numpy(), per_class)
        arrays[f"{split}_images"] = data.images[indices, 0].numpy()
        arrays[f"{split}_labels"] = data.labels[indices].numpy().astype(np.uint8)
    return npz_bytes(arrays)


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """An ``.npz`` file with no trace of the time or the machine that it was written on.

    >>> one = npz_bytes({"a": np.arange(3)})
    >>> one == npz_bytes({"a": np.arange(3)})
    True
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980-01-01
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(entry, content.getvalue(), compresslevel=9)
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m drawgan_fast.data.make_subset")
    parser.add_argument("source", type=Path, help="folder with the four official MNIST files")
    default = Path(__file__).with_name("assets") / SUBSET
    parser.add_argument("--output", type=Path, default=default, help="default: %(default)s")
    options = parser.parse_args(arguments)
    output: Path = options.output
    temporary = output.with_name(output.name + ".tmp")
    try:
        content = make_subset(options.source)
        temporary.write_bytes(content)
        os.replace(temporary, output)
    except (DrawganError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
