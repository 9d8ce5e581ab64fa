"""Fused kernels for DRAW and DRAW-GAN, and the models that are made of them.

``functional`` holds the operators, ``nn`` the modules, ``models`` the networks; ``drawgan`` on the
command line trains, scores and shows them.
"""

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
from drawgan_fast.compat import NotAccelerated, accelerate
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawTrace, DrawWeights

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
    "current_backend",
    "functional",
    "record_backends",
    "release_workspaces",
    "use_backend",
    "workspace_info",
]
