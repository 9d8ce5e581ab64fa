"""The pointwise LSTM of the CUDA core, on the emulation, against float64."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

NUMBERS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
# Of the sums, of the state.
TYPES = [
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16),
    (torch.bfloat16, torch.float32),
    (torch.float16, torch.float32),
]
SIZES = [(1, 1), (3, 7), (2, 64), (5, 36), (130, 8), (2, 1032)]  # B, K


def address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def poisoned(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.full(shape, float("nan"), dtype=dtype)


def formula(sums: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    i, f, g, o = sums.chunk(4, dim=1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c_out = f * c + i * g
    return o * c_out.tanh(), c_out, torch.cat([i, f, g, o], dim=1)


def close(found: Tensor, truth: Tensor, achieved: Tensor | None = None) -> None:
    """Within rounding to the type and a few times float's own error of the truth."""
    unit = torch.finfo(found.dtype).eps
    bound = (unit + 2e-6) * truth.abs() + 1e-6 * (1 + truth.abs())
    assert (found.double() - truth).abs().sub(bound).max() <= 0


def forward(
    core: ModuleType, sums: Tensor, c: Tensor, gates: Tensor | None
) -> tuple[Tensor, Tensor]:
    (B, K), kind = c.shape, c.dtype
    h_out, c_out = poisoned(B, K, dtype=kind), poisoned(B, K, dtype=kind)
    given = [sums, c, h_out, c_out, gates]
    core.lstm_pointwise(NUMBERS[sums.dtype], NUMBERS[kind], B, K, *map(address, given), 0)
    return h_out, c_out


@pytest.mark.parametrize("types", TYPES, ids=lambda t: "-".join(str(d)[6:] for d in t))
@pytest.mark.parametrize(("B", "K"), SIZES)
def test_forward_and_backward(
    scheduled: ModuleType, B: int, K: int, types: tuple[torch.dtype, torch.dtype]
) -> None:
    sums_type, kind = types
    generator = torch.Generator().manual_seed(B * K)
    sums = (3 * torch.randn(B, 4 * K, generator=generator)).to(sums_type)
    c = torch.randn(B, K, generator=generator).to(kind)
    gates = poisoned(B, 4 * K, dtype=kind)
    h_out, c_out = forward(scheduled, sums, c, gates)

    exact_sums = sums.double().requires_grad_()
    exact_c = c.double().requires_grad_()
    h_truth, c_truth, gates_truth = formula(exact_sums, exact_c)
    for found, truth in ((h_out, h_truth), (c_out, c_truth), (gates, gates_truth)):
        close(found, truth.detach())

    d_h = torch.randn(B, K, generator=generator).to(kind)
    d_c_out = torch.randn(B, K, generator=generator).to(kind)
    for d_h_given, d_c_given in ((d_h, d_c_out), (d_h, None), (None, d_c_out), (None, None)):
        d_sums, d_c = poisoned(B, 4 * K, dtype=sums_type), poisoned(B, K, dtype=kind)
        given = [gates, c, c_out, d_h_given, d_c_given, d_sums, d_c]
        scheduled.lstm_pointwise_backward(
            NUMBERS[sums_type], NUMBERS[kind], B, K, *map(address, given), 0
        )
        zero = torch.zeros(B, K).double()
        d_sums_truth, d_c_truth = backward_formula(
            gates.double(),
            c.double(),
            c_out.double(),
            zero if d_h_given is None else d_h_given.double(),
            zero if d_c_given is None else d_c_given.double(),
        )
        close(d_sums, d_sums_truth)
        close(d_c, d_c_truth)
        if kind == torch.float32 and d_h_given is not None and d_c_given is not None:
            loss = (h_truth * d_h.double() + c_truth * d_c_out.double()).sum()
            exact = torch.autograd.grad(loss, (exact_sums, exact_c), retain_graph=True)
            torch.testing.assert_close(d_sums_truth, exact[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(d_c_truth, exact[1], atol=1e-5, rtol=1e-5)


def backward_formula(
    gates: Tensor, c: Tensor, c_out: Tensor, d_h: Tensor, d_c_out: Tensor
) -> tuple[Tensor, Tensor]:
    """From what was kept, rounded as it is: a gradient's error is the kernel's own."""
    i, f, g, o = gates.chunk(4, dim=1)
    t = c_out.tanh()
    d = d_c_out + d_h * o * (1 - t * t)
    parts = [
        d * g * i * (1 - i),
        d * c * f * (1 - f),
        d * i * (1 - g * g),
        d_h * t * o * (1 - o),
    ]
    return torch.cat(parts, dim=1), d * f


def test_gates_may_take_the_place_of_the_sums_and_need_not_be_kept(emulation: ModuleType) -> None:
    sums, c = torch.randn(3, 4 * 8), torch.randn(3, 8)
    expected = forward(emulation, sums, c, None)
    gates = sums.clone()
    found = forward(emulation, gates, c, gates)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    close(gates, formula(sums.double(), c.double())[2])


def test_rows_that_are_not_aligned_give_the_same_numbers(emulation: ModuleType) -> None:
    sums, c = torch.randn(4, 4 * 16), torch.randn(4, 16)
    shifted = torch.empty(4 * 16 + 1)[1:].view(4, 16).copy_(c)
    assert shifted.data_ptr() % 16 != 0
    expected, found = forward(emulation, sums, c, None), forward(emulation, sums, shifted, None)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_extreme_sums_stay_finite(emulation: ModuleType) -> None:
    sums = torch.tensor([[-3e38, 3e38, -1e4, 1e4]]).repeat(4, 1)
    sums = torch.stack([sums[0].roll(n) for n in range(4)])
    c = torch.tensor([[1e30], [-1e30], [0.0], [1.0]])
    gates = torch.empty(4, 4)
    for tensor in (*forward(emulation, sums, c, gates), gates):
        assert tensor.isfinite().all()


def test_an_empty_batch_launches_nothing(emulation: ModuleType) -> None:
    emulation.lstm_pointwise(0, 0, 0, 5, 0, 0, 0, 0, 0, 0)


def test_types_that_do_not_go_together_are_refused(emulation: ModuleType) -> None:
    with pytest.raises(ValueError, match="must have the state's type or a shorter one"):
        emulation.lstm_pointwise(0, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    with pytest.raises(ValueError, match=r"2 \(float16\), got 3"):
        emulation.lstm_pointwise(3, 0, 1, 1, 0, 0, 0, 0, 0, 0)
