"""A replacement runs only under the conditions that it was proved under."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import drawgan_fast
from drawgan_fast.compat import NotAccelerated
from tests.support import switched_draw
from tests.support.accelerating import accelerate
from tests.support.other_draws import Bound, Lists
from tests.support.switched_draw import HIDDEN, LATENT, PLACES, SIDE, Switched
from tests.support.twins import Twins

FUSE = pytest.mark.parametrize("fuse", [False, True], ids=["replaced", "fused"])
PARTS = {"attention_read", "attention_write", "lstm_cell"}
WHOLE = {"draw_scan"}


@pytest.fixture(autouse=True)
def _settings_of_nobody() -> Iterator[None]:
    yield
    switched_draw.reset()


def images(B: int = 4) -> Tensor:
    return torch.rand(B, SIDE * SIDE, generator=torch.Generator().manual_seed(B))


def forward(model: Any) -> Any:
    return model(images())


def twins(fuse: bool, example: Any = None, **switches: Any) -> Twins:
    torch.manual_seed(0)
    return Twins(Switched(**switches), fuse=fuse, example=example or (images(7),))


def fast(fuse: bool) -> set[str]:
    return WHOLE if fuse else PARTS


@FUSE
@pytest.mark.parametrize(
    "call",
    [
        lambda m: m(images(), 3),
        lambda m: m(images(), steps=5),
        lambda m: m(images(), temperature=0.0),
        lambda m: m(images(), labels=torch.arange(4)),
        lambda m: m(images(), scale=2.0),
    ],
    ids=["steps", "steps by name", "temperature", "labels", "scale"],
)
def test_other_arguments_reach_the_original(fuse: bool, call: Callable[[Any], Any]) -> None:
    both = twins(fuse)
    assert both.call(forward) == fast(fuse)
    assert "draw_scan" not in both.call(call)
    assert both.call(forward) == fast(fuse)


@FUSE
def test_an_example_of_several_arguments_is_no_rule_for_others(fuse: bool) -> None:
    both = twins(fuse, example=(images(7), 2))
    assert both.call(lambda m: m(images(), 2)) == fast(fuse)
    for steps in (1, 3):
        assert "draw_scan" not in both.call(lambda m, steps=steps: m(images(), steps))


@FUSE
@pytest.mark.parametrize("where", PLACES)
def test_settings_wherever_they_live(fuse: bool, where: str) -> None:
    """Changed, and changed back: then the proof holds again."""
    both = twins(fuse, gain=where)
    assert both.call(forward) == fast(fuse)
    for value in (2.0, 1.0):
        both.change(lambda m, value=value: m.set_gain(value))
        ran = both.call(forward)
        # A name that was not there is no longer absent; everything else is as it was.
        assert (ran == fast(fuse)) == (value == 1.0 and where != "late"), ran
    assert both.report.fallbacks


@FUSE
def test_a_buffer_that_is_changed_through_its_data(fuse: bool) -> None:
    both = twins(fuse, gain="buffer")
    both.call(forward)
    both.change(lambda m: m.gain_buffer.data.fill_(3.0))
    assert both.call(forward) != fast(fuse)


@FUSE
def test_a_setting_that_forward_does_not_look_at_changes_nothing(fuse: bool) -> None:
    both = twins(fuse, gain="attribute")
    both.change(lambda m: setattr(m.args, "lr", 0.05))
    both.change(lambda m: setattr(m, "epoch", 3))
    both.change(lambda m: m.history.append(1.5))
    assert both.call(forward) == fast(fuse)
    assert not both.report.fallbacks


def test_the_parts_ask_for_what_they_look_at_and_for_nothing_else() -> None:
    """What only the rest of forward looks at, it looks at itself."""
    torch.manual_seed(0)
    both = Twins(Switched(batch_norm=True, clamp="mean", result="numbers"))
    both.change(lambda m: setattr(m, "mean", Lora(m.mean)))
    both.change(lambda m: m.norm.running_mean.add_(0.2))
    both.change(lambda m: m.norm.train())
    both.change(lambda m: setattr(m, "steps", 3))
    both.change(lambda m: m.mean.register_forward_hook(lambda *_: None))
    both.change(lambda m: setattr(m, "clamp", ""))
    assert both.call(forward) == PARTS
    assert not both.report.fallbacks


class Lora(nn.Module):
    """A layer around a layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = layer
        self.down = nn.Linear(layer.in_features, 1, bias=False)
        self.up = nn.Linear(1, layer.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


def _new_head(model: Any, name: str) -> None:
    old = getattr(model, name)
    torch.manual_seed(6)
    setattr(model, name, nn.Linear(old.in_features, old.out_features))


LAYERS = ["window", "write_window", "patch", "mean", "log_sigma"]


@FUSE
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("how", ["lora", "new head", "new cell"])
def test_layers_that_are_replaced(fuse: bool, name: str, how: str) -> None:
    both = twins(fuse)
    if how == "lora":
        both.change(lambda m: setattr(m, name, Lora(getattr(m, name))))
    elif how == "new head":
        both.change(lambda m: _new_head(m, name))
    elif name == "window":
        both.change(lambda m: setattr(m, "decoder", nn.LSTMCell(LATENT, HIDDEN)))
        both.ours.decoder.load_state_dict(both.original.decoder.state_dict())  # type: ignore[union-attr, operator]
    ran = both.call(forward)
    assert ("draw_scan" in ran) == (fuse and (how == "new head" or (how, name) in NO_CHANGE))
    if fuse or how != "lora":
        # What is there now gets the gradient.
        assert all(p.grad is not None for p in both.ours.parameters())


NO_CHANGE = {("new cell", name) for name in LAYERS[1:]}


@FUSE
def test_a_new_layer_of_another_size_is_the_originals_error(fuse: bool) -> None:
    both = twins(fuse)
    both.change(lambda m: setattr(m, "window", nn.Linear(HIDDEN, 6)))
    both.call(forward)


@FUSE
@pytest.mark.parametrize("how", ["deep", "shallow", "pickled", "replica"])
def test_copies_use_their_own_parameters(fuse: bool, how: str) -> None:
    both = twins(fuse)
    if how == "deep":
        both.original, both.ours = copy.deepcopy(both.original), copy.deepcopy(both.ours)
    elif how == "pickled":
        both.ours = pickle.loads(pickle.dumps(both.ours))
    else:
        before = both.ours
        both.original, both.ours = (_shallow(m) for m in (both.original, before))
        assert both.ours.window is not before.window
    for model in (both.original, both.ours):
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.3)
    assert both.call(forward) == fast(fuse)
    both.change(lambda m: m.set_gain(2.0))
    assert both.call(forward) != fast(fuse)


def test_a_pickle_is_accelerated_in_another_process(tmp_path: Path) -> None:
    both = twins(True, gain="nested")
    torch.save(both.ours, tmp_path / "model.pt")
    script = (
        "import sys, torch; from drawgan_fast import record_backends\n"
        "model = torch.load(sys.argv[1], weights_only=False)\n"
        "def ran():\n"
        "    with record_backends() as seen: model(torch.zeros(2, 36))\n"
        "    return sorted({name for name, _ in seen})\n"
        "print(ran()); model.set_gain(2.0); print(ran())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model.pt")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert found.stdout.splitlines() == ["['draw_scan']", "['attention_write', 'lstm_cell']"]
    assert "model.options['more'][0]['gain'] has changed" in found.stderr


def _shallow(model: Any) -> Any:
    """As ``DataParallel`` replicates a module."""
    twin = copy.copy(model)
    twin.__dict__ = dict(model.__dict__)
    twin.__dict__["_modules"] = {
        name: None if child is None else copy.deepcopy(child)
        for name, child in model._modules.items()
    }
    return twin


@FUSE
@pytest.mark.parametrize("began", ["train", "eval"])
@pytest.mark.parametrize("noisy", ["training", "eval"])
def test_modes(fuse: bool, began: str, noisy: str) -> None:
    torch.manual_seed(0)
    model = Switched(noisy=noisy).train(began == "train")
    if (began == "train") == (noisy == "training"):
        # A read with noise is no read that could be replaced; in neither mode.
        if fuse:
            with pytest.raises(NotAccelerated, match=r"its read is none that is known .*obeys no"):
                accelerate(model, fuse=True)
        else:
            assert "read" not in accelerate(model).replaced
        return
    both = Twins(model, fuse=fuse)
    for mode in (True, False, True):
        both.change(lambda m, mode=mode: m.train(mode))
        ran = both.call(forward)
        assert ("draw_scan" in ran or "attention_read" in ran) == (mode != (noisy == "training"))
    assert any("mode" in line for line in both.report.left)


@FUSE
def test_what_is_noted_only_in_eval_is_noted(fuse: bool) -> None:
    both = twins(fuse, notes="eval")
    both.change(lambda m: m.eval())
    for _ in range(2):
        assert "draw_scan" not in both.call(forward)
    assert len(both.ours.history) == 2  # type: ignore[arg-type]


@FUSE
def test_a_frozen_batch_norm_stays_frozen(fuse: bool) -> None:
    torch.manual_seed(0)
    model = Switched(batch_norm=True)
    modes = [m.training for m in model.modules()]
    assert not all(modes)
    assert any(modes)
    if fuse:
        with pytest.raises(NotAccelerated):
            accelerate(model, fuse=True)
        assert [m.training for m in model.modules()] == modes
        return
    both = Twins(model)
    assert [m.training for m in both.ours.modules()] == modes
    assert both.call(forward) == PARTS


@FUSE
def test_an_eval_forward_that_raises_leaves_the_mode(fuse: bool) -> None:
    class OnlyTraining(Lists):
        def forward(self, x: Tensor) -> None:
            assert self.training, "not in eval"
            super().forward(x)

    model = OnlyTraining()
    accelerate(model, fuse=fuse)
    assert all(m.training for m in model.modules())
    model.eval()
    with pytest.raises(AssertionError, match="not in eval"):
        model(torch.rand(2, 63))


def test_an_image_of_another_shape_with_as_many_pixels() -> None:
    """The original takes its size from what it is given."""
    torch.manual_seed(0)
    both = Twins(Bound(), example=(torch.rand(3, 3, 6, 10),))
    assert both.call(lambda m: m(torch.ones(2, 3, 6, 10))) == PARTS
    for shape in ((3, 10, 6), (3, 5, 12), (3, 8, 8)):
        x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
        assert both.call(lambda m, x=x: m(x)) == {"lstm_cell"}
    assert any("such a call was not proved" in reason for reason in both.report.fallbacks)


@FUSE
@pytest.mark.parametrize("where", ["global", "window", "head", "encoder", "backward", "pre"])
def test_hooks(fuse: bool, where: str) -> None:
    both, seen = twins(fuse), []

    def hook(module: nn.Module, *_: Any) -> None:
        seen.append(type(module).__name__)

    counts = []
    for model in (both.original, both.ours):
        seen.clear()
        if where == "global":
            handle = torch.nn.modules.module.register_module_forward_hook(hook)
        elif where == "backward":
            handle = model.mean.register_full_backward_hook(hook)  # type: ignore[union-attr]
        elif where == "pre":
            handle = model.patch.register_forward_pre_hook(hook)  # type: ignore[union-attr]
        else:
            handle = getattr(model, where).register_forward_hook(hook)
        torch.manual_seed(0)
        forward(model).sum().backward()
        handle.remove()
        counts.append([name for name in seen if name != "Switched"])
    assert counts[0] == counts[1]
    assert both.call(forward) == fast(fuse)


def test_a_hook_on_a_module_inside_read_that_a_replacement_passes_by() -> None:
    class Quiet(Switched):
        def read(self, x: Tensor, x_hat: Tensor, h: Tensor, scale: float = 1.0) -> Tensor:
            return self.head(super().read(x, x_hat, h, scale))

    torch.manual_seed(0)
    both, seen = Twins(Quiet()), []
    assert "read" in both.report.replaced
    both.change(lambda m: m.head.register_forward_hook(lambda *_: seen.append(1)))
    both.call(forward)
    assert len(seen) == 2 * 2 * 1  # steps × models


@FUSE
@pytest.mark.parametrize("notes", ["calls", "kl", "history", "deque", "nested", "patch"])
def test_numbers_that_forward_makes(fuse: bool, notes: str) -> None:
    """They go on in ours as in the original, and probes leave none."""
    torch.manual_seed(0)
    model = Switched(notes=notes)
    model.history.append(0.5)
    if fuse and notes != "calls":
        named = {"deque": r"\.item\(\)", "kl": r"\.item\(\)", "nested": "log", "patch": "head"}
        log, history = copy.deepcopy(model.log), list(model.history)
        with pytest.raises(NotAccelerated, match=named.get(notes, notes)):
            accelerate(model, fuse=True)
        assert (model.log, model.history) == (log, history)
        assert (model.calls, list(model.recent)) == (0, [])
        return
    both = Twins(model, fuse=fuse)
    for _ in range(3):
        both.call(forward)
    both.call(lambda m: m(images(7)))


@FUSE
@pytest.mark.parametrize("kind", ["tuple", "numbers", "numpy"])
def test_results(fuse: bool, kind: str) -> None:
    torch.manual_seed(0)
    model = Switched(result=kind)
    if fuse and kind != "tuple":
        with pytest.raises(NotAccelerated, match=r"\.item\(\)|\.numpy\(\)"):
            accelerate(model, fuse=True)
        return
    both = Twins(model, fuse=fuse)
    for B in (4, 7, 1):
        both.call(lambda m, B=B: m(images(B)))


@FUSE
def test_a_constant_that_equals_the_batch_of_a_probe_stays_one(fuse: bool) -> None:
    class Seven(Switched):
        def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
            self.seven = 7
            return {"canvas": super().forward(x, *args, **kwargs), "n": 7, "count": len(x)}

    torch.manual_seed(0)
    both = Twins(Seven(), fuse=fuse)
    for B in (7, 4, 1):
        assert both.call(lambda m, B=B: m(images(B))) == fast(fuse)


@FUSE
@pytest.mark.parametrize("draws", ["own", "numpy", "random"])
def test_generators_of_ones_own(fuse: bool, draws: str) -> None:
    torch.manual_seed(0)
    model = Switched(draws=draws)
    states = (model.generator.get_state(), _numpys(), random.getstate())
    if fuse:
        with pytest.raises(NotAccelerated):
            accelerate(model, fuse=True)
    else:
        both = Twins(model)
        both.call(forward)
        both.call(forward)
        return
    assert torch.equal(model.generator.get_state(), states[0])
    assert (_numpys() == states[1]).all()
    assert random.getstate() == states[2]


def _numpys() -> Any:
    return np.random.get_state()[1]  # noqa: NPY002 public code draws from it


@pytest.mark.parametrize(
    ("clamp", "named"), [("log_sigma", "clamp"), ("mean", "clamp"), ("pixels", "clamp")]
)
def test_what_no_probe_reached_is_not_fused(clamp: str, named: str) -> None:
    with pytest.raises(NotAccelerated, match=f"its forward also calls {named}"):
        accelerate(Switched(clamp=clamp, result="tuple"), fuse=True)
    both = Twins(Switched(clamp=clamp, result="tuple"))
    both.change(lambda m: m.log_sigma.bias.data.fill_(5.0))
    both.change(lambda m: m.mean.bias.data.fill_(9.0))
    both.call(forward)


def test_a_clamp_inside_a_read_that_no_window_reached() -> None:
    class Careful(Switched):
        def read(self, x: Tensor, x_hat: Tensor, h: Tensor, scale: float = 1.0) -> Tensor:
            return super().read(x, x_hat, h, scale).clamp(-1e6, 1e6)

    report = accelerate(Careful())
    assert "read" not in report.replaced
    assert any("read: agrees" in line and "clamp" in line for line in report.left)


@FUSE
def test_states_as_a_list(fuse: bool) -> None:
    both = twins(fuse, first="list")
    both.call(forward)
    both.call(lambda m: m.generate(3))


def test_learned_states_are_named() -> None:
    with pytest.raises(NotAccelerated, match="encoder's first state is learned"):
        accelerate(Switched(first="learned"), fuse=True)
    both = Twins(Switched(first="learned"))
    assert both.call(forward) == PARTS


@FUSE
def test_other_entries_than_forward(fuse: bool) -> None:
    """Methods of the model's own call replaced parts, under the same conditions."""
    both = twins(fuse)
    assert both.call(lambda m: m.generate(3)) == {"attention_write", "lstm_cell"}
    both.change(lambda m: setattr(m.patch, "bias", nn.Parameter(torch.ones(4))))
    both.call(lambda m: m.generate(3))
    both.change(lambda m: setattr(m, "patch", Lora(m.patch)))
    assert both.call(lambda m: m.generate(3)) == {"lstm_cell"}


def test_a_method_of_the_class_that_is_replaced() -> None:
    class Mine(Switched):
        def write(self, h: Tensor) -> Tensor:
            return super().write(h)

    both = Twins(Mine(), fuse=True)
    assert both.call(forward) == WHOLE
    Mine.write = lambda self, h: 2 * Switched.write(self, h)  # type: ignore[method-assign]
    assert "draw_scan" not in both.call(forward)


@FUSE
def test_a_single_sample_that_is_squeezed_away(fuse: bool) -> None:
    class Squeezing(Switched):
        def write(self, h: Tensor) -> Tensor:
            return super().write(h).squeeze(0)

    both = Twins(Squeezing(), fuse=fuse)
    assert both.call(forward) == fast(fuse)
    for B in (1, 2):
        both.call(lambda m, B=B: m(images(B)))
        both.call(lambda m, B=B: m.generate(B))
        both.call(lambda m, B=B: m.write(torch.ones(B, HIDDEN)))


def test_a_batch_that_is_fixed_in_the_constructor() -> None:
    class Fixed(Switched):
        def state(self, x: Tensor) -> Any:
            return (torch.zeros(4, HIDDEN), torch.zeros(4, HIDDEN))

    both = Twins(Fixed(), fuse=True, example=(images(4),))
    assert both.call(forward) == WHOLE
    both.call(lambda m: m(images(3)))


def test_one_window_that_cannot_be_proved_leaves_the_rest() -> None:
    class Strange(Switched):
        def write(self, h: Tensor) -> Tensor:
            return super().write(h).sin()

    both = Twins(Strange())
    assert both.report.replaced == ["read", "encoder (LSTMCell)", "decoder (LSTMCell)"]
    assert any(line.startswith("write: obeys no known convention") for line in both.report.left)
    assert both.call(forward) == {"attention_read", "lstm_cell"}


def test_a_part_that_would_be_slower_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    right = drawgan_fast.nn.LSTMCell.forward

    def slow(self: Any, *args: Any) -> Any:
        time.sleep(0.002)
        return right(self, *args)

    monkeypatch.setattr(drawgan_fast.nn.LSTMCell, "forward", slow)
    report = drawgan_fast.accelerate(Switched())
    assert not any("LSTMCell" in name for name in report.replaced)
    left = [line for line in report.left if "slower here than what it would replace" in line]
    assert len(left) >= 2
    assert "encoder (LSTMCell)" in left[0] or "encoder (LSTMCell)" in left[-2]


def test_accelerating_in_inference_mode_and_under_a_default_device() -> None:
    model = Bound()
    with torch.inference_mode():
        report = accelerate(model, example=torch.rand(3, 3, 6, 10))
        assert report.replaced
        model(torch.rand(2, 3, 6, 10))
        assert not report.fallbacks
    report.restore()
    torch.set_default_device("cpu")
    try:
        accelerate(model, example=torch.rand(3, 3, 6, 10)).restore()
    finally:
        torch.set_default_device(None)
    with torch.device("meta"):
        report = accelerate(model, example=torch.rand(3, 3, 6, 10, device="cpu"))
    assert "read" in report.replaced


@FUSE
def test_the_guards_cost_less_than_twenty_microseconds(fuse: bool) -> None:
    """Of a model with the sizes of a public one; its shapes do not matter here."""
    both = twins(fuse)
    both.call(forward)
    proof = type(both.ours)._drawgan_proof  # type: ignore[attr-defined]
    parts = [part.in_forward for part in proof.parts.values()]
    asked = [proof.whole_conditions] if fuse else parts
    assert [one.broken(both.ours) for one in asked] == [None] * len(asked)
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(50):
            for one in asked:
                one.broken(both.ours)
        best = min(best, (time.perf_counter() - began) / 50)
    # 20 µs where a call of a small operator takes 1.6 µs; on a slower processor in proportion.
    x = torch.ones(8)
    yard = min(timeit.repeat(lambda: torch.add(x, x), number=500, repeat=20)) / 500
    assert best < 12.5 * max(yard, 1.6e-6), (best, yard)


def test_a_fallback_says_why_once(caplog: pytest.LogCaptureFixture) -> None:
    both = twins(True)
    both.change(lambda m: m.set_gain(2.0))
    for _ in range(3):
        both.call(forward)
    said = [r.getMessage() for r in caplog.records if r.name == "drawgan_fast"]
    assert said == [
        "the model's original code runs: model.gain_value has changed",
        "the model's original code runs: read: model.gain_value has changed",
    ]
    assert both.report.fallbacks["model.gain_value has changed"] == 3
    assert "model.gain_value has changed" in str(both.report)
