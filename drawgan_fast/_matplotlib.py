"""matplotlib imported whatever MPLBACKEND names: our pictures are drawn with Agg, into files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_VARIABLE = "MPLBACKEND"


@contextlib.contextmanager
def any_backend() -> Iterator[None]:
    """Within the block matplotlib can be imported, by us or by a library.

    It refuses to be imported where MPLBACKEND names a backend that is not installed, as a
    notebook's does in a process started from the notebook. Afterwards the variable is as it was,
    and matplotlib's choice the one that it names, if it is one; pyplot is never imported here.

    >>> os.environ["MPLBACKEND"] = "nonsense"
    >>> with any_backend():
    ...     from matplotlib.figure import Figure
    >>> os.environ.pop("MPLBACKEND")
    'nonsense'
    """
    name = None if "matplotlib" in sys.modules else os.environ.pop(_VARIABLE, None)
    try:
        yield
    finally:
        if name is not None:
            os.environ[_VARIABLE] = name
            matplotlib = sys.modules.get("matplotlib")
            if matplotlib is not None:
                with contextlib.suppress(ValueError):
                    matplotlib.rcParams["backend"] = name
