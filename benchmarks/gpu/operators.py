"""The operators' stage: every variant past the gate, then its turns on the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

import drawgan_fast
from benchmarks.gate import WrongNumbers, error
from benchmarks.gpu.clock import Call, Clock
from benchmarks.gpu.deadline import Deadline
from benchmarks.gpu.graphs import Graphed
from benchmarks.gpu.operator_cases import COMPILED, OperatorCase
from benchmarks.gpu.tiers import backend_of, is_graphed
from benchmarks.operators import TOLERANCE, Operation
from benchmarks.timing import Quantiles
from benchmarks.variants.base import Unavailable
from benchmarks.variants.torch_step import check_backend

ROUNDS = 5
SECONDS = 0.06  # a variant's turn
MOST = 50  # calls a turn
STARTING, COMPILING = 2.0, 20.0  # seconds without which no case is begun
Results = list[Tensor]


@dataclass
class Timed:
    """What was taken of a variant."""

    label: str
    gate: dict[str, float] | None = None
    missing: str | None = None
    call: list[list[float]] = field(default_factory=list)  # a list a round, seconds
    device: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Quantiles of all samples, and a median for each round."""
        samples = [value for turn in self.call for value in turn]
        return {
            "label": self.label,
            "gate": self.gate,
            "missing": self.missing,
            "samples": len(samples),
            "rounds": [Quantiles.of(turn).p50 for turn in self.call],
            "call": _quantiles(samples),
            "device": _quantiles(self.device),
            "host": _quantiles(self.host),
        }


def _quantiles(samples: Sequence[float]) -> dict[str, float] | None:
    return vars(Quantiles.of(samples)) if samples else None


class Variant:
    """One way to run a case, as a call without arguments.

    Args:
        label: see ``VARIANTS``.
        case: what is run.
        device: where.
        ours: the backend in place of every tier's own.
        operation: the call, if not the case's own.
        cotangents: of its outputs, if not drawn here.

    Raises:
        Unavailable: it cannot run here; the message says why.
    """

    def __init__(
        self,
        label: str,
        case: OperatorCase,
        device: str,
        ours: str | None = None,
        *,
        operation: Operation | None = None,
        cotangents: Sequence[Tensor] = (),
    ) -> None:
        self.label, self.case = label, case
        self.backend = backend_of(label, ours)
        check_backend(self.backend)
        self.operation = operation or case.operation(device)
        self.run = self._run(label)
        self.cotangents: Results = list(cotangents)
        self.call: Callable[[], Results] = self.eager
        with self.settings():
            if case.backward and not self.cotangents:
                self.cotangents = _cotangents(self.forward())
            if is_graphed(label):
                self.call = Graphed(self.eager, device)

    def settings(self) -> AbstractContextManager[object]:
        """Backend and precision, for the whole of a turn."""
        torch.set_float32_matmul_precision("high" if self.case.precision == "tf32" else "highest")
        return drawgan_fast.use_backend(self.backend)

    def forward(self) -> Sequence[Tensor]:
        """Outputs alone."""
        autocast: AbstractContextManager[object] = nullcontext()
        if self.case.precision == "autocast":
            # Nothing cast in one call may be found again by the next.
            kind = self.operation.inputs[0].device.type
            autocast = torch.autocast(kind, torch.bfloat16, cache_enabled=False)
        with torch.set_grad_enabled(self.case.backward), autocast:
            return self.run(self.operation.inputs)

    def eager(self) -> Results:
        """Outputs, and in that mode the gradient of every input that wants one."""
        if self.label == "compile-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        outputs = list(self.forward())
        if not self.case.backward:
            return outputs
        return [*outputs, *torch.autograd.grad(outputs, self.operation.wanted, self.cotangents)]

    def _run(self, label: str) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
        if label == "nn.LSTMCell":
            return _library_cell
        if label not in COMPILED:
            return self.operation.run
        import torch._dynamo

        for tensor in self.operation.inputs:  # as a module's parameters are: not copied
            torch._dynamo.mark_static_address(tensor)
        mode = "reduce-overhead" if label == "compile-overhead" else None
        compiled: Callable[[Sequence[Tensor]], Sequence[Tensor]] = torch.compile(
            self.operation.run, mode=mode, dynamic=False, fullgraph=True
        )
        return compiled


def _cotangents(outputs: Sequence[Tensor]) -> Results:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(o.shape, generator=generator).to(o.device, o.dtype) for o in outputs]


def _library_cell(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """What ``nn.LSTMCell.forward`` calls."""
    x, h, c, *weights = inputs
    return torch.lstm_cell(x, (h, c), *weights)


@dataclass(frozen=True)
class Truth:
    """A case's outputs and gradients in float64, and how far the reference is from them."""

    results: Results
    reference: float


def truth(case: OperatorCase, device: str) -> Truth:
    """From the reference on the device: in float64, and in the case's own precision."""
    plain = Variant("eager", case, device)
    inputs = plain.operation.inputs
    double = [t.detach().double().requires_grad_(t.requires_grad) for t in inputs]
    exact = Variant(
        "eager",
        replace(case, precision="fp32"),  # no autocast
        device,
        operation=Operation(plain.operation.run, double),
        cotangents=[c.double() for c in plain.cotangents],
    )
    with exact.settings():
        results = [r.detach() for r in exact.call()]
    return Truth(results, distance(plain, results))


def distance(variant: Variant, results: Results) -> float:
    """The worst error of any result; infinite if one is not finite.

    What a graph's replay writes is filled with NaN first, so that what it does not write shows.
    """
    with variant.settings():
        if isinstance(variant.call, Graphed):
            # The gradient of a sum is the cotangent itself.
            given = {t.data_ptr() for t in (*variant.operation.inputs, *variant.cotangents)}
            for result in variant.call.result:
                if result.data_ptr() not in given:
                    result.detach().fill_(float("nan"))
        found = [r.detach().clone() for r in variant.call()]
    return max(error(one, other) for one, other in zip(found, results))


def check(variant: Variant, expected: Truth) -> dict[str, float]:
    """The gate: the tolerance of float32, or twice the reference's own error in this precision.

    Results that may be bfloat16 are allowed one more rounding to it.

    Raises:
        WrongNumbers: the variant is further off, or a number is not finite.
    """
    tolerance = max(TOLERANCE, 2 * expected.reference)
    if variant.case.precision in ("bf16", "autocast"):
        tolerance += torch.finfo(torch.bfloat16).eps
    worst = distance(variant, expected.results)
    if not worst <= tolerance:
        raise WrongNumbers(f"wrong numbers: error {worst:.2e}, tolerance {tolerance:.2e}")
    return {"error": worst, "tolerance": tolerance}


def measure(
    case: OperatorCase,
    clock: Clock,
    labels: Sequence[str],
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    ours: str | None = None,
) -> dict[str, Any]:
    """Gate and interleaved rounds of one case; the order moves on by one each round."""
    timed = {label: Timed(label) for label in labels}
    if set(labels) & set(COMPILED):
        # One code object is compiled anew for each case, and for eight at most.
        torch.compiler.reset()
    ready: list[tuple[Variant, int]] = []
    expected = truth(case, clock.device)
    for label in labels:
        variant = _ready(timed[label], case, expected, clock, ours)
        if variant is not None:
            ready.append((variant, _warm(variant, clock, seconds)))
    for number in range(rounds):
        start = number % max(len(ready), 1)
        for variant, calls in ready[start:] + ready[:start]:
            _turn(variant, calls, clock, timed[variant.label])
    found = case.counts()
    return {
        "key": case.key,
        "op": case.op,
        "mode": case.mode,
        "precision": case.precision,
        "unit": case.unit(clock.device),
        "bytes": found.bytes,
        "operations": found.operations,
        "entries": [
            {**timed[label].to_json(), "unit": case.unit(clock.device, label)} for label in labels
        ],
    }


def _ready(
    timed: Timed, case: OperatorCase, expected: Truth, clock: Clock, ours: str | None
) -> Variant | None:
    """The variant past the gate, or None with the reason noted."""
    try:
        variant = Variant(timed.label, case, clock.device, ours)
        timed.gate = check(variant, expected)
    except Unavailable as reason:
        timed.missing = str(reason)
    except Exception as failure:  # a compiler's, a driver's: the others are still measured
        timed.missing = one_line(failure)
    return variant if timed.missing is None else None


def _warm(variant: Variant, clock: Clock, seconds: float) -> int:
    """Calls until nothing is new, and how many fit into a turn."""
    with variant.settings():
        for _ in range(5):
            variant.call()
        taken = clock.call(variant.call)
    return max(2, min(MOST, round(seconds / max(taken, 1e-6))))


def _turn(variant: Variant, calls: int, clock: Clock, timed: Timed) -> None:
    with variant.settings():
        call: Call = variant.call
        call()
        timed.call.append([clock.call(call) for _ in range(calls)])
        host = clock.host(call, max(2, calls // 2))
        timed.host.append(host)
        for _ in range(calls):
            taken = clock.ahead(call, host)
            if taken is None:
                return
            timed.device.append(taken)


def one_line(failure: Exception) -> str:
    """What a table says of a failure."""
    first = next(iter(str(failure).strip().splitlines()), "no message")[:300]
    return first if isinstance(failure, WrongNumbers) else f"{type(failure).__name__}: {first}"


def run(
    clock: Clock,
    turns: Iterable[tuple[OperatorCase, bool]],
    deadline: Deadline,
    save: Callable[[dict[str, Any]], None],
    **options: Any,
) -> None:
    """Measure case after case.

    Args:
        clock: of the device.
        turns: cases in order of importance, each with whether ``torch.compile`` takes part; of
            two turns of one case the later one counts.
        deadline: after which nothing new is begun.
        save: takes what there is, after every case.
        options: of :func:`measure`.
    """
    groups: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    for case, compiled in turns:
        if deadline.left() < (COMPILING if compiled else STARTING):
            left.append(f"{case.key}{', torch.compile' if compiled else ''}: no time was left")
            continue
        labels = [v for v in case.variants if compiled or v not in COMPILED]
        try:
            groups[case.key] = measure(case, clock, labels, **options)
        except Exception as failure:  # no truth, no memory: the other cases are still measured
            groups.setdefault(case.key, {"key": case.key, "failed": one_line(failure)})
        save({"groups": list(groups.values()), "left_out": left})
    save({"groups": list(groups.values()), "left_out": left})
