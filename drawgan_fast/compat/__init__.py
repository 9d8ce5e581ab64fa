"""Other people's DRAW code: accelerated in place, and its checkpoints read."""

from drawgan_fast.compat.accelerating import accelerate
from drawgan_fast.compat.report import Agreement, NotAccelerated, Report

__all__ = ["Agreement", "NotAccelerated", "Report", "accelerate"]
