"""A compiled core: loaded at first use, with the reason kept where it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

from drawgan_fast import window_map as maps
from drawgan_fast.attention_spec import AttentionSpec


class Core:
    """An extension module that is loaded when it is first asked for.

    Args:
        backend: whose core it is.
        load: loads it, or raises with the reason.
    """

    def __init__(self, backend: str, load: Callable[[], ModuleType]) -> None:
        self._backend, self._load = backend, load
        self.window_map = lru_cache(maxsize=1024)(self._window_map)

    @cached_property
    def _outcome(self) -> tuple[Any, str | None]:
        try:
            return self._load(), None
        except Exception as error:
            # Whatever a broken build raises, the package must still run on the next backend.
            return None, str(error) or type(error).__name__

    def unavailable(self) -> str | None:
        """Why there is no core, or None if there is one; the question is asked once."""
        return self._outcome[1]

    def __call__(self) -> Any:
        """The module.

        Raises:
            RuntimeError: it is not built or cannot be loaded.
        """
        module, reason = self._outcome
        if module is None:
            raise RuntimeError(f"the {self._backend} backend cannot run here: {reason}")
        return module

    def _window_map(
        self, spec: AttentionSpec, height: int, width: int, N: int, writing: bool
    ) -> Any:
        """The core's ``WindowMap`` of a read or a write: it knows no conventions' names."""
        return self().WindowMap(**maps.window_map(spec, height, width, N, writing)._asdict())
