"""What numbers stand for: told by their range, said in a line, refused where it is a guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawgan_fast.data import load
from drawgan_fast.errors import DrawganError


def ramp(low: float, high: float, dtype: str) -> np.ndarray:
    """20 images of 2×3, each the same ramp."""
    return np.tile(np.linspace(low, high, 6).reshape(1, 2, 3), (20, 1, 1)).astype(dtype)


def loaded(path: Path, array: np.ndarray) -> tuple[list[int], list[str]]:
    """Bytes of the first image, and the lines that were said."""
    np.save(path / "a.npy", array)
    lines: list[str] = []
    return load(path / "a.npy", "train", notify=lines.append).images[0].flatten().tolist(), lines


RAMP = [0, 51, 102, 153, 204, 255]


@pytest.mark.parametrize(
    ("low", "high", "dtype", "expected", "said"),
    [
        (0, 1, "uint8", [0, 0, 0, 0, 0, 255], "1 white"),
        (0, 1, "int64", [0, 0, 0, 0, 0, 255], "1 white"),
        (0, 255, "uint8", RAMP, None),
        (0, 255, "int64", RAMP, "255 white"),
        (0, 255, "uint16", RAMP, "255 white"),
        (0, 65535, "uint16", RAMP, "65535 white"),
        (0, 65535, "int32", RAMP, "65535 white"),
        (0, 1, "float32", RAMP, None),
        (-1e-7, 1 + 1e-6, "float64", RAMP, None),
        (0, 255, "float32", RAMP, "255 white"),
        (-1, 1, "float32", RAMP, "-1 black"),
        (0, 0, "uint8", [0] * 6, None),
        (0, 200, "uint8", [0, 40, 80, 120, 160, 200], None),
    ],
)
def test_a_range_is_taken_for_what_it_is(
    tmp_path: Path, low: float, high: float, dtype: str, expected: list[int], said: str | None
) -> None:
    levels, lines = loaded(tmp_path, ramp(low, high, dtype))
    assert levels == expected
    if said is None:
        assert lines == []
    else:
        (line,) = lines
        assert "a.npy" in line
        assert dtype in line
        assert f"from {low:g} to {high:g}" in line
        assert said in line


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 15, "uint8"),
        (0, 100, "int64"),
        (0, 4095, "uint16"),
        (0, 32767, "int16"),
        (-1, 1, "int8"),
        (0, 70000, "int64"),
        (0, 16, "float64"),
        (-0.42, 2.82, "float32"),
        (-0.9, 1, "float32"),
        (0, 1 / 255, "float32"),
    ],
)
def test_a_range_that_could_mean_several_things_is_refused(
    tmp_path: Path, low: float, high: float, dtype: str
) -> None:
    with pytest.raises(DrawganError, match=rf"{dtype} values from {low:g} to ") as caught:
        loaded(tmp_path, ramp(low, high, dtype))
    assert "floats in [0, 1]" in str(caught.value) or "255 twice" in str(caught.value)


def test_both_splits_have_one_scale(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=ramp(0, 255, "uint8"), x_test=ramp(0, 1, "uint8"))
    assert load(tmp_path / "a.npz", "test").images.max() == 1
    np.savez(tmp_path / "b.npz", x_train=ramp(0, 255, "uint8"), x_test=ramp(0, 1, "float32"))
    assert load(tmp_path / "b.npz", "test").images.max() == 255


def pngs(folder: Path, array: np.ndarray, mode: str | None = None) -> tuple[np.ndarray, list[str]]:
    """The array as two files; the bytes that come back and the lines that were said."""
    for name in "ab":
        image = Image.fromarray(array)
        (image if mode is None else image.convert(mode)).save(folder / f"{name}.png")
    lines: list[str] = []
    return load(folder, "train", notify=lines.append).images[0, 0].numpy(), lines


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_files_of_0_and_1_are_black_and_white(tmp_path: Path, dtype: str) -> None:
    mask = np.eye(4, dtype=dtype)
    levels, lines = pngs(tmp_path, mask)
    np.testing.assert_array_equal(levels, np.eye(4) * 255)
    assert "1 white" in "".join(lines)


def test_what_the_file_says_needs_no_word(tmp_path: Path) -> None:
    white = np.eye(4, dtype=np.uint8) * 255
    for mode in ("1", "P", "RGB"):
        levels, lines = pngs(tmp_path, white, mode)
        np.testing.assert_array_equal(levels, white)
        assert lines == []
    levels, lines = pngs(tmp_path, white.astype(np.uint16) * 257)
    np.testing.assert_array_equal(levels, white)
    assert lines == []


def test_twelve_bits_in_sixteen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrawganError, match="from 0 to 4095"):
        pngs(tmp_path, np.eye(4, dtype=np.uint16) * 4095)


def test_dark_files_are_taken_as_they_are_with_a_word(tmp_path: Path) -> None:
    levels, lines = pngs(tmp_path, np.eye(4, dtype=np.uint8) * 20)
    assert levels.max() == 20
    assert "20 of 255" in "".join(lines)


def test_0_and_1_are_told_from_the_whole_folder(tmp_path: Path) -> None:
    """One nearly black photograph among others is no mask, whether it is scaled or not."""
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "a.png")
    for name in "bc":
        Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(tmp_path / f"{name}.png")
    images = [
        load(tmp_path, split, size=size).images for split in ("train", "test") for size in (4, 2)
    ]
    brightest = sorted(int(image.max()) for part in images for image in part)
    assert brightest[:2] == [0, 1]
    assert brightest[2] > 90
