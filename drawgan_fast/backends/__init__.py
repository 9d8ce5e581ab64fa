"""Backends: one file each behind one small protocol, chosen in one place."""

from drawgan_fast.backends.base import Backend, BackendError
from drawgan_fast.backends.native import WorkspaceInfo, release_workspaces, workspace_info
from drawgan_fast.backends.registry import (
    backends,
    current_backend,
    record_backends,
    select,
    use_backend,
)

__all__ = [
    "Backend",
    "BackendError",
    "WorkspaceInfo",
    "backends",
    "current_backend",
    "record_backends",
    "release_workspaces",
    "select",
    "use_backend",
    "workspace_info",
]
