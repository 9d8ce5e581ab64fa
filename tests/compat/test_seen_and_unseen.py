"""What a forward pass does beside its arithmetic: held to, or named as a reason not to replace."""

from __future__ import annotations

import functools
import itertools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from drawgan_fast.compat import NotAccelerated
from tests.support.accelerating import accelerate
from tests.support.switched_draw import HIDDEN, SIDE, Switched
from tests.support.twins import Twins

PARTS = {"attention_read", "attention_write", "lstm_cell"}
LOG: list[int] = []
COUNT = 0


class Config:
    gain = 1.0


@dataclass(slots=True)
class Slots:
    gain: float = 1.0


class Limits(dict):  # type: ignore[type-arg]
    """A dictionary with attributes, as configurations often are."""


def images(B: int = 4) -> Tensor:
    return torch.rand(B, SIDE * SIDE, generator=torch.Generator().manual_seed(B))


def forward(model: Any) -> Any:
    return model(images())


def twins(kind: type[Switched], fuse: bool = False, **switches: Any) -> Twins:
    torch.manual_seed(0)
    return Twins(kind(**switches), fuse=fuse, example=(images(7),))


def refused(kind: type[Switched], match: str, **switches: Any) -> None:
    with pytest.raises(NotAccelerated, match=match):
        accelerate(kind(**switches), fuse=True, example=images(7))


class Scaled(Switched):
    """A read that is scaled by what :meth:`factor` gives: 1 in every probe."""

    def factor(self) -> Any:
        return 1.0

    def read(self, x: Tensor, x_hat: Tensor, h: Tensor, scale: float = 1.0) -> Tensor:
        return super().read(x, x_hat, h, scale) * self.factor()


def test_a_setting_that_forward_changes_under_way() -> None:
    class Sets(Scaled):
        def forward(self, x: Tensor, k: float = 1.0, **kwargs: Any) -> Any:  # type: ignore[override]
            self.args.gain = k
            return super().forward(x, **kwargs)

    for fuse in (False, True):
        both = twins(Sets, fuse, gain="namespace")
        for k in (1.0, 2.0, 2.0, 1.0):
            both.call(lambda m, k=k: m(images(), k))


def test_what_forward_sets_and_read_looks_at() -> None:
    class Masked(Scaled):
        def factor(self) -> Any:
            return self.mask

        def forward(self, x: Tensor, mask: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
            self.mask = torch.ones(len(x), 1) if mask is None else mask
            return super().forward(x, **kwargs)

    both = twins(Masked)
    assert any("read: it looks at model.mask, which forward sets" in s for s in both.report.left)
    both.call(lambda m: m(images(), torch.full((4, 1), 2.0)))


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", ["read", "filters", "factor", "noise"])
def test_a_method_that_an_instance_is_given(fuse: bool, name: str) -> None:
    both = twins(Scaled, fuse)

    def change(model: Any) -> None:
        old = getattr(type(model), name)
        setattr(model, name, MethodType(lambda self, *a, **k: _doubled(old(self, *a, **k)), model))

    both.change(change)
    assert "draw_scan" not in both.call(forward)


def _doubled(value: Any) -> Any:
    return tuple(2 * v for v in value) if isinstance(value, tuple) else 2 * value


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", ["window", "patch", "mean"])
def test_a_forward_that_a_layer_is_given(fuse: bool, name: str) -> None:
    both = twins(Switched, fuse)

    def change(model: Any) -> None:
        layer = getattr(model, name)
        layer.forward = lambda x: 2 * nn.functional.linear(x, layer.weight, layer.bias)

    both.change(change)
    assert "draw_scan" not in both.call(forward)


@pytest.mark.parametrize("place", ["class", "slots", "set", "attribute of a dictionary", "default"])
def test_settings_in_odd_places(place: str) -> None:
    def helper(given: list[float] = [1.0]) -> float:  # noqa: B006 that is the point
        return given[0]

    class Odd(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.slots, self.on, self.limits = Slots(), {"a"}, Limits()
            self.limits.gain = 1.0  # type: ignore[attr-defined]

        def factor(self) -> Any:
            if place == "class":
                return Config.gain
            if place == "slots":
                return self.slots.gain
            if place == "set":
                return 1.0 if "a" in self.on else 2.0
            if place == "default":
                return helper()
            return self.limits.gain  # type: ignore[attr-defined]

    changes: dict[str, Callable[[Any], Any]] = {
        "class": lambda m: setattr(Config, "gain", 2.0),
        "slots": lambda m: setattr(m.slots, "gain", 2.0),
        "set": lambda m: m.on.clear(),
        "default": lambda m: helper.__defaults__[0].__setitem__(0, 2.0),  # type: ignore[index]
        "attribute of a dictionary": lambda m: setattr(m.limits, "gain", 2.0),
    }
    for fuse in (False, True):
        Config.gain, helper.__defaults__[0][0] = 1.0, 1.0  # type: ignore[index]
        both = twins(Odd, fuse)
        assert both.call(forward) == ({"draw_scan"} if fuse else PARTS)
        both.change(changes[place])
        assert "attention_read" not in both.call(forward)
    Config.gain = 1.0


def test_what_nobody_can_say_has_not_changed() -> None:
    class Opaque(Scaled):
        def __init__(self) -> None:
            super().__init__()
            self.steps_iterator = iter(())

        def factor(self) -> Any:
            return 1.0 if self.steps_iterator is not None else 2.0

    report = accelerate(Opaque(), example=images(7))
    assert any("read: it looks at model.steps_iterator" in line for line in report.left)


def test_a_counter_that_is_looked_at() -> None:
    class Annealed(Switched):
        def forward(self, x: Tensor, **kwargs: Any) -> Any:  # type: ignore[override]
            self.calls += 1
            return super().forward(x, temperature=1.0 if self.calls < 6 else 0.0)

    refused(Annealed, "model.calls is a number that forward makes, and looks at")
    both = twins(Annealed)
    for _ in range(7):
        both.call(forward)


@pytest.mark.parametrize(
    ("effect", "named"),
    [
        (lambda m, z: logging.getLogger("theirs").debug("pass"), "logging"),
        (lambda m, z: print(end=""), "print"),
        (lambda m, z: LOG.append(1), "the global LOG"),
        (lambda m, z: z.register_hook(lambda g: g.clamp(-1, 1)), "register_hook"),
        (lambda m, z: torch.is_grad_enabled(), "is_grad_enabled"),
        (lambda m, z: z.detach().numpy().max(), r"\.numpy\(\)"),
        (lambda m, z: z.tolist(), r"\.tolist\(\)"),
        (lambda m, z: z.bool(), r"to\(torch.bool\)"),
        (lambda m, z: random.random(), r"random\.random"),
    ],
)
def test_effects_and_looks_that_no_tensor_shows(effect: Any, named: str) -> None:
    class Does(Switched):
        def note(self, kl: Tensor, canvas: Tensor) -> None:
            effect(self, kl)

    refused(Does, named)
    assert "read" in accelerate(Does(), example=images(7)).replaced
    assert not LOG


def test_a_global_that_forward_counts() -> None:
    class Counts(Switched):
        made = 0

        def note(self, kl: Tensor, canvas: Tensor) -> None:
            global COUNT
            COUNT += 1
            Counts.made += 1

    refused(Counts, "global COUNT|made")
    assert (COUNT, Counts.made) == (0, 0)
    both = twins(Counts)
    assert both.call(forward) == PARTS
    assert both.call(forward) == PARTS


def test_iterators_and_caches_are_as_before() -> None:
    @functools.lru_cache
    def ones(n: int) -> Tensor:
        return torch.ones(n)

    class Cached(Switched):
        cache: dict[str, Tensor] = {}  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.numbers = itertools.count()

        def forward(self, x: Tensor, **kwargs: Any) -> Any:  # type: ignore[override]
            next(self.numbers)
            one = self.cache.setdefault("one", torch.ones(1))
            return super().forward(x * ones(SIDE * SIDE) * one, **kwargs)

    model = Cached()
    accelerate(model, example=images(7))
    assert next(model.numbers) == 0
    assert not Cached.cache
    # Nothing of a probe's dtype is left for anybody.
    assert Cached()(images()).dtype == torch.float32


def test_a_registry_of_classes_sees_none_of_ours() -> None:
    known: dict[str, type] = {}

    class Registered(Switched):
        def __init_subclass__(cls, *, key: str) -> None:
            known[key] = cls

    class Mine(Registered, key="mine"):
        pass

    both = twins(Mine)
    assert known == {"mine": Mine}
    assert both.call(forward) == PARTS


def test_a_draw_from_another_generator_inside_a_read() -> None:
    class Lucky(Scaled):
        def factor(self) -> Any:
            return 2.0 if random.random() < 0.0 else 1.0

    report = accelerate(Lucky(), example=images(7))
    assert "read" not in report.replaced


def test_types_are_conditions() -> None:
    both = twins(Switched, fuse=True)
    both.change(lambda m: m.double())
    assert "draw_scan" not in both.call(lambda m: m(images().double()))
    both.change(lambda m: m.float())
    assert both.call(forward) == {"draw_scan"}


def test_a_number_that_happens_to_equal_the_batch() -> None:
    class Warm(Switched):
        def forward(self, x: Tensor, epoch: int = 0, **kwargs: Any) -> Any:  # type: ignore[override]
            return super().forward(x, scale=1.0 if epoch < 20 else 2.0)

    for fuse in (False, True):
        torch.manual_seed(0)
        both = Twins(Warm(), fuse=fuse, example=(images(7), 7))
        for B in (7, 32):
            both.call(lambda m, B=B: m(images(B), B))


def test_the_canvas_that_is_returned_is_the_one_that_is_kept() -> None:
    class Keeps(Switched):
        def note(self, kl: Tensor, canvas: Tensor) -> None:
            self.canvas = canvas

    both = twins(Keeps, fuse=True)
    out = both.ours(images())
    assert out is both.ours.canvas


def test_checkpointed_parts_and_a_setting_of_the_rest() -> None:
    class Saves(Switched):
        def forward(self, x: Tensor, **kwargs: Any) -> Any:  # type: ignore[override]
            h = torch.ones(len(x), HIDDEN)
            r = checkpoint(self.read, x, x - 0.5, h, use_reentrant=False)
            w = checkpoint(self.write, h, use_reentrant=False)
            return super().forward(x, **kwargs) + r.sum() + w * self.rule.gain

    both = twins(Saves)
    assert both.call(forward) == PARTS
    both.change(lambda m: setattr(m.rule, "gain", 0.5))
    assert both.call(forward) == PARTS


def test_what_a_training_script_does_costs_nothing() -> None:
    both = twins(Switched, fuse=True)
    both.change(lambda m: setattr(m, "criterion", nn.BCELoss()))
    both.change(lambda m: m.mean.eval())
    both.change(lambda m: setattr(m, "global_step", 4))
    both.change(lambda m: m.requires_grad_(True))
    assert both.call(forward) == {"draw_scan"}


def test_the_replicas_of_data_parallel() -> None:
    both = twins(Switched, fuse=True)
    replicas = []
    for model in (both.original, both.ours):
        twin = model._replicate_for_data_parallel()
        twin._modules = dict(model._modules)
        twin._former_parameters = {}
        replicas.append(twin)
    both.original, both.ours = replicas
    assert both.call(forward) == {"draw_scan"}


def test_restoring_what_somebody_has_built_on() -> None:
    class Weighted(Switched):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.ones(2))

    model = Weighted()
    report = accelerate(model, example=images(7))
    parametrize.register_parametrization(model, "own", nn.Identity())
    with pytest.raises(RuntimeError, match="cannot be put back: its class is Parametrized"):
        report.restore()
    parametrize.remove_parametrizations(model, "own")
    report.restore()
    assert type(model) is Weighted
