"""What `accelerate` refuses: nothing is changed, and a sentence says what failed."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from drawgan_fast.compat import NotAccelerated
from drawgan_fast.errors import DrawganError
from drawgan_fast.models import DRAW
from tests.support.accelerating import accelerate
from tests.support.other_draws import CONVENTIONS, Bound, CountFirst, Distributions, Lists
from tests.support.twins import Twins

PASSES = itertools.count()


def refused(model: nn.Module, match: str, **options: Any) -> None:
    attributes = {m: dict(vars(m)) for m in model.modules()}
    weights = {k: v.clone() for k, v in model.state_dict().items() if v.device.type != "meta"}
    with pytest.raises(NotAccelerated, match=match) as error:
        accelerate(model, **options)
    assert isinstance(error.value, DrawganError)
    assert str(error.value).startswith("nothing was changed: ")
    assert all(type(m) is not None and vars(m) == attributes[m] for m in model.modules())
    assert not any(type(m).__module__.startswith("drawgan_fast.nn.lstm") for m in attributes)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in weights.items())


def test_no_draw() -> None:
    refused(nn.Sequential(nn.Linear(3, 4)), "Sequential is no DRAW, it has no recurrent cell")
    refused(nn.LSTMCell(3, 4), "no DRAW, nothing in it is called read or write")
    refused(nn.Identity(), "no parameters")


def test_a_read_that_is_never_called() -> None:
    class Idle(Lists):
        def forward(self, x: Tensor) -> Tensor:
            return self.decoder(x[:, :4])[0]

    refused(Idle(), "its forward calls none of read, write", example=torch.rand(7, 63))


def test_our_own_models_need_none() -> None:
    model = DRAW((8, 8), steps=2, hidden_size=4, latent_size=2)
    with pytest.raises(NotAccelerated):
        accelerate(model)


def test_no_convention() -> None:
    model = Lists("unknown")
    model.encoder, model.decoder = OtherCell(18 + 12, 12), OtherCell(4, 12)
    refused(
        model,
        r"nothing in Lists can be replaced: read: obeys no known convention: under the nearest, "
        r"'\w+', its numbers are .*e-0\d off .*; write: .* encoder: a OtherCell",
    )


class OtherCell(nn.LSTMCell):
    """Nobody knows what it does."""


def test_half_a_convention() -> None:
    class Mixed(Lists):
        def write(self, h_dec: Tensor) -> Tensor:
            return 1.001 * super().write(h_dec)

    report = accelerate(Mixed())
    assert report.replaced == ["read", "encoder (LSTMCell)", "decoder (LSTMCell)"]
    assert report.write_spec is None
    assert re.match(r"write: obeys no known convention.* 1\.0e-03 off", report.left[0])


def test_accelerated_already() -> None:
    for fuse in (False, True):
        model = Lists()
        report = accelerate(model, fuse=fuse)
        weights = dict(vars(model))
        with pytest.raises(NotAccelerated, match="it is accelerated already; call restore"):
            accelerate(model)
        assert vars(model) == weights
        report.restore()
        accelerate(model).restore()


def test_mixed_devices() -> None:
    model = Lists()
    model.decoder.to("meta")
    refused(model, "parameters are on 2 devices .*'encoder.weight_ih' on cpu.* on meta")


def test_forward_that_does_not_run() -> None:
    refused(CountFirst(), r"does not run on a batch .* give example=")


def test_read_and_write_that_disagree_cannot_be_fused() -> None:
    class Two(Distributions):
        def write(self, h: Tensor) -> Tensor:
            F_x, F_y, gamma = CONVENTIONS["natsu"].filters(self.point(h), self.W, self.H, 3)
            return (F_y.mT @ self.patch(h).view(-1, 3, 3) @ F_x).flatten(1) / gamma[:, 0]

    refused(Two(), "no DRAW that draw_scan computes, its read obeys", fuse=True)
    report = accelerate(Two())
    assert report.read_spec != report.write_spec


def test_what_a_scan_does_not_compute_cannot_be_fused() -> None:
    class States(Lists):
        def sample(self, h_enc: Tensor, t: int) -> Tensor:
            self.last_state = h_enc
            return super().sample(h_enc, t)

    refused(States(), r"model.last_state \[7, 12\] is nothing that a scan computes", fuse=True)

    class Noisy(Lists):
        def sample(self, h_enc: Tensor, t: int) -> Tensor:
            return super().sample(h_enc, t) + 0.1 * torch.rand(self.batch, self.z)

    refused(Noisy(), "its forward also calls rand", fuse=True)

    class Biased(Lists):
        def forward(self, x: Tensor) -> None:
            super().forward(x * 1.5)

    refused(Biased(), "is nothing that a scan computes", fuse=True)
    accelerate(Biased())


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        accelerate(torch.relu)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spec must be one of"):
        accelerate(Lists(), spec="nobody")


def test_a_tensor_attribute_is_what_forward_leaves_each_time() -> None:
    class Canvas(Lists):
        def __init__(self) -> None:
            super().__init__()
            self.canvas = torch.zeros(1)

        def forward(self, x: Tensor) -> None:
            super().forward(x)
            for canvas in self.cs:  # each frees the one before it
                self.canvas = torch.sigmoid(canvas)

    model = Canvas()
    accelerate(model, fuse=True)
    for _ in range(2):
        model(torch.rand(2, 63))
        torch.testing.assert_close(model.canvas, torch.sigmoid(model.cs[-1]))
        assert model.canvas.requires_grad


def test_a_wrapped_model() -> None:
    refused(nn.DataParallel(Lists()), "before DataParallel wraps it")


def test_a_forward_that_insists_on_float32() -> None:
    class Single(Lists):
        def write(self, h_dec: Tensor) -> Tensor:
            return super().write(h_dec.float())

    refused(
        Single(),
        "in float64, in which probes run, forward raises RuntimeError",
        example=torch.rand(7, 63),
    )
    refused(Single(), r"in float32 it runs, so it insists on that somewhere \(\.float\(\)")


def test_several_sizes_that_run_are_asked_about() -> None:
    refused(
        Bound(), r"runs on images of several sizes \(\[3, 6, 10\] and \[3, 3, 3\]\); give example="
    )


def test_no_forward() -> None:
    class Entry(Lists):
        forward = nn.Module.forward

        def run(self, x: Tensor) -> None:
            Lists.forward(self, x)

    refused(Entry(), "Entry has no forward, which is what is looked at")


def test_a_forward_that_moves_to_a_device_that_is_not_there() -> None:
    class Moves(Lists):
        def forward(self, x: Tensor) -> None:
            super().forward(x.to("xpu"))

    refused(Moves(), r"raises the same on a batch of images of every size tried: .*(xpu|XPU)")
    refused(Moves(), r"forward raises .*(xpu|XPU)", example=torch.rand(7, 63))


def test_numbers_that_are_never_finite() -> None:
    class Broken(Lists):
        def read(self, x: Tensor, x_hat: Tensor, h_dec: Tensor) -> Tensor:
            return super().read(x, x_hat, h_dec) / 0.0 * 0.0

    report = accelerate(Broken())
    assert "read: gives no finite number on any window of the probe" in report.left


def test_more_layers_in_the_posterior_are_named() -> None:
    class Deep(Lists):
        def __init__(self) -> None:
            super().__init__()
            self.deeper = nn.Linear(12, 12)

        def sample(self, h_enc: Tensor, t: int) -> Tensor:
            return super().sample(self.deeper(h_enc), t)

    refused(
        Deep(),
        "between its cells it calls deeper, to_mu, to_log_sigma, where a scan has one layer or two",
        fuse=True,
    )


def test_conditions_are_named() -> None:
    class Labelled(Lists):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.LSTMCell(18 + 12 + 2, 12)
            self.label = nn.Parameter(torch.ones(2))
            self.encoder.register_forward_pre_hook(self._with_label)

        def _with_label(self, module: nn.Module, args: Any) -> Any:
            return torch.cat([args[0], self.label.expand(len(args[0]), 2)], 1), args[1]

    refused(
        Labelled(),
        r"its encoder takes 32 numbers where glimpses and the decoder's state are 30: a label",
        fuse=True,
    )


def test_a_property_that_raises_before_the_first_forward() -> None:
    class Early(Lists):
        @property
        def last_read(self) -> Tensor:
            raise RuntimeError("no forward yet")

        @property
        def written(self) -> Tensor:
            raise ValueError("nothing written")

    assert accelerate(Early(), fuse=True).fused


def test_whatever_a_model_raises_ends_as_a_refusal() -> None:
    class Counts(Lists):
        """Raises after a few passes, in the middle of the proof."""

        def forward(self, x: Tensor) -> None:
            if next(PASSES) > 12:
                raise OSError("disk full")
            super().forward(x)

    refused(Counts(), "OSError: disk full", example=torch.rand(7, 63))


def test_a_read_that_ignores_its_second_image() -> None:
    class One(Lists):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.LSTMCell(9 + 12, 12)

        def read(self, x: Tensor, x_hat: Tensor, h_dec: Tensor) -> Tensor:
            return super().read(x, x_hat, h_dec)[:, 9:]

    both = Twins(One())
    assert "read" in both.report.replaced
    assert both.call(lambda m: m(torch.rand(3, 63, generator=torch.Generator().manual_seed(0))))


def test_a_forward_that_takes_tuples() -> None:
    class Pair(Lists):
        def forward(self, batch: tuple[Tensor, Tensor]) -> None:  # type: ignore[override]
            super().forward(batch[0])

    given = (torch.rand(5, 63), torch.arange(5))
    both = Twins(Pair(), example=(given,))
    assert both.call(lambda m: m(given)) == {"attention_read", "attention_write", "lstm_cell"}
    refused(Pair(), "its forward takes 0 images", example=(given,), fuse=True)
