"""What `accelerate` says about what it did, or why it did nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from drawgan_fast.attention_spec import AttentionSpec, describe
from drawgan_fast.errors import DrawganError


class NotAccelerated(DrawganError, ValueError):
    """Equality could not be proved, so the model is as it was; the sentence says what failed."""


@dataclass(frozen=True)
class Agreement:
    """One comparison of the accelerated model with the original.

    Attributes:
        what: e.g. ``"float64 gradients"``.
        error: the largest relative difference of a tensor, ‖a − b‖ / ‖b‖.
        limit: what was allowed.
        where: the tensor that had it.
    """

    what: str
    error: float
    limit: float
    where: str

    def __str__(self) -> str:
        return f"{self.what} agree to {self.error:.1e} (limit {self.limit:.1e}; {self.where})"


@dataclass
class Report:
    """What was replaced, what was left and why, how well it agrees; and the way back.

    Attributes:
        replaced: one line each.
        left: one line each, with the reason.
        agreement: every comparison that was made, all within their limits.
        image_shape: (C, H, W) that the windows look at.
        read_spec: convention of the read, None if it has no attention window.
        write_spec: convention of the write, the same.
        fused: whether forward runs through ``draw_scan``.
        fallbacks: why the original code ran since, and how often; the first time, each reason is a
            warning of the logger ``drawgan_fast``, too.
    """

    replaced: list[str]
    left: list[str]
    agreement: list[Agreement]
    image_shape: tuple[int, int, int]
    read_spec: AttentionSpec | None
    write_spec: AttentionSpec | None
    fused: bool
    fallbacks: Counter[str] = field(default_factory=Counter)
    _undo: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def restore(self) -> None:
        """Put the model's own methods and cells back; a second call does nothing.

        Copies that were made of the model stay accelerated.

        Raises:
            RuntimeError: somebody has given the model another class since, built on this one.
        """
        while self._undo:
            self._undo[-1]()
            self._undo.pop()

    def __str__(self) -> str:
        lines = [f"image (C, H, W) = {self.image_shape}"]
        for name, convention in (("read", self.read_spec), ("write", self.write_spec)):
            if convention is not None:
                lines.append(f"convention of {name}: {describe(convention)}")
        lines += [f"replaced: {line}" for line in self.replaced]
        lines += [f"left: {line}" for line in self.left]
        lines += [str(agreement) for agreement in self.agreement]
        lines += [f"original ran {n} times: {why}" for why, n in self.fallbacks.items()]
        return "\n".join(lines)
