"""MNIST: from a folder, from the user's cache, from public mirrors, or the shipped subset."""

from __future__ import annotations

import os
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch

from drawgan_fast.data.dataset import ImageData
from drawgan_fast.data.file_sets import files_in
from drawgan_fast.data.idx import ChecksumError, read_idx
from drawgan_fast.data.pixels import Split
from drawgan_fast.errors import DrawganError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SUBSET = "mnist_subset.npz"
SHAPES = {"train": (60_000, 28, 28), "test": (10_000, 28, 28)}

# File name without ".gz" -> (md5 of the official .gz, md5 of its content).
FILES = {
    "train-images-idx3-ubyte": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "6bbc9ace898e44ae57da46a324031adb",
    ),
    "train-labels-idx1-ubyte": (
        "d53e105ee54ea40749a09fcbcd1e9432",
        "a25bea736e30d166cdddb491f175f624",
    ),
    "t10k-images-idx3-ubyte": (
        "9fb629c4189551a2d022fa330f9573f3",
        "2646ac647ad5339dbf082846283269ea",
    ),
    "t10k-labels-idx1-ubyte": (
        "ec29112dd5afa0611ce80d1b7f02629c",
        "27ae3e4e09519cfbb04c329615203637",
    ),
}

_PREFIX = {"train": "train", "test": "t10k"}
_CONNECT_SECONDS = 3.0  # to a mirror's first answer; name look-up included
_STALL_SECONDS = 15.0  # without a single byte during a download
_WAY_OUT = f"download the four official files from {MIRRORS[0]} into one folder and name it"
_NOT_MNIST = (
    "to use these files as they are (Fashion-MNIST, KMNIST and others bear the same names) give "
    "their folder as the data, --data {folder}; for MNIST name another folder with --data-dir, "
    "filled from " + MIRRORS[0]
)


def on_stderr(line: str) -> None:
    """Show a line to people without getting into what a command prints for machines.

    >>> on_stderr("MNIST: a word")
    """
    print(line, file=sys.stderr)


def load_mnist(
    split: Split,
    *,
    data_dir: Path | None = None,
    download: bool = True,
    notify: Callable[[str], None] = on_stderr,
) -> ImageData:
    """MNIST digits, 28×28 grey, ink 255 on paper 0.

    Looked for, in this order: ``data_dir``; the folder in the environment variable
    ``DRAWGAN_DATA``; the user's cache, filled from a public mirror if ``download``; the subset of
    5,000 + 1,000 digits shipped with this package. A folder that was named and does not hold the
    files is an error: training on other data than was asked for is worse than not training.

    Args:
        split: ``"train"`` (60,000) or ``"test"`` (10,000).
        data_dir: folder with the four IDX files, gzipped or not, under their names or
            ``train-images.idx3-ubyte`` and so on, or with them in ``mnist/`` or (as torchvision
            leaves them) in ``MNIST/raw/``.
        download: whether the network may be used.
        notify: takes one line for people, when something is downloaded or the subset is used.

    Returns:
        uint8 images [n, 1, 28, 28] and labels 0..9.

    Raises:
        DrawganError: a named folder lacks a file, or a file is not the official one.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".

    >>> load_mnist("test", download=False, notify=lambda line: None).image_size
    (28, 28)
    """
    named = data_dir or (Path(os.environ["DRAWGAN_DATA"]) if _environment_names_folder() else None)
    if named is not None:
        origin = "data_dir" if data_dir else "DRAWGAN_DATA"
        return _from_folder(find_folder(Path(named), split, origin), split)
    cached = _cache_folder()
    if _is_complete(cached):
        try:
            return _from_folder(cached, split)
        except DrawganError:
            # A damaged cache is ours to mend: pooch fetches what fails its checksum again.
            if not download:
                notify(f"MNIST: a file in the cache {cached} is damaged and is not used.")
    reason = "downloading is switched off"
    if download:
        try:
            download_mnist(cached, notify)
            return _from_folder(cached, split)
        except (OSError, ValueError, DrawganError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
    subset = load_subset(split)
    notify(
        f"MNIST: using the {len(subset):,} {split} digits shipped with drawgan_fast ({reason}); "
        f"for all {SHAPES[split][0]:,}, {_WAY_OUT} with --data-dir or DRAWGAN_DATA."
    )
    return subset


def load_subset(split: Split) -> ImageData:
    """The digits shipped with the package: 500 a class to train on, 100 a class to test on.

    Args:
        split: ``"train"`` or ``"test"``.

    Raises:
        DrawganError: the package is damaged.

    >>> len(load_subset("train")), len(load_subset("test"))
    (5000, 1000)
    """
    asset = resources.files("drawgan_fast.data") / "assets" / SUBSET
    try:
        with asset.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DrawganError(
            f"the shipped digits {asset} cannot be read ({error}): reinstall drawgan_fast."
        ) from error
    return _image_data(
        images,
        labels,
        "MNIST subset",
        f"{len(images):,} {split} digits of MNIST, {len(images) // 10} a class, "
        "shipped with drawgan_fast",
    )


def find_folder(root: Path, split: Split, origin: str) -> Path:
    """The folder at or under ``root`` that holds the split's images and labels.

    Args:
        root: folder that somebody named.
        split: ``"train"`` or ``"test"``.
        origin: how it was named, for the error message.

    Raises:
        DrawganError: none of the usual places under ``root`` has both files.
    """
    places = (root, root / "mnist", root / "MNIST" / "raw")
    wanted = [name for name in FILES if name.startswith(_PREFIX[split])]
    for place in places:
        if all(_file_in(place, name) for name in wanted):
            return place
    if not root.is_dir():
        raise DrawganError(f"{origin} names {root}, which is not a folder: {_WAY_OUT}.")
    raise DrawganError(
        f"{origin} names {root}, where neither it nor mnist/ nor MNIST/raw/ in it has both "
        f"{wanted[0]} and {wanted[1]} (.gz or unpacked): {_WAY_OUT}."
    )


def download_mnist(folder: Path, notify: Callable[[str], None]) -> None:
    """Fetch the four official files that are not yet in ``folder``, each checked by its md5.

    Args:
        folder: made if it does not exist.
        notify: takes one line when a download begins.

    Raises:
        DrawganError: no mirror gave a whole file; raised within a few seconds when offline.
        OSError: the folder cannot be written.
    """
    mirrors = reachable(MIRRORS)
    if not mirrors:
        raise DrawganError("no mirror can be reached")
    notify(f"MNIST: downloading 12 MB from {urlsplit(mirrors[0]).hostname} to {folder}.")
    for name, (md5, _) in FILES.items():
        errors = []
        for mirror in mirrors:
            try:
                _retrieve(mirror + name + ".gz", md5, folder)
                break
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                errors.append(f"{urlsplit(mirror).hostname}: {error}")
        else:
            raise DrawganError(f"{name}.gz could not be downloaded ({'; '.join(errors)})")


def reachable(mirrors: tuple[str, ...]) -> list[str]:
    """Those mirrors that answer within a few seconds, asked all at once, in the given order.

    A resolver without a network can block for half a minute whatever timeout a client sets, so
    the question is asked in threads that are left behind.
    """
    import requests

    answers: dict[str, bool] = {}

    def ask(mirror: str) -> None:
        try:
            url = mirror + "t10k-labels-idx1-ubyte.gz"
            response = requests.head(url, timeout=_CONNECT_SECONDS, allow_redirects=True)
            answers[mirror] = response.ok
        except (requests.RequestException, OSError, ValueError):
            answers[mirror] = False

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _CONNECT_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [mirror for mirror in mirrors if answers.get(mirror)]


def _retrieve(url: str, md5: str, folder: Path) -> None:
    import pooch

    with _quiet_pooch():
        pooch.retrieve(
            url,
            known_hash=f"md5:{md5}",
            fname=url.rsplit("/", 1)[1],
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=(_CONNECT_SECONDS, _STALL_SECONDS)),
        )


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        logger.setLevel(level)


def _environment_names_folder() -> bool:
    return bool(os.environ.get("DRAWGAN_DATA"))


def _cache_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("drawgan_fast") / "mnist"


def _file_in(folder: Path, name: str) -> Path | None:
    return files_in(folder).get(name)


def _is_complete(folder: Path) -> bool:
    return all(_file_in(folder, name) for name in FILES)


def _from_folder(folder: Path, split: Split) -> ImageData:
    arrays = []
    for name, (_, md5) in FILES.items():
        if name.startswith(_PREFIX[split]):
            path = _file_in(folder, name)
            if path is None:
                raise DrawganError(f"{folder} has no {name}: {_WAY_OUT}.")
            dims = 3 if "idx3" in name else 1
            remedy = f"download {MIRRORS[0]}{name}.gz anew"
            try:
                arrays.append(read_idx(path, dims, md5=md5, remedy=remedy))
            except ChecksumError as error:
                other = _NOT_MNIST.format(folder=folder)
                raise ChecksumError(f"{path} is not the official MNIST file: {other}.") from error
    images, labels = arrays
    return _image_data(images, labels, "MNIST", f"the official MNIST {split} files in {folder}")


def _image_data(images: np.ndarray, labels: np.ndarray, name: str, source: str) -> ImageData:
    return ImageData(
        torch.from_numpy(images).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        name,
        source,
        classes=tuple("0123456789"),
    )
