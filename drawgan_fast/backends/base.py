"""The protocol that every backend implements, and the error of a forced one that cannot run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from drawgan_fast.attention_spec import AttentionSpec
from drawgan_fast.draw_config import DrawConfig, DrawOutput, DrawSample, DrawWeights, Memory

State = tuple[Tensor, Tensor]


class BackendError(RuntimeError):
    """A backend that was asked for by name cannot run, and why."""


class Backend(Protocol):
    """One implementation of the operators; arguments arrive validated.

    A backend may leave an operator out by returning a reason from :meth:`can_run`; the next one
    in line then takes the call. Shapes are those of ``drawgan_fast.functional``.
    """

    name: str

    def unavailable(self) -> str | None:
        """Why this backend cannot run here at all, or None if it can."""

    def asked_for(self) -> bool:
        """Whether the user asked for something that only this backend has.

        Being unavailable is then an error: the next one in line would be a silent fallback.
        """

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        """Why this call cannot run here, or None if it can.

        Args:
            op: name of the operator.
            args: its arguments by their names.
            plain: type of the device of all tensors, if they are known to be strided, of one float
                dtype and no subclass's.
        """

    def attention_read(
        self,
        images: tuple[Tensor, ...],
        params: Tensor,
        N: int,
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> tuple[Tensor, ...]:
        """One glimpse per image."""

    def attention_write(
        self,
        patch: Tensor,
        params: Tensor,
        size: tuple[int, int],
        spec: AttentionSpec,
        canvas: Tensor | None,
    ) -> Tensor:
        """The canvas with the patch on it."""

    def lstm_cell(
        self,
        x: Tensor,
        state: State,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None,
        b_hh: Tensor | None,
    ) -> State:
        """The next (h, c)."""

    def draw_scan(
        self,
        x: Tensor,
        eps: Tensor,
        weights: DrawWeights,
        cfg: DrawConfig,
        prior_eps: Tensor | None,
        trace: bool,
        memory: Memory,
    ) -> DrawOutput:
        """The whole recurrence."""

    def draw_generate(
        self, eps: Tensor, weights: DrawWeights, cfg: DrawConfig, trace: bool
    ) -> DrawSample:
        """The decoder alone."""
