"""NumPy files as data sets; nothing in them is ever unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from drawgan_fast.data import load
from drawgan_fast.data.levels import Range, find_levels
from drawgan_fast.errors import DrawganError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 5, 6, 3), np.uint8)


def both(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Train and test images one after the other, and their labels."""
    parts = [load(path, split) for split in ("train", "test")]
    images = np.concatenate([part.images.numpy() for part in parts])
    if parts[0].labels is None:
        return images, None
    return images, np.concatenate([part.labels.numpy() for part in parts])


def same_set(one: np.ndarray, other: np.ndarray) -> bool:
    return sorted(image.tobytes() for image in one) == sorted(image.tobytes() for image in other)


@pytest.mark.parametrize("layout", ["nhw", "nhwc", "nchw", "n1hw"])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "float16"])
def test_layouts_and_types(tmp_path: Path, layout: str, kind: str) -> None:
    nchw = IMAGES.transpose(0, 3, 1, 2)
    array, expected = {
        "nhw": (IMAGES[..., 0], nchw[:, :1]),
        "nhwc": (IMAGES, nchw),
        "nchw": (nchw, nchw),
        "n1hw": (nchw[:, :1], nchw[:, :1]),
    }[layout]
    np.save(tmp_path / "a.npy", array if kind == "uint8" else (array / 255).astype(kind))
    images, labels = both(tmp_path / "a.npy")
    assert labels is None
    assert same_set(images, np.ascontiguousarray(expected))


def as_bytes(array: np.ndarray) -> list[int]:
    return find_levels(Range.of([array], "x"), "x")[0].to_bytes(array).flatten().tolist()


def test_bool_and_rounding() -> None:
    assert as_bytes(np.array([True, False])) == [255, 0]
    floats = np.array([0.0, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0])
    assert as_bytes(floats) == [0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("x", "y"), ("arr_0", "labels")]
)
def test_keys_and_labels_stay_together(tmp_path: Path, images: str, labels: str) -> None:
    marked = np.arange(200, 220, dtype=np.uint8).reshape(20, 1, 1).repeat(4, 1).repeat(4, 2)
    np.savez(tmp_path / "a.npz", **{images: marked, labels: np.arange(20)[:, None]})
    got, got_labels = both(tmp_path / "a.npz")
    assert got_labels is not None
    assert got_labels.dtype == np.int64
    np.testing.assert_array_equal(got[:, 0, 0, 0], got_labels + 200)
    assert len(load(tmp_path / "a.npz", "test")) == 2


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_what_is_split_stays_split(tmp_path: Path, keys: tuple[str, ...]) -> None:
    gray = IMAGES[..., 0]
    arrays = (gray[:15], np.arange(15), gray[15:], np.arange(15, 20))
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(keys, arrays)))
    train, test = load(tmp_path / "a.npz", "train"), load(tmp_path / "a.npz", "test")
    np.testing.assert_array_equal(train.images[:, 0].numpy(), gray[:15])
    np.testing.assert_array_equal(test.images[:, 0].numpy(), gray[15:])
    assert train.labels.tolist() == list(range(15))
    assert test.labels.tolist() == list(range(15, 20))


@pytest.mark.parametrize("form", ["npz", "idx"])
def test_splits_of_different_sizes_are_brought_to_one_or_refused(tmp_path: Path, form: str) -> None:
    train, test = np.full((5, 6, 6), 200, np.uint8), np.full((5, 9, 9), 200, np.uint8)
    path = tmp_path / "a.npz" if form == "npz" else tmp_path
    if form == "npz":
        np.savez(path, x_train=train, x_test=test)
    else:
        for name, array in (("train", train), ("t10k", test)):
            header = bytes((0, 0, 8, 3)) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(header + array.tobytes())
    for split in ("train", "test"):
        with pytest.raises(DrawganError, match=r"differ in size.*data\.size"):
            load(path, split, notify=lambda _: None)
        images = load(path, split, size=12, notify=lambda _: None).images
        assert images.unique().tolist() == [200]  # both scaled, none padded


def test_other_arrays_are_left_out_by_name(tmp_path: Path) -> None:
    images = {f"x_{split}": IMAGES for split in ("train", "val", "test")}
    np.savez(tmp_path / "a.npz", **images, y_train=np.arange(20), y_test=np.arange(20))
    lines: list[str] = []
    load(tmp_path / "a.npz", "train", notify=lines.append)
    assert lines == [f"{tmp_path / 'a.npz'}: left out 1 (other arrays: x_val)"]


def test_colour_in_one_split_is_colour_in_both(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=IMAGES, x_test=IMAGES[..., 0])
    assert load(tmp_path / "a.npz", "test").channels == 3


def test_channels_and_size(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IMAGES)
    grey = load(tmp_path / "a.npy", "test", channels=1, size=(9, 8))
    assert grey.images.shape == (2, 1, 9, 8)
    colour = load(tmp_path / "a.npy", "test").images.double()
    luma = colour[:, 0] * 0.299 + colour[:, 1] * 0.587 + colour[:, 2] * 0.114
    assert (grey.images[:, 0, 2:7, 1:7].double() - luma).abs().max() <= 0.51


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 784), np.uint8), r"shape \(3, 784\)"),
        (np.zeros((0, 4, 4), np.uint8), "at least one image"),
        (np.zeros((3, 4, 4, 4), np.uint8), "1 or 3 channels"),
        (np.zeros((3, 3, 9, 3), np.uint8), "second or last"),
        (np.full((3, 4, 4), -1), "int64 values from -1"),
        (np.full((3, 4, 4), 7.5), "from 7.5 to 7.5"),
        (np.full((3, 4, 4), -0.5), "from -0.5"),
        (np.where(np.arange(48).reshape(3, 4, 4) == 20, np.nan, 0.5), "NaN"),
        (np.full((3, 4, 4), np.inf), "NaN or infinity"),
        (np.zeros((3, 4, 4), complex), "complex128"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "odd.npy", array)
    with pytest.raises(DrawganError, match=message) as caught:
        load(tmp_path / "odd.npy", "train")
    assert "odd.npy" in str(caught.value)


@pytest.mark.parametrize("labels", [np.zeros(19, int), np.zeros(20), np.zeros((20, 3), int)])
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=labels)
    with pytest.raises(DrawganError, match=r"a\.npz \(labels\).*20 images"):
        load(tmp_path / "a.npz", "train")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["object npy", "object npz", "pickle"])
def test_pickles_are_refused_and_never_run(tmp_path: Path, form: str) -> None:
    sprung = tmp_path / "sprung"
    trapped = np.array([Trap(sprung)] * 3, dtype=object)
    path = tmp_path / ("a.npz" if form == "object npz" else "a.npy")
    if form == "object npy":
        np.save(path, trapped, allow_pickle=True)
    elif form == "object npz":
        np.savez(path, images=trapped)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(DrawganError, match="pickled Python objects"):
        load(path, "train")
    assert not sprung.exists()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("keep", [0, 5, 60, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    if suffix == "npy":
        np.save(path, IMAGES)
    else:
        np.savez_compressed(path, images=IMAGES)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DrawganError, match="cut"):
        load(path, "train")


def test_a_corrupt_npz_member(tmp_path: Path) -> None:
    path = tmp_path / "bent.npz"
    np.savez_compressed(path, images=IMAGES)
    content = bytearray(path.read_bytes())
    content[400:500] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DrawganError, match=r"bent\.npz"):
        load(path, "train")


def test_unknown_keys_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=IMAGES, numbers=np.arange(20))
    with pytest.raises(DrawganError, match="found pictures, numbers"):
        load(tmp_path / "a.npz", "train")
