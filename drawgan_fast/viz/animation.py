"""The canvas being painted, step by step, with the windows that read it and write on it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from drawgan_fast.files import write_atomically
from drawgan_fast.viz.grid import GAP, compose, default_columns, default_scale, to_bytes

if TYPE_CHECKING:
    from PIL import Image

# Two colours of Okabe and Ito's palette: told apart by every kind of colour vision, and both seen
# on ink and on paper.
READ_COLOUR = (86, 180, 233)
WRITE_COLOUR = (213, 94, 0)

# A GIF has 256 colours for the whole film: the images', sixteen greys for what is around them,
# and the two of the windows.
_IMAGE_COLOURS = 238
_GREY = _IMAGE_COLOURS  # index of the first of the sixteen
_READ, _WRITE = 254, 255

_TEXT_SIZE = 14
_CAPTION_HEIGHT = 26


class _Windows(NamedTuple):
    values: np.ndarray  # float64 [T, n, 5]
    grid_size: int
    colour: int
    label: str


def canvas_animation(
    canvases: Tensor,  # [T, n, C, H, W]
    path: str | Path,
    *,
    read_windows: Tensor | None = None,  # [T, n, 5]
    write_windows: Tensor | None = None,  # [T, n, 5]
    read_size: int | None = None,
    write_size: int | None = None,
    columns: int | None = None,
    scale: int | None = None,
    fps: float = 12.0,
    hold: float = 2.0,
) -> None:
    """Write a GIF that shows n canvases through T steps, then the finished images.

    Frame t shows sigmoid(canvas_t) and, on each image, a rectangle through the outer grid points
    of its read window (sky blue) and of its write window (vermilion): x ± (N−1)/2·δ and
    y ± (N−1)/2·δ. As in the DRAW paper's Figure 1, the line is the thicker the larger the
    variance of the filters is, here by the logarithm of σ. What lies outside the image is cut off.

    Args:
        canvases: float [T, n, C, H, W], logits, after each step's write; C is 1 or 3.
        path: GIF file to write or replace.
        read_windows: float [T, n, 5], (x, y, δ, σ², γ) in pixels with the centre of pixel (0, 0)
            at (0, 0), or None.
        write_windows: likewise.
        read_size: N of the read window; needed with ``read_windows``.
        write_size: N of the write window; needed with ``write_windows``.
        columns: images in a row; None gives a grid as square as it can be.
        scale: screen pixels per image pixel and side; None chooses a size that can be seen.
        fps: steps per second, in (0, 50].
        hold: seconds that the finished images stay, ≥ 0.

    Raises:
        TypeError: ``canvases`` is not floating point.
        ValueError: a shape or range does not fit, or windows are given without their size.
        DrawganError: the file cannot be written.

    Source: Gregor et al., "DRAW: A Recurrent Neural Network For Image Generation", Figures 1, 7.

    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "canvas.gif"
    >>> windows = torch.tensor([3.5, 3.5, 1.0, 1.0, 1.0]).expand(4, 2, 5)
    >>> canvas_animation(torch.randn(4, 2, 1, 8, 8), path, write_windows=windows, write_size=5)
    >>> path.read_bytes()[:3]
    b'GIF'
    """
    if canvases.ndim != 5 or canvases.shape[0] < 1:
        raise ValueError(f"canvases must be [T, n, C, H, W], got {list(canvases.shape)}")
    if not 0 < fps <= 50:
        raise ValueError(f"fps must be in (0, 50], got {fps}")
    if hold < 0:
        raise ValueError(f"hold must be ≥ 0 seconds, got {hold}")
    steps, count = canvases.shape[:2]
    shown = [
        _windows("read", read_windows, read_size, (steps, count), _READ),
        _windows("write", write_windows, write_size, (steps, count), _WRITE),
    ]
    windows = [window for window in shown if window is not None]
    columns = min(default_columns(count) if columns is None else columns, count)
    size = (canvases.shape[3], canvases.shape[4])
    scale = default_scale(columns, size) if scale is None else scale
    if columns < 1 or scale < 1:
        raise ValueError(f"columns and scale must be ≥ 1, got {columns} and {scale}")

    pixels = to_bytes(canvases.detach().float().sigmoid().flatten(0, 1))
    indices, palette = _to_palette(pixels)
    indices = indices.reshape(steps, count, *size)
    frames = []
    for step in [*range(steps), None]:  # the last once more, without windows, to be looked at
        number = steps - 1 if step is None else step
        cells = indices[number].repeat(scale, 1).repeat(scale, 2)
        for window in windows if step is not None else ():
            for cell, value in zip(cells, window.values[number]):
                draw_window(cell, value, window.grid_size, scale, window.colour)
        sheet = compose(cells[..., None], columns, scale, _grey(GAP))[..., 0]
        frames.append(_with_caption(sheet, f"step {number + 1} of {steps}", windows))
    _save_gif(frames, palette, Path(path), fps, hold)


def draw_window(
    cell: np.ndarray,  # uint8 [H · scale, W · scale]
    window: np.ndarray,  # float [5]
    grid_size: int,
    scale: int,
    colour: int,
) -> None:
    """Draw one window as a rectangle into an enlarged image, in place.

    Args:
        cell: uint8 [H·scale, W·scale].
        window: (x, y, δ, σ², γ) in image pixels; one that is not finite is left out.
        grid_size: N.
        scale: screen pixels per image pixel.
        colour: value to write.

    >>> cell = np.zeros((5, 5), np.uint8)
    >>> draw_window(cell, np.array([2, 2, 1, 0, 1]), grid_size=3, scale=1, colour=1)
    >>> print(cell)
    [[0 0 0 0 0]
     [0 1 1 1 0]
     [0 1 0 1 0]
     [0 1 1 1 0]
     [0 0 0 0 0]]
    """
    if not np.isfinite(window[:4]).all():
        return
    x, y, stride, variance = (float(value) for value in window[:4])
    reach = abs(stride) * (grid_size - 1) / 2
    thickness = line_thickness(variance, scale)

    def edge(position: float, side: int) -> int:
        """First screen pixel of the line through a point; far outside is just outside."""
        screen = (position + 0.5) * scale - thickness / 2
        # Half up, not Python's half to even, so that equal windows look alike everywhere.
        return math.floor(min(max(screen, -thickness - 1.0), side + 1.0) + 0.5)

    left, right = (edge(x + sign * reach, cell.shape[1]) for sign in (-1, 1))
    top, bottom = (edge(y + sign * reach, cell.shape[0]) for sign in (-1, 1))
    rows = slice(max(0, top), max(0, bottom + thickness))
    columns = slice(max(0, left), max(0, right + thickness))
    for start in (left, right):
        cell[rows, max(0, start) : max(0, start + thickness)] = colour
    for start in (top, bottom):
        cell[max(0, start) : max(0, start + thickness), columns] = colour


def line_thickness(variance: float, scale: int) -> int:
    """Screen pixels of a window's line: scale/5 · (1 + log2(1 + σ)), from 1 to 1.5 · scale.

    >>> [line_thickness(variance, 8) for variance in (0.0, 1.0, 25.0, 1e10)]
    [2, 3, 6, 12]
    """
    sigma = math.sqrt(min(max(variance, 0.0), 1e12))
    return max(1, min(round(1.5 * scale), round(scale / 5 * (1 + math.log2(1 + sigma)))))


def _windows(
    label: str,
    windows: Tensor | None,
    grid_size: int | None,
    shape: tuple[int, int],
    colour: int,
) -> _Windows | None:
    if windows is None:
        return None
    if tuple(windows.shape) != (*shape, 5):
        raise ValueError(
            f"{label}_windows must be {[*shape, 5]} like the canvases, got {list(windows.shape)}"
        )
    if grid_size is None or grid_size < 1:
        raise ValueError(f"{label}_windows need {label}_size, N ≥ 1, got {grid_size}")
    return _Windows(windows.detach().cpu().double().numpy(), grid_size, colour, label)


def _grey(level: int) -> int:
    return _GREY + round(level / 17)


def _to_palette(pixels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Bytes [m, H, W, C] as palette indices [m, H, W], and the palette as 768 numbers."""
    from PIL import Image

    if pixels.shape[3] == 1:
        levels = np.arange(256) * (_IMAGE_COLOURS - 1) / 255
        indices = np.rint(levels).astype(np.uint8)[pixels[..., 0]]
        image_colours = np.rint(np.linspace(0, 255, _IMAGE_COLOURS)).astype(np.uint8)
        palette = np.repeat(image_colours, 3).tolist()
    else:
        strip = Image.fromarray(pixels.reshape(-1, pixels.shape[2], 3))
        quantised = strip.quantize(_IMAGE_COLOURS, dither=Image.Dither.NONE)
        indices = np.asarray(quantised).reshape(pixels.shape[:3])
        palette = (quantised.getpalette() or [])[: 3 * _IMAGE_COLOURS]
        palette += [0] * (3 * _IMAGE_COLOURS - len(palette))
    greys = [level * 17 for level in range(16) for _ in range(3)]
    return indices, [*palette, *greys, *READ_COLOUR, *WRITE_COLOUR]


def _with_caption(sheet: np.ndarray, text: str, windows: Sequence[_Windows]) -> np.ndarray:
    """The sheet with a line under it: the step, and which colour is which window."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT_SIZE)
    entries = [(text, None), *((window.label, window.colour) for window in windows)]
    # As wide as the widest step, so that nothing moves from frame to frame.
    widths = [math.ceil(font.getlength(label)) + (22 if colour else 0) for label, colour in entries]
    width = max(sheet.shape[1], sum(widths) + 16 * len(widths))
    caption = Image.new("L", (width, _CAPTION_HEIGHT), 0)
    draw = ImageDraw.Draw(caption)
    swatches = []
    right = width - 8
    for number in range(len(entries) - 1, -1, -1):
        label, colour = entries[number]
        left = 8 if number == 0 else right - widths[number]
        if colour is not None:
            swatches.append((left, colour))
            draw.text((left + 20, _CAPTION_HEIGHT / 2), label, 255, font, anchor="lm")
        else:
            draw.text((left, _CAPTION_HEIGHT / 2), label, 255, font, anchor="lm")
        right = left - 14
    indices = (_GREY + np.rint(np.asarray(caption) / 17)).astype(np.uint8)
    for left, colour in swatches:
        top, bottom = _CAPTION_HEIGHT // 2 - 6, _CAPTION_HEIGHT // 2 + 7
        indices[top:bottom, left : left + 14] = colour
        indices[top + 3 : bottom - 3, left + 3 : left + 11] = _grey(0)
    margin = width - sheet.shape[1]
    if margin:
        sheet = np.pad(sheet, ((0, 0), (0, margin)), constant_values=_grey(GAP))
    return np.concatenate([sheet, indices])


def _save_gif(
    frames: Sequence[np.ndarray], palette: list[int], path: Path, fps: float, hold: float
) -> None:
    from PIL import Image

    images: list[Image.Image] = []
    for frame in frames:
        image = Image.fromarray(frame)
        image.putpalette(palette)  # turns grey levels into palette indices
        images.append(image)
    step = 10 * max(2, round(100 / fps))  # GIF counts in hundredths; viewers take 1 for 10
    durations = [step] * (len(images) - 1) + [max(step, round(1000 * hold))]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0
    )
    write_atomically(path, buffer.getvalue())
