"""Training: configurations and presets, the loop, checkpoints, interrupts and resuming."""

from drawgan_fast.training.checkpoint import find_checkpoint, load_checkpoint, load_model
from drawgan_fast.training.config import Config
from drawgan_fast.training.config_load import (
    CHANGEABLE,
    config_to_toml,
    load_config,
    preset_names,
    preset_text,
)
from drawgan_fast.training.metrics_log import read_metrics
from drawgan_fast.training.run import RunResult, train
from drawgan_fast.training.run_folder import environment, read_config

__all__ = [
    "CHANGEABLE",
    "Config",
    "RunResult",
    "config_to_toml",
    "environment",
    "find_checkpoint",
    "load_checkpoint",
    "load_config",
    "load_model",
    "preset_names",
    "preset_text",
    "read_config",
    "read_metrics",
    "train",
]
