"""Pictures: sample grids, the canvas being painted, loss curves."""

from __future__ import annotations

from drawgan_fast.viz.animation import canvas_animation
from drawgan_fast.viz.curves import loss_curves
from drawgan_fast.viz.grid import image_grid, save_png

__all__ = ["canvas_animation", "image_grid", "loss_curves", "save_png"]
