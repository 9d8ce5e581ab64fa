"""Folders of images: what is in them, in what order, and what cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawgan_fast.data import load
from drawgan_fast.data.image_file import read_picture
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
        assert read_picture(tmp_path / "a.png").pixels.tolist() == [[[255] * 3] * 2] * 2

    def test_sixteen_bits_become_eight(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / f"{name}.png")
        assert load(tmp_path, "train").images.tolist() == [[[[0, 1, 255]]]]

    def test_exif_turns_the_image_upright(self, tmp_path: Path) -> None:
        image = Image.new("L", (6, 4))
        exif = image.getexif()
        exif[0x0112] = 6  # orientation: a quarter turn
        image.save(tmp_path / "a.jpg", exif=exif)
        assert read_picture(tmp_path / "a.jpg").pixels.shape == (6, 4, 1)

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


class TestOneSizeForAll:
    """Padded where they are of one size and fit, else scaled: whatever kind of data it is."""

    @pytest.mark.parametrize("kind", ["folder", "array"])
    def test_smaller_images_of_one_size_are_padded(self, tmp_path: Path, kind: str) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6), np.uint8)
        if kind == "array":
            np.save(tmp_path / "a.npy", pixels)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / f"{number}.png")
        data = load(tmp_path / "a.npy" if kind == "array" else tmp_path, "train", size=8)
        padded = np.zeros((8, 8), np.uint8)
        padded[2:6, 1:7] = pixels[split_index()]
        np.testing.assert_array_equal(data.images[0, 0].numpy(), padded)

    @pytest.mark.parametrize("kind", ["folder", "array"])
    def test_larger_ones_are_scaled_to_the_same_bytes(self, tmp_path: Path, kind: str) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (2, 14, 10), np.uint8)
        if kind == "array":
            np.save(tmp_path / "a.npy", pixels)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(tmp_path / f"{number}.png")
        data = load(tmp_path / "a.npy" if kind == "array" else tmp_path, "train", size=(7, 12))
        whole = load(tmp_path / "a.npy" if kind == "array" else tmp_path, "train")
        assert torch.equal(data.images, whole.resized((7, 12)).images)
        assert not torch.equal(data.images[..., :5], whole.images[..., :7, :5])

    def test_where_sizes_differ_each_is_scaled_small_ones_too(self, plain: Path) -> None:
        save(plain / "odd.png", 5, size=(20, 20))
        lines: list[str] = []
        data = load(plain, "train", size=8, notify=lines.append)
        assert all(image.unique().numel() == 1 for image in data.images)  # no zeros beside
        assert "2 sizes" in "".join(lines)


def split_index() -> int:
    """Which of two images is trained on."""
    from drawgan_fast.data.pixels import split_mask

    return int(np.flatnonzero(split_mask(2, "train", "x"))[0])


class TestLinks:
    def test_linked_class_folders_are_classes(self, tmp_path: Path) -> None:
        root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
        for i in range(20):
            save((elsewhere / "cats" if i % 2 else root / "ants") / f"{i}.png", i)
        (root / "cats").symlink_to(elsewhere / "cats")
        data = load(root, "train")
        assert data.classes == ("ants", "cats")
        assert len(data) == 18

    def test_a_cycle_ends_and_is_named(self, plain: Path) -> None:
        (plain / "again").symlink_to(plain)
        (plain / "zoo").mkdir()
        save(plain / "zoo" / "x.png", 99)
        (plain / "alias").symlink_to(plain / "zoo")
        lines: list[str] = []
        train, test = (load(plain, split, notify=lines.append) for split in ("train", "test"))
        assert sorted(levels(train) + levels(test)) == [*range(30), 99]
        assert "the same folder again: again, alias" in lines[0]

    def test_what_is_no_file_is_not_waited_for(self, plain: Path) -> None:
        os.mkfifo(plain / "pipe.png")
        lines: list[str] = []
        assert len(load(plain, "train", notify=lines.append)) == 27
        assert "no image: pipe.png" in lines[0]

    def test_a_broken_link_is_named(self, plain: Path) -> None:
        (plain / "gone").symlink_to(plain / "nowhere")
        lines: list[str] = []
        load(plain, "train", notify=lines.append)
        assert "broken link: gone" in lines[0]
        (plain / "gone.png").symlink_to(plain / "nowhere.png")
        with pytest.raises(DrawganError, match=r"gone\.png"):
            load(plain, "train")


class TestWhatIsLeftOut:
    def test_one_line_counts_and_names_it(self, plain: Path) -> None:
        for name in ("notes.txt", "labels.csv", "a.csv", "b.csv"):
            (plain / name).write_text("no image")
        lines: list[str] = []
        load(plain, "train", notify=lines.append)
        (line,) = [line for line in lines if "left out" in line]
        assert "left out 4 (no image: a.csv, b.csv, labels.csv and 1 more)" in line

    def test_pictures_of_runs_are_no_data(self, plain: Path) -> None:
        run = plain / "runs" / "quick-draw-1"
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.toml").write_text("")
        save(run / "samples" / "step-00000100.png", 200)
        save(run / "losses.png", 201)
        lines: list[str] = []
        train, test = (load(plain, split, notify=lines.append) for split in ("train", "test"))
        assert sorted(levels(train) + levels(test)) == list(range(30))
        assert "run folder of this program: runs/quick-draw-1" in lines[0]
        with pytest.raises(DrawganError, match=r"holds no image.*run folder"):
            load(run, "train")

    @pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPE", "ppm", "tga", "pnm"])
    def test_every_ending_that_pillow_reads_is_read(self, plain: Path, suffix: str) -> None:
        form = "JPEG" if suffix.lower()[0] == "j" else "TGA" if suffix == "tga" else "PPM"
        with (plain / f"extra.{suffix}").open("wb") as file:
            Image.new(
                "L" if form == "JPEG" else "RGB", (6, 4), 200 if form == "JPEG" else (200,) * 3
            ).save(file, form)
        assert sum(len(load(plain, split)) for split in ("train", "test")) == 31

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own words
    def test_a_broken_exif_field_costs_nothing_but_a_word(self, plain: Path) -> None:
        exif = Image.new("L", (1, 1)).getexif()
        exif[0x0112] = 6
        exif[0x011A] = (72, 1)  # resolution: a rational
        content = exif.tobytes()
        image = Image.new("L", (4, 6), 77)
        image.save(plain / "turned.jpg", exif=content)
        # The resolution becomes a string of a length that is not there.
        spoilt = content.replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02")
        assert spoilt != content
        image.save(plain / "spoilt.jpg", exif=spoilt)
        image.save(plain / "torn.jpg", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
        assert read_picture(plain / "turned.jpg").size == (4, 6)
        assert read_picture(plain / "spoilt.jpg").size == (4, 6)
        read_picture(plain / "torn.jpg")

    def test_of_several_frames_the_first_is_taken_with_a_word(self, plain: Path) -> None:
        frames = [Image.new("L", (6, 4), level) for level in (210, 220)]
        frames[0].save(plain / "moving.gif", save_all=True, append_images=frames[1:])
        lines: list[str] = []
        train, test = (load(plain, split, notify=lines.append) for split in ("train", "test"))
        assert max(levels(train) + levels(test)) == 210
        assert "files of several pictures, the first taken: 1 (moving.gif)" in lines[0]

    def test_exif_that_cannot_be_read_is_told(
        self, plain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: object) -> None:
            raise SyntaxError("not a TIFF file")

        monkeypatch.setattr(Image.Image, "getexif", broken)
        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.getexif", broken)
        lines: list[str] = []
        assert len(load(plain, "train", notify=lines.append)) == 27
        assert (
            "EXIF data that cannot be read, images taken as they lie: 30 (00.png, ...)" in lines[1]
        )


class TestSplitNames:
    @pytest.mark.parametrize(
        ("train", "test"),
        [("train", "val"), ("Train", "Valid"), ("TRAIN", "Test"), ("training", "validation")],
    )
    def test_in_any_case(self, tmp_path: Path, train: str, test: str) -> None:
        for name, group in ((train, range(3)), (test, range(10, 12))):
            for i in group:
                save(tmp_path / name / ("odd" if i % 2 else "even") / f"{i}.png", i)
        assert sorted(levels(load(tmp_path, "train"))) == [0, 1, 2]
        assert sorted(levels(load(tmp_path, "test"))) == [10, 11]
        assert load(tmp_path, "test").classes == ("even", "odd")

    def test_a_validation_folder_beside_both_is_left_out_by_name(self, tmp_path: Path) -> None:
        for name, i in (("train", 1), ("test", 2), ("val", 3), ("train", 4)):
            save(tmp_path / name / "a" / f"{i}.png", i)
        save(tmp_path / "cover.png", 9)
        lines: list[str] = []
        data = load(tmp_path, "train", notify=lines.append)
        assert levels(data) == [1, 4]
        assert data.classes == ("a",)
        assert "outside train/ and test/: cover.png, val/a/3.png" in lines[0]

    def test_train_alone_is_split_with_a_word(self, tmp_path: Path) -> None:
        for i in range(20):
            save(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", i)
        lines: list[str] = []
        data = load(tmp_path, "train", notify=lines.append)
        assert (len(data), data.classes) == (18, ("a", "b"))
        assert "only train/" in lines[0]

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        for i in range(20):
            save(tmp_path / ("bus", "train")[i % 2] / f"{i}.png", i)
        assert load(tmp_path, "train").classes == ("bus", "train")
