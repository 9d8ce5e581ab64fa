"""From a convention to the core's numbers; the core knows no names."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from drawgan_fast import window_map as maps
from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.backends.cuda.core import core


@lru_cache(maxsize=1024)
def window_map(spec: AttentionSpec, height: int, width: int, N: int, writing: bool) -> Any:
    """The core's ``WindowMap`` of a read or a write."""
    return core().WindowMap(**maps.window_map(spec, height, width, N, writing)._asdict())
