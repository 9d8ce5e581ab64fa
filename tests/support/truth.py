"""The one rule of tolerance: how far from a float64 truth, beside plain PyTorch in the same dtype.

A backend may be twice as far off as the reference formula in the same dtype, plus what roundings do
to the truth: where numbers cancel or saturate, the formula may be nearer by luck. What they do is
drawn, not guessed (Monte Carlo arithmetic, Parker 1997): the formula once more in float64, each
input and each result of each operation, backward too, moved by one rounding up or down.
Distances are norms over a whole tensor, so that one element decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from drawgan_fast import record_backends, use_backend
from drawgan_fast.backends.precision import computing_dtype, result_dtype

FACTOR = 2.0
ROUNDINGS = 8.0  # of the result
# Of everything, at random; more in float64, where the formula is the truth and never off itself.
DRAWN_ROUNDINGS = {torch.float32: 2.0, torch.float64: 4.0}
# A draw may cancel by luck too, above all in a tensor of one number: the largest of so many counts.
DRAWS = 8

Function = Callable[..., Tensor | tuple[Tensor | None, ...] | None]


class Result(NamedTuple):
    """What a function gave: its results, then the gradient of every input that wants one."""

    outputs: list[Tensor]
    gradients: list[Tensor | None]


def evaluate(
    function: Function,
    inputs: Sequence[Tensor],
    *,
    backend: str,
    dtype: torch.dtype | None = None,
    frozen: Sequence[int] = (),
) -> Result:
    """Call ``function`` on a backend and differentiate it along fixed cotangents.

    Args:
        inputs: used with their strides; converted where a ``dtype`` is given.
        frozen: positions of the inputs that want no gradient.
    """
    given = [
        (t if dtype is None else t.to(dtype)).detach().requires_grad_(i not in frozen)
        for i, t in enumerate(inputs)
    ]
    with use_backend(backend), record_backends() as ran:
        results = function(*given)
    assert ran, "no operator was called"
    assert {name for _, name in ran} == {backend}
    outputs = [r for r in (results if isinstance(results, tuple) else (results,)) if r is not None]
    generator = torch.Generator().manual_seed(5)
    cotangents = [
        torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.device, o.dtype)
        for o in outputs
    ]
    wanted = [t for i, t in enumerate(given) if i not in frozen]
    gradients = iter(
        torch.autograd.grad(
            [o for o in outputs if o.requires_grad],
            wanted,
            [c for o, c in zip(outputs, cotangents) if o.requires_grad],
            allow_unused=True,
        )
    )
    return Result(
        [o.detach() for o in outputs],
        [None if i in frozen else next(gradients) for i in range(len(given))],
    )


def distance(value: Tensor, truth: Tensor) -> float:
    """Norm of the difference, in float64."""
    return (value.double() - truth).norm().item()


def assert_as_good(
    name: str,
    value: Tensor,
    plain: Tensor,
    truth: Tensor,
    *,
    noise: Iterable[float] = (),
    factor: float = FACTOR,
) -> None:
    """``value`` is as near to ``truth`` as ``plain`` is, up to ``factor`` and a few roundings.

    Args:
        noise: distances from the truth that roundings explain; the largest counts, and no more are
            drawn than it takes.
    """
    assert value.shape == plain.shape == truth.shape, name
    assert value.dtype == plain.dtype, f"{name} has dtype {value.dtype}, plain {plain.dtype}"
    assert value.isfinite().all(), f"{name} is not finite"
    tiny = ROUNDINGS * torch.finfo(value.dtype).eps * truth.norm().item()
    off, allowed = distance(value, truth), factor * distance(plain, truth) + tiny
    if off <= allowed:
        return
    explained = 0.0
    for drawn in noise:
        explained = max(explained, drawn)
        if off <= allowed + explained:
            return
    raise AssertionError(f"{name}: {off:.3g} from the truth, {allowed + explained:.3g} allowed")


def assert_matches(
    function: Function,
    inputs: Sequence[Tensor],
    *,
    backend: str,
    frozen: Sequence[int] = (),
    factor: float = FACTOR,
) -> Result:
    """A backend against the reference: every output and every gradient, and which are None.

    Returns:
        The backend's result.
    """
    got = evaluate(function, inputs, backend=backend, frozen=frozen)
    plain = evaluate(function, inputs, backend="reference", frozen=frozen)
    double = {"backend": "reference", "dtype": torch.float64, "frozen": frozen}
    truth = evaluate(function, inputs, **double)
    dtype = computing_dtype(result_dtype(*inputs))

    @cache
    def rounded(seed: int) -> Result:
        with Rounded(dtype, seed) as roundings:
            return evaluate(function, [roundings.moved(t.double()) for t in inputs], **double)

    def noise(kind: int, i: int, exact: Tensor) -> Iterable[float]:
        for seed in range(DRAWS):
            yield DRAWN_ROUNDINGS[dtype] * distance(rounded(seed)[kind][i], exact)

    for kind, *results in zip((0, 1), got, plain, truth):
        assert len({len(result) for result in results}) == 1
        for i, (value, formula, exact) in enumerate(zip(*results)):
            name = f"{('output', 'gradient of input')[kind]} {i}"
            assert (value is None) == (formula is None), f"{name}: {value} and {formula}"
            if value is not None:
                drawn = noise(kind, i, exact)
                assert_as_good(name, value, formula, exact, noise=drawn, factor=factor)
    return got


class Rounded(TorchDispatchMode):
    """Within it every floating-point result of an operation is one rounding of ``dtype`` away.

    What ``dtype`` has no normal number for is 0, as kernels may take it. Views and what is written
    in place stay as they are.
    """

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        super().__init__()
        self._eps = torch.finfo(dtype).eps
        self._least = 2 * torch.finfo(dtype).tiny
        self._generator = torch.Generator().manual_seed(seed)

    def moved(self, value: Any) -> Any:
        """A result, or several, each number of it moved up or down."""
        if isinstance(value, (tuple, list)):
            return type(value)(self.moved(item) for item in value)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        up = torch.randint(0, 2, value.shape, generator=self._generator, dtype=torch.float64)
        kept = value.where(value.abs() >= self._least, 0.0)
        return kept * (1 + self._eps * (2 * up - 1).to(value.device))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = any(returned.alias_info is not None for returned in func._schema.returns)
        return result if aliases else self.moved(result)
