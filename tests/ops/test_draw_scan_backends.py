"""draw_scan and draw_generate on every fast backend against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from drawgan_fast import PRESETS, DrawConfig, DrawWeights
from drawgan_fast import functional as F
from tests.support.cases import strided
from tests.support.scans import ODD, SMALL, scan_inputs, scan_of, weights_of
from tests.support.truth import assert_matches, distance, evaluate

BLIND = replace(SMALL, attention=False)


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("cfg", [ODD, replace(ODD, attention=False)], ids=["attention", "blind"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_odd_sizes(fast_backend: str, dtype: torch.dtype, cfg: DrawConfig, memory: str) -> None:
    """Every output and every gradient; more prior samples than images."""
    inputs = scan_inputs(cfg, T=5, B=3, prior=4, dtype=dtype)
    assert_matches(scan_of(cfg, prior=True, memory=memory), inputs, backend=fast_backend)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_every_convention(fast_backend: str, name: str, memory: str) -> None:
    cfg = replace(SMALL, spec=name)
    inputs = scan_inputs(cfg, T=6, B=4, prior=2)
    assert_matches(scan_of(cfg, prior=True, memory=memory), inputs, backend=fast_backend)


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize(
    ("T", "B", "prior"), [(0, 2, 3), (1, 1, 1), (3, 0, 2), (3, 2, 0), (3, 0, 0), (17, 7, 1)]
)
def test_steps_and_batches(fast_backend: str, T: int, B: int, prior: int, memory: str) -> None:
    inputs = scan_inputs(SMALL, T=T, B=B, prior=prior)
    assert_matches_where_given(scan_of(SMALL, prior=True, memory=memory), inputs, fast_backend)


def assert_matches_where_given(function, inputs: list[Tensor], backend: str) -> None:
    """As ``assert_matches``, and a gradient of zeros may stand for none at all."""
    got = evaluate(function, inputs, backend=backend)
    plain = evaluate(function, inputs, backend="reference")
    for ours, theirs in zip(got.outputs, plain.outputs):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(got.gradients, plain.gradients):
        if theirs is None:
            assert ours is None or not ours.any()
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"read_size": 1, "write_size": 1},
        {"read_size": 12, "write_size": 12},
        {"image_size": (13, 29), "channels": 3},
        {"image_size": (1, 1)},
        {"hidden_size": 1, "latent_size": 1},
        {"hidden_size": 64, "latent_size": 32, "image_size": (16, 16)},
    ],
    ids=str,
)
def test_sizes(fast_backend: str, change: dict) -> None:
    cfg = replace(SMALL, **change)
    inputs = scan_inputs(cfg, T=4, B=5, prior=3)
    assert_matches(scan_of(cfg, prior=True), inputs, backend=fast_backend)


def test_shared_attention_gets_the_sum_of_both_gradients(fast_backend: str) -> None:
    def scan(x: Tensor, eps: Tensor, *rest: Tensor) -> tuple[Tensor | None, ...]:
        weights = weights_of(SMALL, rest)
        shared = weights._replace(read_w=weights.write_w, read_b=weights.write_b)
        return tuple(F.draw_scan(x, eps, shared, SMALL)[:4])

    assert_matches(scan, scan_inputs(SMALL), backend=fast_backend)


@pytest.mark.parametrize("index", range(4))
def test_a_result_that_no_loss_looks_at(fast_backend: str, index: int) -> None:
    """One result at a time: the others' gradients are absent, and so are those of their inputs."""
    whole = scan_of(SMALL, prior=True)

    def scan(*inputs: Tensor) -> Tensor | None:
        return whole(*inputs)[index]

    got = evaluate(scan, scan_inputs(SMALL, prior=2), backend=fast_backend)
    inputs = scan_inputs(SMALL, prior=2)
    got = evaluate(scan, inputs, backend=fast_backend)
    plain = evaluate(scan, inputs, backend="reference")
    for ours, theirs in zip(got.gradients, plain.gradients):
        if theirs is None:
            assert ours is None or not ours.any()
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    if index == 3:  # of a prior sample: the posterior's side has no part in it
        names = [*("x", "eps", "prior_eps"), *DrawWeights.shapes(SMALL)]
        absent = {name for name, g in zip(names, got.gradients) if g is None}
        assert absent == {name for name, g in zip(names, plain.gradients) if g is None}


@pytest.mark.parametrize("wanted", ["x", "eps", "weights", "decoder", "one"])
def test_only_what_is_asked_for_gets_a_gradient(fast_backend: str, wanted: str) -> None:
    names = ["x", "eps", "prior_eps", *DrawWeights.shapes(SMALL)]
    chosen = {
        "x": {"x"},
        "eps": {"eps", "prior_eps"},
        "weights": set(names[3:]),
        "decoder": {n for n in names if n.startswith(("dec", "patch", "write"))},
        "one": {"enc_b_hh"},
    }[wanted]
    frozen = [i for i, name in enumerate(names) if name not in chosen]
    inputs = scan_inputs(SMALL, prior=2)
    assert_matches(scan_of(SMALL, prior=True), inputs, backend=fast_backend, frozen=frozen)


def test_recompute_changes_no_bit_of_the_results(fast_backend: str) -> None:
    inputs = scan_inputs(ODD, T=9, B=5, prior=4)
    kept = evaluate(scan_of(ODD, prior=True), inputs, backend=fast_backend)
    again = evaluate(scan_of(ODD, prior=True, memory="recompute"), inputs, backend=fast_backend)
    for one, other in zip(kept.outputs, again.outputs):
        assert torch.equal(one, other)
    for one, other in zip(kept.gradients, again.gradients):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_recompute_on_the_reference_gives_the_same_gradients() -> None:
    inputs = scan_inputs(SMALL, T=4, B=3, prior=2, dtype=torch.float64)
    kept = evaluate(scan_of(SMALL, prior=True), inputs, backend="reference")
    again = evaluate(scan_of(SMALL, prior=True, memory="recompute"), inputs, backend="reference")
    for one, other in zip((*kept.outputs, *kept.gradients), (*again.outputs, *again.gradients)):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_backward_can_run_twice(backend: str, memory: str) -> None:
    inputs = [t.requires_grad_() for t in scan_inputs(SMALL, prior=2)]
    out = scan_of(SMALL, prior=True, memory=memory)(*inputs)
    loss = sum(o.square().sum() for o in out)
    first = torch.autograd.grad(loss, inputs, retain_graph=True)
    second = torch.autograd.grad(loss, inputs)
    for one, other in zip(first, second):
        assert torch.equal(one, other)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, inputs)


def test_layout_does_not_matter(fast_backend: str) -> None:
    inputs = scan_inputs(SMALL, prior=2)
    loose = [strided(t) for t in inputs]
    loose[0] = inputs[0][:1].expand_as(inputs[0])
    loose[1] = inputs[1].transpose(0, 1).contiguous().transpose(0, 1)
    assert_matches(scan_of(SMALL, prior=True), loose, backend=fast_backend)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_compute_in_float32(fast_backend: str, dtype: torch.dtype) -> None:
    inputs = scan_inputs(SMALL, prior=2)
    assert_matches(scan_of(SMALL, prior=True), [t.to(dtype) for t in inputs], backend=fast_backend)
    mixed = [t.to(dtype) if i in (0, 4, 7) else t for i, t in enumerate(inputs)]
    assert_matches(scan_of(SMALL, prior=True), mixed, backend=fast_backend)


@pytest.mark.parametrize("cfg", [SMALL, BLIND], ids=["attention", "blind"])
def test_trace_and_generate_match(fast_backend: str, cfg: DrawConfig) -> None:
    x, eps, *rest = (t.requires_grad_() for t in scan_inputs(cfg, T=3, B=4, dtype=torch.float64))
    weights = weights_of(cfg, tuple(rest))
    ours = F.draw_scan(x, eps, weights, cfg, trace=True).trace
    sample = F.draw_generate(eps, weights, cfg, trace=True)
    from drawgan_fast import use_backend

    with use_backend("reference"):
        plain = F.draw_scan(x, eps, weights, cfg, trace=True).trace
        plain_sample = F.draw_generate(eps, weights, cfg, trace=True)
    assert sample.canvas.requires_grad
    for one, other in zip((*ours, *sample.trace), (*plain, *plain_sample.trace)):
        if other is None:
            assert one is None
        else:
            assert one.requires_grad is other.requires_grad is False
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_generate_leaves_the_encoder_without_gradient(fast_backend: str) -> None:
    _, eps, *weights = scan_inputs(SMALL)

    def generate(eps: Tensor, *weights: Tensor) -> Tensor:
        return F.draw_generate(eps, weights_of(SMALL, weights), SMALL).canvas

    got = assert_matches(generate, [eps, *weights], backend=fast_backend)
    names = DrawWeights.shapes(SMALL)
    absent = {name for name, g in zip(names, got.gradients[1:]) if g is None}
    assert absent == {n for n in names if n.startswith(("enc", "posterior", "read"))}


@given(
    T=st.integers(1, 5),
    B=st.integers(0, 9),
    prior=st.integers(0, 9),
    C=st.integers(1, 3),
    H=st.integers(1, 20),
    W=st.integers(1, 20),
    K=st.integers(1, 40),
    Z=st.integers(1, 20),
    N=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    attention=st.booleans(),
    memory=st.sampled_from(["keep", "recompute"]),
)
@settings(max_examples=40)
def test_any_size(
    fast_backend: str, T: int, B: int, prior: int, C: int, H: int, W: int, K: int, Z: int,
    N: tuple[int, int], attention: bool, memory: str,
) -> None:  # fmt: skip
    torch.manual_seed(T + 10 * B + 100 * H)
    cfg = DrawConfig((H, W), C, K, Z, *N, attention=attention)
    inputs = scan_inputs(cfg, T, B, prior, dtype=torch.float64)
    function = scan_of(cfg, prior=True, memory=memory)
    got = evaluate(function, inputs, backend=fast_backend)
    plain = evaluate(function, inputs, backend="reference")
    for ours, theirs in zip((*got.outputs, *got.gradients), (*plain.outputs, *plain.gradients)):
        if theirs is None:
            assert ours is None or not ours.any()
        else:
            assert distance(ours, theirs) <= 1e-9 * (1 + theirs.norm())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_wild_weights_stay_finite(backend: str, name: str, dtype: torch.dtype) -> None:
    """Windows whose raw numbers are ±1e4: finite canvases and finite gradients."""
    cfg = replace(SMALL, spec=name)
    inputs = scan_inputs(cfg, T=3, B=4, prior=2, dtype=dtype)
    names = ["x", "eps", "prior_eps", *DrawWeights.shapes(cfg)]
    for i, n in enumerate(names):
        if n in ("read_b", "write_b"):
            numbers = [1e4, -1e4, 0.0, 89.0, -89.0]
            inputs[i] = torch.tensor(numbers, dtype=dtype)[torch.randperm(5)]
            inputs[i][-1] = 1.0  # an intensity that no canvas overflows from
    got = evaluate(scan_of(cfg, prior=True), inputs, backend=backend)
    for tensor in (*got.outputs, *got.gradients):
        assert tensor.isfinite().all()
