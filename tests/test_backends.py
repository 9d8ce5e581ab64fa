"""The registry: automatic choice, forcing, refusing, counting."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from drawgan_fast import BackendError, backends, current_backend, record_backends, use_backend
from drawgan_fast import functional as F
from drawgan_fast.backends import registry
from drawgan_fast.backends.reference import ReferenceBackend

X, P = torch.rand(2, 1, 6, 6), torch.zeros(2, 5)


class Picky(ReferenceBackend):
    """Runs windows of N ≤ 2 only, and can be switched off."""

    name = "picky"
    broken: str | None = None

    def unavailable(self) -> str | None:
        return self.broken

    def can_run(self, op: str, args, plain=None) -> str | None:
        if op == "attention_read" and args["N"] > 2:
            return f"N must be at most 2, got {args['N']}"
        return None


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Picky]:
    """A backend in front of the others for one test."""
    backend = Picky()
    monkeypatch.setattr(registry, "_backends", {"picky": backend, **registry._backends})
    monkeypatch.setattr(registry, "_declined", set())
    yield backend
    use_backend("auto")


def test_first_in_line_that_can_runs(picky: Picky, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "drawgan_fast.backends"), record_backends() as ran:
        F.attention_read(X, P, 2)
        for _ in range(3):
            F.attention_read(X, P, 3)
    fallback = next(name for name, why in backends().items() if name != "picky" and why is None)
    assert ran == {("attention_read", "picky"): 1, ("attention_read", fallback): 3}
    declined = [r.getMessage() for r in caplog.records if "declined" in r.getMessage()]
    assert declined == ["attention_read: backend picky declined: N must be at most 2, got 3"]


def test_forced_backend_never_falls_back(picky: Picky) -> None:
    with use_backend("picky"):
        assert current_backend() == "picky"
        F.attention_read(X, P, 2)
        with pytest.raises(BackendError, match=r"attention_read.*'picky'.*at most 2, got 3"):
            F.attention_read(X, P, 3)
    assert current_backend() == "auto"


def test_unavailable_backend_says_why(picky: Picky) -> None:
    picky.broken = "the moon is in the wrong phase"
    assert backends()["picky"] == "the moon is in the wrong phase"
    with record_backends() as ran:
        F.attention_read(X, P, 2)
    assert ("attention_read", "picky") not in ran
    with pytest.raises(BackendError, match="wrong phase"):
        use_backend("picky")


def test_breaking_while_forced_raises_at_the_call(picky: Picky) -> None:
    with use_backend("picky"):
        picky.broken = "unplugged"
        with pytest.raises(BackendError, match="unplugged"):
            F.attention_read(X, P, 2)


def test_forcing_nests_and_persists() -> None:
    use_backend("reference")
    assert current_backend() == "reference"
    with use_backend("auto"):
        assert current_backend() == "auto"
    assert current_backend() == "reference"
    use_backend("auto")


def test_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(BackendError, match=r"must be one of auto, .*reference, got 'gpu'"):
        use_backend("gpu")


def test_recorders_nest() -> None:
    with use_backend("reference"), record_backends() as outer:
        F.attention_read(X, P, 2)
        with record_backends() as inner:
            F.attention_write(X, P, (9, 9))
    assert inner == {("attention_write", "reference"): 1}
    assert outer == {("attention_read", "reference"): 1, ("attention_write", "reference"): 1}


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [("reference", 0, "reference"), ("", 0, "auto"), ("nonsense", 2, "DRAWGAN_BACKEND must be")],
)
def test_environment_variable(value: str, code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drawgan_fast", "info"],
        env={**os.environ, "DRAWGAN_BACKEND": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert says in (done.stdout.splitlines()[-1] if code == 0 else done.stderr)
    assert "Traceback" not in done.stderr


def test_operators_trace_without_a_graph_break() -> None:
    def f(x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        seen, error = F.attention_read(x, p, 2, canvas=x)
        return F.attention_write(seen + error, p, (6, 6), canvas=x)

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    with use_backend("reference"):
        torch.testing.assert_close(compiled(X, P), f(X, P))
