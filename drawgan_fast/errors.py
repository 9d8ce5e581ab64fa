"""Errors that a person can act on, and the exit code that each one gives a script."""

from __future__ import annotations


class DrawganError(Exception):
    """Something outside the program is wrong: a file, a disk, a run that diverged.

    The message is one sentence that names the thing and the way out; the command line prints it
    on stderr without a traceback and exits with :attr:`exit_code`.

    >>> DrawganError("no such file").exit_code
    1
    """

    exit_code: int = 1


class UsageError(DrawganError):
    """The request itself is wrong: an unknown preset, an option value out of range.

    >>> UsageError("unknown preset 'qiuck'").exit_code
    2
    """

    exit_code: int = 2


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line: its first, or its name where it is silent.

    >>> first_line(ValueError("no FreeType\\nand more")), first_line(KeyboardInterrupt())
    ('no FreeType', 'KeyboardInterrupt')
    """
    return next(iter(str(error).splitlines()), "") or type(error).__name__
