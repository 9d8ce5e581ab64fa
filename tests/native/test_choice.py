"""A backend that takes some calls: graphs run, and differentiate, with the one that took them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from drawgan_fast import BackendError, DrawConfig, use_backend
from drawgan_fast import functional as F
from drawgan_fast.backends import registry
from drawgan_fast.backends.compiled import CompiledBackend, Kernels
from drawgan_fast.backends.native.kernels import NativeKernels
from tests.support.cases import windows
from tests.support.scans import SMALL, scan_inputs, scan_of

Ran = Counter[tuple[str, str]]


class Counting:
    """The native kernels under another name, counting what runs."""

    def __init__(self, name: str, ran: Ran) -> None:
        self.name, self.ran, self.of = name, ran, NativeKernels()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.of, name)
        if not callable(found) or name == "saved_bytes":
            return found

        def run(*args: Any) -> Any:
            self.ran[name, self.name] += 1
            return found(*args)

        return run


class Some(CompiledBackend):
    """Takes windows of N ≤ 2 and, of the recurrences, those of no more than 4 latents."""

    def __init__(self, kernels: Kernels, picky: bool) -> None:
        self.name, self.kernels, self.picky = kernels.name, kernels, picky

    def unavailable(self) -> str | None:
        return None

    def asked_for(self) -> bool:
        return False

    def can_run(self, op: str, args: Mapping[str, Any], plain: str | None = None) -> str | None:
        reason = super().can_run(op, args, plain)
        if reason is not None or not self.picky:
            return reason
        if args.get("N", 1) > 2:
            return f"N is {args['N']}"
        if "cfg" in args and args["cfg"].latent_size > 4:
            return f"latent_size is {args['cfg'].latent_size}"
        return None


@pytest.fixture
def ran(core: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    """What ran on ``picky``, the first in line, and on ``next``."""
    counted: Ran = Counter()
    line: dict[str, Any] = {
        name: Some(Counting(name, counted), name == "picky")  # type: ignore[arg-type]
        for name in ("picky", "next")
    }
    monkeypatch.setattr(registry, "_backends", {**line, **registry._backends})
    yield counted
    torch._dynamo.reset()


def differentiated(function: Callable, inputs: list[Tensor]) -> None:
    outputs = function(*(t.detach().requires_grad_() for t in inputs))
    sum(o.sum() for o in outputs if o is not None).backward()


def compiled(function: Callable) -> Callable:
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("wrapped", [lambda function: function, compiled], ids=["eager", "graph"])
@pytest.mark.parametrize(("N", "taken_by"), [(2, "picky"), (3, "next")])
def test_a_read_and_its_gradient(ran: Ran, wrapped: Callable, N: int, taken_by: str) -> None:
    def read(x: Tensor, params: Tensor) -> tuple[Tensor, ...]:
        return F.attention_read(x, params, N, canvas=x)

    differentiated(wrapped(read), [torch.rand(2, 1, 6, 7), windows(2)])
    assert ran == {("attention_read", taken_by): 1, ("attention_read_backward", taken_by): 1}


@pytest.mark.parametrize("wrapped", [lambda function: function, compiled], ids=["eager", "graph"])
@pytest.mark.parametrize(("Z", "taken_by"), [(4, "picky"), (5, "next")])
def test_a_scan_and_its_gradient(ran: Ran, wrapped: Callable, Z: int, taken_by: str) -> None:
    """The one that declines the scan takes the read beside it, in the same graph."""
    cfg = DrawConfig(SMALL.image_size, hidden_size=6, latent_size=Z, read_size=3, write_size=2)

    def both(params: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        return *scan_of(cfg)(*inputs), F.attention_read(inputs[0], params, 2)

    differentiated(wrapped(both), [windows(2), *scan_inputs(cfg, T=2, B=2)])
    assert ran == {
        ("draw_scan", taken_by): 1,
        ("draw_scan_backward", taken_by): 1,
        ("attention_read", "picky"): 1,
        ("attention_read_backward", "picky"): 1,
    }


def test_a_graph_keeps_the_backend_that_made_it(ran: Ran) -> None:
    """Another one may take its arguments too, and would not know what was kept."""
    x, params = torch.rand(2, 1, 6, 7), windows(2)
    with use_backend("next"):
        program = torch.export.export(Reader(), (x, params))
    ran.clear()
    program.module()(x, params)
    assert ran == {("attention_read", "next"): 1}
    with (
        use_backend("picky"),
        pytest.raises(BackendError, match="made with backend 'next' cannot run while 'picky'"),
    ):
        program.module()(x, params)


class Reader(torch.nn.Module):
    def forward(self, x: Tensor, params: Tensor) -> Tensor:
        return F.attention_read(x, params, 2)


def test_a_graph_of_a_backend_that_is_not_there_says_so(core: ModuleType) -> None:
    x, params = torch.rand(2, 1, 6, 7), windows(2)
    read = torch.ops.drawgan_fast.attention_read
    with pytest.raises(BackendError, match="'abacus', which has no kernels"):
        read([x], params, None, 3, '"paper"', "abacus")
    with pytest.raises(BackendError, match="made with backend 'native' cannot run on meta"):
        registry.compiled_kernels("native", torch.device("meta"))
