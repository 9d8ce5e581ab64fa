"""Other people's DRAW code: accelerated in place, and its checkpoints read."""

from drawgan_fast.compat.accelerating import accelerate
from drawgan_fast.compat.checkpoints import load_foreign, load_weights, save_weights
from drawgan_fast.compat.key_maps import KEY_MAPS, KeyMap
from drawgan_fast.compat.report import Agreement, NotAccelerated, Report

__all__ = [
    "KEY_MAPS",
    "Agreement",
    "KeyMap",
    "NotAccelerated",
    "Report",
    "accelerate",
    "load_foreign",
    "load_weights",
    "save_weights",
]
