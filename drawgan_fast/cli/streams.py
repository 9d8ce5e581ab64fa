"""Standard output and error as they are: closed, a pipe that nobody reads, another encoding."""

from __future__ import annotations

import errno
import io
import os
import sys

from drawgan_fast.errors import DrawganError

# The reader of a pipe has gone (`| head`), or the terminal has.
_NOBODY_LISTENS = (errno.EPIPE, errno.EIO)


def prepare() -> None:
    """Make the standard streams such that no line that is said can end the program.

    A letter that the encoding does not have is written as ``\\u221a``. Where nobody listens any
    more, the rest is dropped, and training goes on. A closed descriptor is opened on the null
    device: the next file opened would otherwise be taken for standard output.
    """
    # One that is free is taken by the next file, from the lowest number up.
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):  # closed, or a notebook's
            continue
        if stream is not getattr(sys, f"__{name}__") or os.name == "nt":
            stream.reconfigure(errors="backslashreplace")
            continue
        stream.flush()
        listener = _Listener(stream.fileno(), "w", closefd=False)
        listener.called = {"stdout": "standard output", "stderr": "standard error"}[name]
        setattr(
            sys,
            name,
            io.TextIOWrapper(
                io.BufferedWriter(listener),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            ),
        )


def finish() -> None:
    """Write out what is still to be said.

    Raises:
        DrawganError: standard output cannot be written, as on a full disk.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


class _Listener(io.FileIO):
    """A descriptor that takes everything once it has refused something."""

    called = "standard output"
    _deaf = False

    def write(self, data: object, /) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        if self._deaf:
            return size
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except OSError as error:
            self._deaf = True
            if error.errno in _NOBODY_LISTENS:
                return size
            raise DrawganError(
                f"{self.called} cannot be written: {error.strerror}; send it somewhere else"
            ) from None
