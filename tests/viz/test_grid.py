"""Every pixel of a grid is where it belongs, and a file appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawgan_fast.errors import DrawganError
from drawgan_fast.viz import image_grid, save_png
from drawgan_fast.viz.grid import GAP


def test_layout_is_row_by_row_with_grey_between() -> None:
    images = torch.arange(5).view(5, 1, 1, 1).expand(5, 1, 2, 3) / 5
    grid = np.asarray(image_grid(images, columns=3, scale=2, padding=1))
    assert grid.shape == (2 * (4 + 1) + 1, 3 * (6 + 1) + 1)
    expected = np.full_like(grid, GAP)
    for i in range(5):
        top, left = 1 + (i // 3) * 5, 1 + (i % 3) * 7
        expected[top : top + 4, left : left + 6] = round(i / 5 * 255)
    np.testing.assert_array_equal(grid, expected)


def test_pixels_are_enlarged_to_squares() -> None:
    image = torch.rand(1, 1, 4, 5)
    grid = np.asarray(image_grid(image, scale=3, padding=0))
    small = (image[0, 0] * 255).round().byte().numpy()
    np.testing.assert_array_equal(grid, np.kron(small, np.ones((3, 3), np.uint8)))


def test_colour_keeps_its_channels() -> None:
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0, 0, 1] = 1
    image[0, 2, 1, 0] = 0.2
    grid = image_grid(image, scale=1, padding=0)
    assert grid.mode == "RGB"
    assert grid.getpixel((1, 0)) == (255, 0, 0)  # Pillow counts (x, y)
    assert grid.getpixel((0, 1)) == (0, 0, 51)


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (2, (1, 2)), (10, (3, 4)), (64, (8, 8))])
def test_default_grid_is_about_square(n: int, shape: tuple[int, int]) -> None:
    width, height = image_grid(torch.zeros(n, 1, 10, 10), scale=1, padding=0).size
    assert (height // 10, width // 10) == shape


def test_strides_and_dtypes_do_not_matter() -> None:
    images = torch.rand(4, 1, 6, 6)
    grid = np.asarray(image_grid(images))
    view = images.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    np.testing.assert_array_equal(np.asarray(image_grid(view.double().requires_grad_())), grid)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), TypeError, "uint8"),
        (torch.zeros(1, 2, 2), ValueError, r"\[1, 2, 2\]"),
        (torch.zeros(1, 2, 2, 2), ValueError, "C 1 or 3"),
        (torch.zeros(0, 1, 2, 2), ValueError, "n ≥ 1"),
        (torch.full((1, 1, 2, 2), 1.5), ValueError, "1.5"),
        (torch.full((1, 1, 2, 2), torch.nan), ValueError, "nan"),
    ],
)
def test_what_is_no_picture_is_refused(images, error, message) -> None:
    with pytest.raises(error, match=message):
        image_grid(images)


@pytest.mark.parametrize("option", [{"columns": 0}, {"scale": 0}, {"padding": -1}])
def test_options_out_of_range(option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(option))):
        image_grid(torch.zeros(1, 1, 2, 2), **option)


def test_png_comes_back_as_it_went(tmp_path: Path) -> None:
    grid = image_grid(torch.rand(4, 3, 6, 6))
    save_png(grid, tmp_path / "grid.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), np.asarray(grid))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_a_failed_write_leaves_the_old_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "grid.png"
    path.write_bytes(b"old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DrawganError, match=r"grid\.png.*No space left on device"):
        save_png(image_grid(torch.rand(1, 1, 4, 4)), path)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["grid.png"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DrawganError, match="absent"):
        save_png(image_grid(torch.rand(1, 1, 4, 4)), tmp_path / "absent" / "grid.png")
