"""`accelerate` on small DRAWs in every shape of the convention table."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import drawgan_fast
from drawgan_fast import record_backends, use_backend
from drawgan_fast.compat import NotAccelerated
from drawgan_fast.compat.replacements import FastRead
from tests.support.accelerating import accelerate
from tests.support.other_draws import CONVENTIONS, SHAPES, Gru, Lists, Shape

FORMS = [(name, fuse) for name in SHAPES for fuse in (False, True)]
needs_native = pytest.mark.skipif(
    drawgan_fast.backends()["native"] is not None, reason="the compiled core is not built"
)


def twins(shape: Shape, fuse: bool) -> tuple[Any, Any, drawgan_fast.compat.Report]:
    """A model, its accelerated copy, and the report."""
    original = shape.build()
    ours = copy.deepcopy(original)
    return original, ours, accelerate(ours, fuse=fuse, example=shape.example())


def step(model: Any, x: Tensor, seed: int) -> tuple[Tensor, dict[str, Tensor | None]]:
    torch.manual_seed(seed)
    model.zero_grad()
    loss = model.loss(x)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


def relative(a: Tensor | None, b: Tensor | None) -> float:
    if a is None or b is None:
        assert a is b
        return 0.0
    return ((a - b).norm() / b.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize(("name", "fuse"), FORMS)
def test_losses_and_gradients_are_the_originals(name: str, fuse: bool) -> None:
    original, ours, report = twins(SHAPES[name], fuse)
    assert report.fused == fuse
    # Beside the first: another batch, many samples, larger weights, a second pass, its own dtype.
    assert len(report.agreement) == 12
    assert all(a.error <= a.limit <= 1e-4 for a in report.agreement)
    assert not report.fallbacks
    for seed in range(3):
        x = SHAPES[name].images()
        loss, gradients = step(original, x, seed)
        with record_backends() as ran:
            our_loss, our_gradients = step(ours, x, seed)
        assert {operator for operator, _ in ran} == (
            {"draw_scan"}
            if fuse
            else {"lstm_cell"}
            if name == "no attention"
            else {"attention_read", "attention_write", "lstm_cell"}
        )
        if drawgan_fast.backends()["native"] is None:
            assert {backend for _, backend in ran} == {"native"}
        assert relative(our_loss, loss) < 1e-5
        for parameter, gradient in gradients.items():
            assert relative(our_gradients[parameter], gradient) < 1e-5, parameter


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", ["lists", "distributions", "bound, images"])
def test_training_gives_the_same_curve(name: str, fuse: bool) -> None:
    original, ours, _ = twins(SHAPES[name], fuse)
    x = SHAPES[name].images(8)
    curves = []
    for model in (original, ours):
        torch.manual_seed(3)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        curve = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
            curve.append(loss.detach())
        curves.append(torch.stack(curve))
    assert curves[0][-1] < curves[0][0]
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_are_recognised_by_their_numbers(name: str) -> None:
    square = name in ("rhychen", "vivanov")
    model = Lists(name, A=6, B=6 if square else 9, T=2)
    wanted = CONVENTIONS[name].spec
    if wanted is None:
        report = accelerate(model)
        assert report.replaced == ["encoder (LSTMCell)", "decoder (LSTMCell)"]
        for site, line in zip(("read", "write"), report.left):
            assert re.match(site + r": obeys no known convention.*off", line)
        return
    report = accelerate(model, fuse=True)
    assert report.read_spec == report.write_spec == wanted


@pytest.mark.parametrize("N", [1, 2, 4])
def test_even_odd_and_single_grids(N: int) -> None:
    for name in ("natsu", "kamen"):
        report = accelerate(Lists(name, N=N, T=2))
        assert report.read_spec == CONVENTIONS[name].spec or N == 1


def test_python_2_grids() -> None:
    model = Lists("czm0", N=3, T=2)
    model.rule = copy.copy(model.rule)
    model.rule.shift = 0.0  # ⌊3/2⌋ + ½
    assert accelerate(model).read_spec == drawgan_fast.PRESETS["czm0-python2"]


@pytest.mark.parametrize(("name", "fuse"), FORMS)
def test_restore_leaves_nothing_behind(name: str, fuse: bool) -> None:
    original = SHAPES[name].build()
    before = {k: v for k, v in vars(original).items() if not k.startswith("_")}
    parameters = [id(p) for p in original.parameters()]
    keys = list(original.state_dict())
    report = accelerate(original, fuse=fuse, example=SHAPES[name].example())
    assert [id(p) for p in original.parameters()] == parameters
    assert list(original.state_dict()) == keys
    report.restore()
    report.restore()
    after = {k: v for k, v in vars(original).items() if not k.startswith("_")}
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)
    assert type(original.encoder) is type(original.decoder) is nn.LSTMCell
    assert [id(p) for p in original.parameters()] == parameters
    with record_backends() as ran:
        original.loss(SHAPES[name].images())
    assert not ran


def test_a_probe_leaves_no_trace() -> None:
    model = Lists()
    x = torch.rand(4, 63)
    model.loss(x).backward()
    model.note = {"seen": [1, 2]}
    attributes = {k: v for k, v in vars(model).items() if not k.startswith("_")}
    lists = {k: list(v) for k, v in attributes.items() if isinstance(v, list)}
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    gradients = {k: (p.grad, p.grad.clone()) for k, p in model.named_parameters()}
    noise = torch.get_rng_state()
    accelerate(model, fuse=True).restore()
    assert torch.equal(torch.get_rng_state(), noise)
    assert torch.get_default_dtype() == torch.float32
    assert all(getattr(model, k) is v for k, v in attributes.items())
    assert all(all(a is b for a, b in zip(getattr(model, k), v)) for k, v in lists.items())
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    for k, p in model.named_parameters():
        assert p.grad is gradients[k][0]
        assert torch.equal(p.grad, gradients[k][1])


def test_an_optimizer_made_before_goes_on() -> None:
    original, ours = Lists(), Lists()
    ours.load_state_dict(original.state_dict())
    x = torch.rand(4, 63)
    losses = []
    for model, faster in ((original, False), (ours, True)):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        torch.manual_seed(1)
        for number in range(6):
            if faster and number == 3:
                accelerate(model, fuse=True)
            optimizer.zero_grad()
            loss = model.loss(x)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_noise_of_a_seed_is_the_same_and_goes_on_the_same() -> None:
    for name in ("lists", "distributions", "bound, images", "count first"):
        original, ours, _ = twins(SHAPES[name], True)
        x = SHAPES[name].images(6)
        states = []
        for model in (original, ours):
            torch.manual_seed(4)
            model.loss(x)
            states.append(torch.get_rng_state())
        assert torch.equal(*states), name


def test_generation_uses_the_replacements() -> None:
    original, ours, _ = twins(SHAPES["lists"], True)
    images = []
    for model in (original, ours):
        torch.manual_seed(2)
        with torch.no_grad(), record_backends() as ran:
            images.append(model.generate(3))
    assert {operator for operator, _ in ran} == {"attention_write", "lstm_cell"}
    torch.testing.assert_close(images[1], images[0])


def test_a_loss_on_earlier_canvases_gets_its_gradient() -> None:
    original, ours, _ = twins(SHAPES["lists"], True)
    x = torch.rand(3, 63)
    gradients = []
    for model in (original, ours):
        torch.manual_seed(2)
        model.zero_grad()
        model(x)
        (model.cs[0].square().sum() + model.cs[1][:, 3].sum()).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert relative(gradients[1][name], gradient) < 1e-5, name


def test_fused_forward_steps_aside_where_a_scan_cannot_stand_in() -> None:
    original, ours, _ = twins(SHAPES["lists"], True)
    x = torch.rand(3, 63)
    seen: list[Any] = []

    def operators(model: Any) -> set[str]:
        with record_backends() as ran:
            model(x)
        return {operator for operator, _ in ran}

    assert operators(ours) == {"draw_scan"}
    handle = ours.encoder.register_forward_hook(lambda *a: seen.append(a))
    assert operators(ours) == {"attention_read", "attention_write", "lstm_cell"}
    assert len(seen) == ours.T
    handle.remove()
    assert operators(ours) == {"draw_scan"}
    for model in (original, ours):
        model.T = 2
        torch.manual_seed(0)
        model(x)
    torch.testing.assert_close(ours.cs[1], original.cs[1])
    assert "draw_scan" not in operators(ours)


def test_a_mode_that_computes_something_else_is_left_alone() -> None:
    class Calm(Lists):
        def sample(self, h_enc: Tensor, t: int) -> Tensor:
            z = super().sample(h_enc, t)
            return z if self.training else self.mus[t]

    original = Calm()
    ours = copy.deepcopy(original)
    report = accelerate(ours, fuse=True)
    assert any("eval mode" in line for line in report.left)
    original.eval()
    ours.eval()
    x = torch.rand(3, 63)
    with record_backends() as ran:
        ours(x)
    original(x)
    assert ("draw_scan", "native") not in ran
    torch.testing.assert_close(ours.cs[-1], original.cs[-1])


@pytest.mark.parametrize("fuse", [False, True])
def test_copies_and_pickles(fuse: bool) -> None:
    original, model = Lists(), Lists()
    model.load_state_dict(original.state_dict())
    accelerate(model, fuse=fuse)
    wanted = {"draw_scan"} if fuse else {"attention_read", "attention_write", "lstm_cell"}
    x = torch.rand(3, 63)
    shallow = copy.copy(model)
    window = copy.deepcopy(model.window)
    shallow._modules = dict(model._modules, window=window, write_window=window)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), shallow):
        assert twin.window is not model.window
        with torch.no_grad():
            twin.window.bias.add_(0.3)
        torch.manual_seed(0)
        with record_backends() as ran:
            twin(x)
        assert {operator for operator, _ in ran} == wanted
        mine = twin.cs[-1]
        torch.manual_seed(0)
        other = copy.deepcopy(original)
        with torch.no_grad():
            other.window.bias.add_(0.3)
        other(x)
        torch.testing.assert_close(mine, other.cs[-1])
        mine.sum().backward()
        assert twin.window.weight.grad is not None
        assert model.window.weight.grad is None


def test_a_spec_asked_for_is_the_only_one_tried() -> None:
    assert accelerate(Lists("natsu"), spec="natsu").read_spec == drawgan_fast.PRESETS["natsu"]
    with pytest.raises(
        NotAccelerated, match=r"read does not obey the spec asked for: it is .* off"
    ):
        accelerate(Lists("natsu"), spec="czm0")


def test_gru_cells_are_left_and_said() -> None:
    report = accelerate(Gru())
    assert report.replaced == ["read", "write", "decoder (LSTMCell)"]
    assert report.left == ["encoder: a GRUCell, of which there is no fused form"]
    with pytest.raises(NotAccelerated, match="its cells are GRUCell and LSTMCell"):
        accelerate(Gru(), fuse=True)


def test_a_model_in_float64_and_a_frozen_one() -> None:
    model = Lists().double()
    model.encoder.requires_grad_(False)
    accelerate(model)
    assert not model.encoder.weight_ih.requires_grad
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model.loss(torch.rand(2, 63)).backward()
    finally:
        torch.set_default_dtype(before)
    assert model.encoder.weight_ih.grad is None
    assert model.window.weight.grad is not None


@needs_native
def test_a_wrong_replacement_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded bug: a read that is off by three parts in a hundred million."""
    right = FastRead.run
    monkeypatch.setattr(FastRead, "run", lambda *a, **k: right(*a, **k) * (1 + 3e-8))
    report = accelerate(Lists())
    assert "read" not in report.replaced
    assert any("read: obeys no known convention" in line for line in report.left)


def test_a_wrong_gradient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded bug: right values, and a gradient that is a millionth off."""
    right = FastRead.run

    def wrong(self: FastRead, *args: Any, **kwargs: Any) -> Tensor:
        value = right(self, *args, **kwargs)
        return value + 1e-6 * (value - value.detach())

    monkeypatch.setattr(FastRead, "run", wrong)
    report = accelerate(Lists())
    assert report.replaced == ["write", "encoder (LSTMCell)", "decoder (LSTMCell)"]
    assert any(re.match(r"read: .*gradients.*differ", line) for line in report.left)


def test_a_scan_that_is_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seeded bug: the noise of the steps in another order."""
    from drawgan_fast.compat import fused

    right = fused.draw_noise
    model = Lists()
    report = accelerate(model, fuse=True)
    report.restore()

    def wrong(*args: Any) -> Tensor:
        return right(*args).flip(0)

    monkeypatch.setattr(fused, "draw_noise", wrong)
    with pytest.raises(NotAccelerated, match="outputs of the accelerated model differ"):
        accelerate(model, fuse=True)
    assert "forward" not in vars(model)


def test_every_backend(fast_backend: str) -> None:
    with use_backend(fast_backend), record_backends() as ran:
        accelerate(Lists(T=2), fuse=True)
    assert {backend for _, backend in ran} == {fast_backend}


@needs_native
def test_a_limit_that_only_extreme_windows_meet_is_found() -> None:
    model = Lists("natsu", T=2)
    model.rule = copy.copy(model.rule)
    model.rule.variance = lambda s: s.clamp(max=9.0).exp()
    report = accelerate(model)
    assert report.read_spec is not None
    assert report.read_spec.log_sigma2_clamp is not None
    assert report.read_spec.log_sigma2_clamp[1] == pytest.approx(9.0, abs=1e-3)
