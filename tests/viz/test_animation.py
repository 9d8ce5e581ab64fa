"""The film shows the canvas that was given, and the rectangles where the windows are."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawgan_fast.viz import canvas_animation
from drawgan_fast.viz.animation import READ_COLOUR, WRITE_COLOUR, draw_window, line_thickness

SCALE = 5  # odd, so that a line through a pixel's centre has a middle screen pixel


def frames(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Frames as uint8 [height, width, 3], and the time each is shown in milliseconds."""
    pictures, durations = [], []
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            pictures.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
    return pictures, durations


def cell(frame: np.ndarray, size: tuple[int, int], row: int = 0, column: int = 0) -> np.ndarray:
    height, width = size[0] * SCALE, size[1] * SCALE
    top = SCALE + row * (height + SCALE)
    left = SCALE + column * (width + SCALE)
    return frame[top : top + height, left : left + width]


def box(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) screen pixels that have a colour, None where none has."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    if not len(rows):
        return None
    return columns.min(), rows.min(), columns.max(), rows.max()


def ramp(steps: int, n: int = 1, channels: int = 1, size: tuple[int, int] = (12, 16)):
    """Logits of step t whose sigmoid is (t + 1) / (steps + 1) everywhere."""
    levels = torch.arange(1, steps + 1) / (steps + 1)
    return torch.logit(levels).view(-1, 1, 1, 1, 1).expand(steps, n, channels, *size)


def window(steps: int, n: int, values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values).expand(steps, n, 5)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_frame_shows_sigmoid_of_its_canvas(tmp_path: Path, channels: int) -> None:
    canvas_animation(ramp(4, channels=channels), tmp_path / "a.gif", scale=SCALE)
    pictures, _ = frames(tmp_path / "a.gif")
    for step, picture in enumerate(pictures[:4]):
        shown = cell(picture, (12, 16))
        assert abs(shown.astype(float) - 255 * (step + 1) / 5).max() <= 2  # 238 grey levels


def test_pixels_stay_where_they_are(tmp_path: Path) -> None:
    canvases = torch.full((1, 2, 1, 12, 16), -20.0)
    canvases[0, 1, 0, 3, 7] = 20
    canvas_animation(canvases, tmp_path / "a.gif", scale=SCALE, columns=2)
    (picture, *_), _ = frames(tmp_path / "a.gif")
    assert cell(picture, (12, 16), column=0).max() == 0
    shown = cell(picture, (12, 16), column=1)
    expected = np.zeros((12 * SCALE, 16 * SCALE), np.uint8)
    expected[3 * SCALE : 4 * SCALE, 7 * SCALE : 8 * SCALE] = 255
    np.testing.assert_array_equal(shown[..., 0], expected)


def test_rectangles_span_the_grid_points(tmp_path: Path) -> None:
    """Read: N=2, δ=4 at (9, 5), so 7..11 × 3..7. Write: N=5, δ=1 at (3, 8), so 1..5 × 6..10."""
    canvas_animation(
        ramp(2),
        tmp_path / "a.gif",
        read_windows=window(2, 1, (9, 5, 4, 0, 1)),
        write_windows=window(2, 1, (3, 8, 1, 0, 1)),
        read_size=2,
        write_size=5,
        scale=SCALE,
    )
    pictures, _ = frames(tmp_path / "a.gif")
    assert line_thickness(0, SCALE) == 1
    for picture in pictures[:2]:
        shown = cell(picture, (12, 16))
        middle = SCALE // 2
        for colour, (left, top, right, bottom) in (
            (READ_COLOUR, (7, 3, 11, 7)),
            (WRITE_COLOUR, (1, 6, 5, 10)),
        ):
            corners = tuple(SCALE * side + middle for side in (left, top, right, bottom))
            assert box(shown, colour) == corners
            coloured = int((shown == colour).all(-1).sum())
            assert coloured == 2 * 4 * SCALE + 2 * 4 * SCALE  # an outline, not a filled box


def test_windows_belong_to_their_image_and_step(tmp_path: Path) -> None:
    windows = torch.zeros(3, 4, 5)
    for step in range(3):
        for image in range(4):
            windows[step, image] = torch.tensor([4 + 2 * step, 3 + image, 1, 0, 1])
    canvas_animation(
        ramp(3, 4), tmp_path / "a.gif", write_windows=windows, write_size=3, scale=SCALE, columns=2
    )
    pictures, _ = frames(tmp_path / "a.gif")
    for step in range(3):
        for image in range(4):
            shown = cell(pictures[step], (12, 16), image // 2, image % 2)
            left, top, right, bottom = box(shown, WRITE_COLOUR)
            assert (left + right) / 2 == SCALE * (4 + 2 * step) + SCALE // 2
            assert (top + bottom) / 2 == SCALE * (3 + image) + SCALE // 2


def test_the_finished_image_is_held_without_windows(tmp_path: Path) -> None:
    canvas_animation(
        ramp(5),
        tmp_path / "a.gif",
        write_windows=window(5, 1, (5, 5, 1, 1, 1)),
        write_size=5,
        scale=SCALE,
        fps=10,
        hold=1.5,
    )
    pictures, durations = frames(tmp_path / "a.gif")
    assert durations == [100] * 5 + [1500]
    assert all(box(cell(picture, (12, 16)), WRITE_COLOUR) for picture in pictures[:5])
    assert box(cell(pictures[5], (12, 16)), WRITE_COLOUR) is None


def test_the_caption_tells_step_and_colours(tmp_path: Path) -> None:
    canvas_animation(
        ramp(3, 4),
        tmp_path / "a.gif",
        write_windows=window(3, 4, (5, 5, 1, 1, 1)),
        write_size=5,
        scale=SCALE,
    )
    pictures, _ = frames(tmp_path / "a.gif")
    captions = [picture[-20:] for picture in pictures]
    assert all(box(caption, WRITE_COLOUR) for caption in captions)
    assert all(box(caption, READ_COLOUR) is None for caption in captions)
    assert (captions[0] != captions[1]).any()  # the number of the step
    np.testing.assert_array_equal(captions[2], captions[3])


def test_line_grows_gently_with_sigma() -> None:
    widths = [line_thickness(sigma**2, 10) for sigma in (0, 0.5, 1, 2, 4, 8, 1e5)]
    assert widths == sorted(widths)
    assert widths[0] == 2
    assert widths[2] == 4
    assert widths[-1] == 15


def test_a_window_partly_outside_is_cut_off() -> None:
    picture = np.zeros((10, 10), np.uint8)
    draw_window(picture, np.array([0.0, 5.0, 4.0, 0.0, 1.0]), 3, 1, 1)  # x -4..4, y 1..9
    rows, columns = np.nonzero(picture)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (0, 4, 1, 9)
    assert picture[2:9, 0:4].sum() == 0  # its left side is not seen


@pytest.mark.parametrize("number", [1e10, -1e10, 3e38, torch.nan, torch.inf])
@pytest.mark.parametrize("place", range(5))
def test_wild_windows_neither_hang_nor_fail(tmp_path: Path, number: float, place: int) -> None:
    values = [5.0, 5.0, 1.0, 1.0, 1.0]
    values[place] = number
    begun = time.perf_counter()
    canvas_animation(
        ramp(2),
        tmp_path / "a.gif",
        read_windows=window(2, 1, tuple(values)),
        read_size=7,
        scale=SCALE,
    )
    assert time.perf_counter() - begun < 2
    pictures, _ = frames(tmp_path / "a.gif")
    # The intensity γ (the fifth) does not move a window, nor does a wild variance alone.
    visible = place == 4 or (place == 3 and np.isfinite(number))
    assert (box(cell(pictures[0], (12, 16)), READ_COLOUR) is not None) == visible


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"canvases": torch.zeros(3, 1, 4, 4)}, ValueError, "canvases"),
        ({"canvases": torch.full((3, 1, 1, 4, 4), torch.nan)}, ValueError, "nan"),
        ({"write_windows": torch.zeros(3, 1, 4), "write_size": 5}, ValueError, r"\[3, 1, 5\]"),
        ({"read_windows": torch.zeros(3, 1, 5)}, ValueError, "read_size"),
        ({"fps": 0}, ValueError, "fps"),
        ({"hold": -1}, ValueError, "hold"),
        ({"scale": 0}, ValueError, "scale"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments, error, message) -> None:
    arguments = {"canvases": torch.zeros(3, 1, 1, 4, 4)} | arguments
    with pytest.raises(error, match=message):
        canvas_animation(arguments.pop("canvases"), tmp_path / "a.gif", **arguments)
    assert not list(tmp_path.iterdir())
