"""What a compiler that traces our Python is to take as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def constant_when_traced(function: Function) -> Function:
    """Mark a function whose answer a compiler takes instead of tracing how it comes about.

    The same as ``torch.compiler.assume_constant_result``, which would import the whole compiler,
    and Triton with it: more than a second that most programs have no use for.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
