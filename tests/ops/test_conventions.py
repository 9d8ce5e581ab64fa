"""Every preset against the formulas of the implementation that it is named after."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from drawgan_fast import PRESETS, AttentionSpec
from drawgan_fast import functional as F
from drawgan_fast.attention_spec import describe, spec
from tests.support.conventions import ROWS, SQUARE_ONLY

TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def _numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, [0.5, 0.5, 5.0, 0.4, 0.5])


def _size(name: str) -> tuple[int, int]:
    return (13, 13) if name in SQUARE_ONLY else (13, 22)


def test_every_preset_has_a_row() -> None:
    assert set(ROWS) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("N", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_read_matches_the_implementation(backend: str, name: str, N: int, seed: int) -> None:
    H, W = _size(name)
    numbers = _numbers(seed)
    image = np.random.default_rng(seed + 100).uniform(size=(H, W))
    F_x, F_y, gamma, _ = ROWS[name].banks(numbers, W, H, N)
    expected = gamma * ROWS[name].read(F_y, image, F_x)

    ours = F.attention_read(torch.tensor(image)[None, None], torch.tensor(numbers)[None], N, name)
    np.testing.assert_allclose(ours[0, 0].numpy(), expected, **TIGHT)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("N", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_write_matches_the_implementation(backend: str, name: str, N: int, seed: int) -> None:
    H, W = _size(name)
    numbers = _numbers(seed)
    rng = np.random.default_rng(seed + 200)
    patch, canvas = rng.normal(size=(N, N)), rng.normal(size=(H, W))
    F_x, F_y, _, gamma = ROWS[name].banks(numbers, W, H, N)
    expected = canvas + gamma * ROWS[name].write(F_y, patch, F_x)

    ours = F.attention_write(
        torch.tensor(patch)[None, None],
        torch.tensor(numbers)[None],
        (H, W),
        name,
        canvas=torch.tensor(canvas)[None, None],
    )
    np.testing.assert_allclose(ours[0, 0].numpy(), expected, **TIGHT)


@pytest.mark.parametrize("name", [n for n in PRESETS if n not in SQUARE_ONLY])
def test_filterbank_matches_the_implementation(name: str) -> None:
    numbers = _numbers(7)
    F_x, F_y, gamma, _ = ROWS[name].banks(numbers, 22, 13, 4)
    ours_y, ours_x, ours_gamma = F.filterbank(torch.tensor(numbers)[None], (13, 22), 4, name)
    np.testing.assert_allclose(ours_y[0].numpy(), F_y, **TIGHT)
    np.testing.assert_allclose(ours_x[0].numpy(), F_x, **TIGHT)
    assert ours_gamma.item() == pytest.approx(gamma, rel=1e-12)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("writing", [False, True])
def test_filterbank_gradients(name: str, writing: bool) -> None:
    params = torch.tensor(_numbers(3))[None].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: F.filterbank(p, (5, 8), 3, name, writing=writing), (params,)
    )


def test_initial_grids_of_the_paper_and_of_the_forks() -> None:
    """Zero numbers on 28 pixels: the paper's 5 points span 0…27, the forks' −5.75…21.25."""
    wide = torch.tensor([[0.0, 0.0, -1.5, 0.0, 0.0]], dtype=torch.float64)

    def means(name: str) -> list[float]:
        _, F_x, _ = F.filterbank(wide, (28, 28), 5, name)
        return (F_x[0] @ torch.arange(28, dtype=torch.float64)).tolist()

    assert means("paper") == pytest.approx([0, 6.75, 13.5, 20.25, 27], abs=0.26)
    # −5.75 is off the image, and its filter is dead in that convention: it sums to 0.
    assert means("natsu") == pytest.approx([0, 1, 7.75, 14.5, 21.25], abs=0.26)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalisation": "sum"}, "normalisation must be one of"),
        ({"normalisation": "add"}, "eps > 0"),
        ({"order": ("x", "y", "sigma", "delta", "delta")}, "order must name each"),
        ({"pixel_base": 2}, "pixel_base must be 0 or 1"),
        ({"log_sigma2_clamp": (3.0, -3.0)}, "low, high"),
    ],
)
def test_bad_fields_are_named(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionSpec(**fields)


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"paper, natsu.*got 'papr'"):
        spec("papr")


@pytest.mark.parametrize("name", PRESETS)
def test_a_described_spec_comes_back(name: str) -> None:
    assert describe(PRESETS[name]) == name
    changed = AttentionSpec(centre_tanh=True, log_sigma2_clamp=(-4.0, 4.0), gamma_form="sigmoid")
    assert spec(describe(changed)) == changed


def test_the_options_without_a_preset() -> None:
    """tanh on the centre, sigmoid on γ, clamped log σ², one side's stride: met in other forks."""
    numbers = torch.tensor([[0.7, -0.3, 5.0, 0.1, 0.4]], dtype=torch.float64)
    options = AttentionSpec(
        centre_tanh=True, gamma_form="sigmoid", log_sigma2_clamp=(-2.0, 2.0), delta_rule="height"
    )
    F_y, F_x, gamma = F.filterbank(numbers, (9, 21), 3, options)
    expected_x = paper_like(22 / 2 * (np.tanh(0.7) + 1), 8 / 2 * np.exp(0.1), np.exp(2.0), 21)
    expected_y = paper_like(10 / 2 * (np.tanh(-0.3) + 1), 8 / 2 * np.exp(0.1), np.exp(2.0), 9)
    np.testing.assert_allclose(F_x[0].numpy(), expected_x, **TIGHT)
    np.testing.assert_allclose(F_y[0].numpy(), expected_y, **TIGHT)
    assert gamma.item() == pytest.approx(1 / (1 + np.exp(-0.4)))


def paper_like(centre: float, delta: float, sigma2: float, pixels: int) -> np.ndarray:
    p = np.arange(1, pixels + 1)
    raw = np.exp(-((p - (centre + delta * np.array([[-1], [0], [1]]))) ** 2) / (2 * sigma2))
    return raw / raw.sum(1, keepdims=True)
