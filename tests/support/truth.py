"""The one rule of tolerance: how far from a float64 truth, beside plain PyTorch in the same dtype.

A backend may be twice as far off as the reference formula in the same dtype, plus what a rounding
of the inputs alone would do to the truth: where numbers cancel, the formula may be nearer by luck.
Distances are norms over a whole tensor, so that one element decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from drawgan_fast import record_backends, use_backend
from drawgan_fast.backends.precision import computing_dtype, result_dtype

FACTOR = 2.0
ROUNDINGS = 8.0  # of the result
# Of every input, at random; more in float64, where the formula is the truth and never off itself.
INPUT_ROUNDINGS = {torch.float32: 2.0, torch.float64: 24.0}

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
    noise: float = 0.0,
    factor: float = FACTOR,
) -> None:
    """``value`` is as near to ``truth`` as ``plain`` is, up to ``factor`` and a few roundings.

    Args:
        noise: distance from the truth that roundings of the inputs explain.
    """
    assert value.shape == plain.shape == truth.shape, name
    assert value.dtype == plain.dtype, f"{name} has dtype {value.dtype}, plain {plain.dtype}"
    assert value.isfinite().all(), f"{name} is not finite"
    tiny = ROUNDINGS * torch.finfo(value.dtype).eps * truth.norm().item()
    off, allowed = distance(value, truth), factor * distance(plain, truth) + noise + tiny
    assert off <= allowed, f"{name}: {off:.3g} from the truth, {allowed:.3g} allowed"


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
    truth = evaluate(function, inputs, backend="reference", dtype=torch.float64, frozen=frozen)
    rounded = [
        evaluate(
            function,
            _rounded(inputs, seed),
            backend="reference",
            dtype=torch.float64,
            frozen=frozen,
        )
        for seed in range(2)
    ]
    roundings = INPUT_ROUNDINGS[computing_dtype(result_dtype(*inputs))]
    for kind, *results in zip(("output", "gradient of input"), got, plain, truth, *rounded):
        assert len({len(result) for result in results}) == 1
        for i, (value, formula, exact, *near) in enumerate(zip(*results)):
            name = f"{kind} {i}"
            assert (value is None) == (formula is None), f"{name}: {value} and {formula}"
            if value is not None:
                noise = roundings * max(distance(n, exact) for n in near)
                assert_as_good(name, value, formula, exact, noise=noise, factor=factor)
    return got


def _rounded(inputs: Sequence[Tensor], seed: int) -> list[Tensor]:
    """The inputs in float64, each number one rounding of the computing dtype away."""
    generator = torch.Generator().manual_seed(seed)
    dtype = result_dtype(*inputs)
    eps = torch.finfo(computing_dtype(dtype)).eps

    def rounded(tensor: Tensor) -> Tensor:
        sign = torch.rand(tensor.shape, generator=generator).sub(0.5).sign().double()
        return tensor.double() * (1 + eps * sign.to(tensor.device))

    return [rounded(tensor) for tensor in inputs]
