"""The native backend: operators in Python over the compiled CPU core, which knows no torch."""

from drawgan_fast.backends.native.backend import NativeBackend
from drawgan_fast.backends.native.workspaces import (
    WorkspaceInfo,
    release_workspaces,
    workspace_info,
)

__all__ = ["NativeBackend", "WorkspaceInfo", "release_workspaces", "workspace_info"]
