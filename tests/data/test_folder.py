"""Folders of images: what is in them, in what order, and what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawgan_fast.data import load
from drawgan_fast.data.folder import read_image
from drawgan_fast.errors import DrawganError, UsageError


def save(path: Path, level: int | tuple[int, int, int], size: tuple[int, int] = (4, 6)) -> None:
    """One image of a single level, ``size`` as (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(level, int) else "RGB"
    Image.new(mode, (size[1], size[0]), level).save(path)


def levels(data) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    for i in range(30):
        save(tmp_path / f"{i:02}.png", i)
    return tmp_path


class TestSplit:
    def test_ninety_ten_disjoint_and_always_the_same(self, plain: Path) -> None:
        train, test = load(plain, "train"), load(str(plain), "test")
        assert (len(train), len(test)) == (27, 3)
        assert sorted(levels(train) + levels(test)) == list(range(30))
        assert levels(train) == sorted(levels(train))
        assert levels(load(plain, "test")) == levels(test) == [14, 17, 25]

    def test_train_and_test_folders(self, tmp_path: Path) -> None:
        for split, group in (("train", range(3)), ("test", range(10, 12))):
            for i in group:
                save(tmp_path / split / f"{i}.png", i)
        assert levels(load(tmp_path, "train")) == [0, 1, 2]
        assert levels(load(tmp_path, "test")) == [10, 11]
        assert load(tmp_path, "train").labels is None

    def test_one_image_cannot_be_split(self, tmp_path: Path) -> None:
        save(tmp_path / "only.png", 1)
        with pytest.raises(DrawganError, match="1 image, too few"):
            load(tmp_path, "train")


class TestLabels:
    def test_subfolders_are_classes(self, tmp_path: Path) -> None:
        for i in range(20):
            save(tmp_path / ("cat", "ant")[i % 2] / "deeper" / f"{i}.png", i)
        for split in ("train", "test"):
            data = load(tmp_path, split)
            assert data.classes == ("ant", "cat")
            assert data.labels.dtype == torch.int64
            assert data.labels.tolist() == [1 - level % 2 for level in levels(data)]

    def test_classes_inside_train_and_test(self, tmp_path: Path) -> None:
        for split, i in (("train", 1), ("train", 2), ("test", 3)):
            save(tmp_path / split / ("odd" if i % 2 else "even") / f"{i}.png", i)
        train, test = load(tmp_path, "train"), load(tmp_path, "test")
        assert train.classes == test.classes == ("even", "odd")
        assert dict(zip(levels(train), train.labels.tolist())) == {1: 1, 2: 0}
        assert test.labels.tolist() == [1]

    def test_one_image_outside_means_no_classes(self, plain: Path) -> None:
        save(plain / "sub" / "x.png", 99)
        assert load(plain, "train").labels is None


class TestChannelsAndSize:
    def test_auto_is_grey_until_a_pixel_is_coloured(self, plain: Path) -> None:
        save(plain / "grey_saved_as_rgb.png", (77, 77, 77))
        assert load(plain, "train").channels == 1
        save(plain / "red.png", (255, 0, 0))
        for split in ("train", "test"):
            assert load(plain, split).channels == 3

    def test_forced_channels(self, tmp_path: Path) -> None:
        for i in range(2):
            save(tmp_path / f"{i}.png", (255, 0, 10))
        assert load(tmp_path, "train", channels=1).images.unique().tolist() == [77]
        colour = load(tmp_path, "train", channels=3).images
        assert colour[0, :, 0, 0].tolist() == [255, 0, 10]  # 0.299·255 + 0.114·10 = 77.4
        with pytest.raises(UsageError, match="channels"):
            load(tmp_path, "train", channels=2)

    def test_differing_sizes_need_a_size(self, plain: Path) -> None:
        save(plain / "odd.png", 5, size=(8, 8))
        with pytest.raises(DrawganError, match=r"4 by 6, .*odd.png is 8 by 8") as caught:
            load(plain, "train")
        assert "size" in str(caught.value)
        data = load(plain, "train", size=(5, 7))
        assert data.image_size == (5, 7)
        assert all(image.unique().numel() == 1 for image in data.images)

    def test_a_wrong_size(self, plain: Path) -> None:
        with pytest.raises(UsageError, match="size"):
            load(plain, "train", size=0)


class TestFiles:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "PNG", "tif", "webp", "pgm"])
    def test_formats(self, tmp_path: Path, suffix: str) -> None:
        for i in range(2):
            save(tmp_path / f"{i}.{suffix}", 200)
        images = load(tmp_path, "train").images
        assert images.shape == (1, 1, 4, 6)
        assert (images.int() - 200).abs().max() <= 1  # jpg and webp round

    def test_hidden_and_other_files_are_left_out(self, plain: Path) -> None:
        save(plain / ".hidden.png", 250)
        save(plain / ".folder" / "x.png", 251)
        (plain / "notes.txt").write_text("no image")
        assert len(load(plain, "train")) + len(load(plain, "test")) == 30

    def test_transparent_is_white(self, tmp_path: Path) -> None:
        Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").tolist() == [[[255] * 3] * 2] * 2

    def test_sixteen_bits_become_eight(self, tmp_path: Path) -> None:
        levels = np.array([[0, 257, 65535]], np.uint16)
        Image.fromarray(levels).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png")[..., 0].tolist() == [[0, 1, 255]]

    def test_exif_turns_the_image_upright(self, tmp_path: Path) -> None:
        image = Image.new("L", (6, 4))
        exif = image.getexif()
        exif[0x0112] = 6  # orientation: a quarter turn
        image.save(tmp_path / "a.jpg", exif=exif)
        assert read_image(tmp_path / "a.jpg").shape == (6, 4, 1)

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    def test_an_unreadable_image_is_named(self, plain: Path, damage: str) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
        bad = plain / "bad one.png"
        Image.fromarray(noise).save(bad)
        content = {"truncated": bad.read_bytes()[:2000], "text": b"no image", "empty": b""}
        bad.write_bytes(content[damage])
        with pytest.raises(DrawganError, match=r"bad one\.png"):
            load(plain, "train", size=(4, 6))

    def test_a_decompression_bomb_is_refused(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        with pytest.raises(DrawganError, match=r"00\.png .*bomb"):
            load(plain, "train")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DrawganError, match="holds no image"):
            load(tmp_path, "train")


class TestNames:
    def test_unknown_names_and_paths(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"'mnits'.*mnist"):
            load("mnits", "train")
        (tmp_path / "x.csv").write_text("1,2")
        with pytest.raises(UsageError, match=r"x\.csv is no data set"):
            load(tmp_path / "x.csv", "train")

    def test_unknown_split(self) -> None:
        with pytest.raises(UsageError, match="'valid'"):
            load("mnist", "valid")

    def test_options_reach_mnist(self) -> None:
        data = load("mnist", "test", size=32, channels=3, download=False, notify=lambda line: None)
        assert data.images.shape[1:] == (3, 32, 32)
        assert torch.equal(data.images[:, 0], data.images[:, 2])
