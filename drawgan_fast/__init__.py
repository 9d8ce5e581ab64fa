"""Fused kernels for DRAW and DRAW-GAN, and the models that are made of them.

``functional`` holds the operators, ``nn`` the modules, ``models`` the networks; ``drawgan`` on the
command line trains, scores and shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawgan_fast import functional
from drawgan_fast._version import __version__
from drawgan_fast.attention_spec import PRESETS, AttentionSpec
from drawgan_fast.backends import (
    BackendError,
    WorkspaceInfo,
    backends,
    current_backend,
    record_backends,
    release_workspaces,
    use_backend,
    workspace_info,
)
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawTrace, DrawWeights

if TYPE_CHECKING:
    from drawgan_fast import compat
    from drawgan_fast.compat import NotAccelerated, accelerate

__all__ = [
    "PRESETS",
    "AttentionSpec",
    "BackendError",
    "DrawConfig",
    "DrawOutput",
    "DrawSample",
    "DrawTrace",
    "DrawWeights",
    "NotAccelerated",
    "WorkspaceInfo",
    "__version__",
    "accelerate",
    "backends",
    "compat",
    "current_backend",
    "functional",
    "record_backends",
    "release_workspaces",
    "use_backend",
    "workspace_info",
]


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for: the operators do without NumPy, which it needs.
    if name in ("compat", "accelerate", "NotAccelerated"):
        import importlib

        compat = importlib.import_module("drawgan_fast.compat")
        return compat if name == "compat" else getattr(compat, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
