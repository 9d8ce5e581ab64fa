"""Sets of a few files: MNIST's kin as IDX, static binarised MNIST as text, under their names."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from drawgan_fast.data import load, mnist
from drawgan_fast.errors import DrawganError, UsageError
from tests.data.test_mnist import idx_bytes

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (12, 5, 4)), "t10k": RNG.integers(0, 256, (6, 5, 4))}
LABELS = {split: np.arange(len(images)) % 3 for split, images in IMAGES.items()}


def write(folder: Path, prefix: str = "", form: str = "-idx{}-ubyte", test: str = "t10k") -> None:
    """The four files; ``.gz`` in ``form`` packs them."""
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if form.endswith(".gz") else bytes
    for split in IMAGES:
        start = prefix + (test if split == "t10k" else split)
        images, labels = (idx_bytes(arrays[split]) for arrays in (IMAGES, LABELS))
        (folder / (start + "-images" + form.format(3))).write_bytes(pack(images))
        (folder / (start + "-labels" + form.format(1))).write_bytes(pack(labels))


def check(path: Path) -> list[str]:
    """Images and labels of both splits are those that were written; returns what was said."""
    lines: list[str] = []
    for split, stored in (("train", "train"), ("test", "t10k")):
        data = load(path, split, notify=lines.append)
        np.testing.assert_array_equal(data.images[:, 0].numpy(), IMAGES[stored])
        np.testing.assert_array_equal(data.labels.numpy(), LABELS[stored])
    return lines


@pytest.mark.parametrize("form", ["-idx{}-ubyte", ".idx{}-ubyte", "-idx{}-ubyte.gz"])
@pytest.mark.parametrize("place", [".", "raw", "FashionMNIST/raw", "gzip"])
def test_any_four_files_under_the_usual_names(tmp_path: Path, form: str, place: str) -> None:
    write(tmp_path / "fashion" / place, form=form)
    assert check(tmp_path / "fashion") == []
    assert load(tmp_path / "fashion", "train").name in ("fashion", "FashionMNIST")


def test_folders_that_an_archive_unpacks_to(tmp_path: Path) -> None:
    write(tmp_path / "flat")
    for path in (tmp_path / "flat").iterdir():
        (tmp_path / "deep" / path.name).mkdir(parents=True)
        (tmp_path / "deep" / path.name / path.name).write_bytes(path.read_bytes())
    assert check(tmp_path / "deep") == []


def test_the_file_of_training_images_stands_for_its_set(tmp_path: Path) -> None:
    write(tmp_path)
    assert check(tmp_path / "train-images-idx3-ubyte") == []


def test_any_other_file_of_images_is_split_90_10(tmp_path: Path) -> None:
    write(tmp_path)
    for path in ("t10k-images-idx3-ubyte", "mine.idx"):
        (tmp_path / "mine.idx").write_bytes(idx_bytes(IMAGES["t10k"]))
        parts = [load(tmp_path / path, split) for split in ("train", "test")]
        assert [len(part) for part in parts] == [5, 1]
        assert (parts[0].labels is None) == (path == "mine.idx")
    with pytest.raises(DrawganError, match=r"labels-idx1.*3 or 4 dimensions"):
        load(tmp_path / "t10k-labels-idx1-ubyte", "train")


def test_emnist_is_turned_upright_with_a_word(tmp_path: Path) -> None:
    write(tmp_path, prefix="emnist-letters-", test="test")
    lines: list[str] = []
    data = load(tmp_path, "train", notify=lines.append)
    np.testing.assert_array_equal(data.images[:, 0].numpy(), IMAGES["train"].transpose(0, 2, 1))
    assert data.name == "emnist-letters"
    assert "turned upright" in lines[0]


def test_of_several_sets_one_must_be_named(tmp_path: Path) -> None:
    write(tmp_path, prefix="emnist-letters-", test="test")
    write(tmp_path, prefix="emnist-digits-", test="test")
    with pytest.raises(UsageError, match=r"2 data sets.*emnist-digits-train.*emnist-letters-train"):
        load(tmp_path, "train")
    data = load(tmp_path / "emnist-digits-train-images-idx3-ubyte", "test", notify=lambda _: None)
    assert len(data) == 6


def test_without_labels_or_test_images_there_is_a_word(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.iterdir():
        if "train-images" not in path.name:
            path.unlink()
    lines: list[str] = []
    data = load(tmp_path, "train", notify=lines.append)
    assert (len(data), data.labels) == (11, None)
    assert "no labels beside it" in lines[0]
    assert "only file of images" in lines[1]


def test_labels_of_another_set_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(11)))
    with pytest.raises(DrawganError, match=r"train-labels-idx1-ubyte.*12 images"):
        load(tmp_path, "train")


def test_other_types_of_numbers(tmp_path: Path) -> None:
    """IDX knows floats too; their range says what they are."""
    floats = np.linspace(0, 1, 24, dtype=">f4").reshape(6, 2, 2)
    content = bytes((0, 0, 0x0D, 3)) + np.array(floats.shape, ">u4").tobytes() + floats.tobytes()
    (tmp_path / "floats.idx").write_bytes(content)
    images = [load(tmp_path / "floats.idx", split).images for split in ("train", "test")]
    both = sorted(np.concatenate([part.numpy().reshape(-1) for part in images]).tolist())
    assert both == np.rint(np.linspace(0, 1, 24) * 255).astype(int).tolist()


@pytest.mark.parametrize("dotted", [True, False])
def test_official_digits_by_path_and_under_the_other_name(
    tmp_path: Path, mnist_dir: Path, dotted: bool
) -> None:
    official = mnist.find_folder(mnist_dir, "test", "DRAWGAN_DATA")
    for path in official.iterdir():
        name = path.name.replace("-idx", ".idx") if dotted else path.name
        (tmp_path / name).symlink_to(path)
    by_name = load("mnist", "test", data_dir=tmp_path)
    by_path = load(tmp_path, "test")
    assert by_name.images.equal(by_path.images)
    assert by_name.labels.equal(by_path.labels)


class TestText:
    PIXELS = (RNG.random((9, 3, 3)) < 0.4).astype(int)

    def write(self, folder: Path, *splits: str) -> None:
        for number, split in enumerate(splits):
            rows = self.PIXELS[3 * number : 3 * number + 3].reshape(3, 9)
            text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
            (folder / f"binarized_mnist_{split}.amat").write_text(text)

    @pytest.mark.parametrize("by", ["folder", "file"])
    def test_static_binarised_digits(self, tmp_path: Path, by: str) -> None:
        self.write(tmp_path, "train", "valid", "test")
        path = tmp_path if by == "folder" else tmp_path / "binarized_mnist_train.amat"
        lines: list[str] = []
        train, test = (load(path, split, notify=lines.append) for split in ("train", "test"))
        np.testing.assert_array_equal(train.images[:, 0].numpy(), self.PIXELS[:3] * 255)
        np.testing.assert_array_equal(test.images[:, 0].numpy(), self.PIXELS[6:] * 255)
        assert train.labels is None
        assert "binarized_mnist_valid.amat is left out" in lines[0]
        assert len(lines) == 2  # the same for each split

    def test_one_file_alone(self, tmp_path: Path) -> None:
        self.write(tmp_path, "valid")
        path = tmp_path / "binarized_mnist_valid.amat"
        assert [len(load(path, split)) for split in ("train", "test")] == [2, 1]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("0 1 0 2\n", "line 1, holds '2'"),
            ("0 1 0 1\n\n0 1 0\n", "line 3, holds 3 numbers"),
            ("0 1 0\n", "no square"),
            ("0101\n", "line 1, holds '0101'"),
            ("0 1 0.5 1\n", "'0.5'"),
            ("\n", "is empty"),
        ],
    )
    def test_other_text_is_refused_by_its_line(self, tmp_path: Path, text: str, says: str) -> None:
        (tmp_path / "a.amat").write_text(text)
        with pytest.raises(DrawganError, match=says) as caught:
            load(tmp_path / "a.amat", "train")
        assert "a.amat" in str(caught.value)

    def test_ten_thousand_digits_take_no_minute(self, tmp_path: Path) -> None:
        """np.loadtxt takes 20 s for as many."""
        row = b"0 1 0 0 0 0 1 " * 112
        (tmp_path / "a.amat").write_bytes((row.strip() + b"\n") * 10_000)
        begun = time.perf_counter()
        assert load(tmp_path / "a.amat", "train").images.shape == (9_000, 1, 28, 28)
        assert time.perf_counter() - begun < 5  # 0.5 on an idle core
