"""The core's memory, made visible: what it has lent out and what it keeps for the next call."""

from __future__ import annotations

from typing import NamedTuple

from drawgan_fast.backends.native.core import core, unavailable


class WorkspaceInfo(NamedTuple):
    """Memory of the native backend, in bytes.

    ``in_use`` is lent to running calls and to graphs that wait for their backward; ``kept`` is
    free and waits for the next call, since fresh pages would cost it a third of its time.
    """

    in_use: int
    kept: int


def workspace_info() -> WorkspaceInfo:
    """How much memory the native backend holds beyond the tensors that it has returned.

    Returns:
        WorkspaceInfo(in_use, kept), in bytes; both are 0 where the native backend cannot run.

    >>> workspace_info().in_use >= 0
    True
    """
    if unavailable() is not None:
        return WorkspaceInfo(0, 0)
    info = core().pool_info()
    return WorkspaceInfo(info["in_use"], info["kept"])


def release_workspaces() -> None:
    """Give the memory that the native backend keeps for its next call back to the system.

    What is in use stays in use. Does nothing where the native backend cannot run.

    >>> release_workspaces()
    >>> workspace_info().kept
    0
    """
    if unavailable() is None:
        core().pool_release()
