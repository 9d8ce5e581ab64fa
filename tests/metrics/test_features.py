from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from drawgan_fast.data import ImageData, load
from drawgan_fast.errors import DrawganError
from drawgan_fast.metrics.feature_source import choose_features
from drawgan_fast.metrics.features import (
    SHIPPED_WEIGHTS,
    Classifier,
    FeatureExtractor,
    choose_fit,
    fit_classifier,
    load_classifier,
    prepare,
    save_classifier,
)


def digits() -> ImageData:
    """The test digits of DRAWGAN_DATA, or those shipped with the package."""
    folder = os.environ.get("DRAWGAN_DATA")
    return load("mnist", "test", data_dir=Path(folder) if folder else None, download=False)


def bars(n: int = 64) -> tuple[Tensor, Tensor]:
    """Horizontal (0) and vertical (1) bars on 20×24, somewhere."""
    images, labels = torch.zeros(n, 1, 20, 24), torch.arange(n) % 2
    for i in range(n):
        place = 3 + i % 11
        if labels[i]:
            images[i, :, :, place : place + 2] = 1
        else:
            images[i, :, place : place + 2] = 1
    return images, labels


def test_shipped_weights_know_the_digits_as_their_metadata_says() -> None:
    assert SHIPPED_WEIGHTS.stat().st_size < 500_000
    net, metadata = load_classifier()
    stated = float(metadata["test_accuracy"])
    assert stated > 0.985
    data = digits()
    assert data.labels is not None
    measured = FeatureExtractor(net, "resize", "").accuracy(data.images, data.labels)
    if len(data) == 10_000:
        assert measured == pytest.approx(stated, abs=5e-4)  # other CPUs round otherwise
    else:
        assert measured > 0.97


def test_features_are_the_input_of_the_last_layer() -> None:
    net, _ = load_classifier()
    x = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    features = FeatureExtractor(net, "resize", "")(x, batch_size=3)
    assert features.shape == (7, 64)
    assert float(features.min()) >= 0
    torch.testing.assert_close(net.output(features), net(x))


def test_padded_digits_give_the_same_features_as_bare_ones() -> None:
    net, _ = load_classifier()
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    padded = F.pad(x, (2, 2, 2, 2))
    assert choose_fit(padded) == "crop"
    assert torch.equal(prepare(padded, "crop"), x.float() / 255)
    bare, cropped = (
        FeatureExtractor(net, "resize", "")(x),
        FeatureExtractor(net, "crop", "")(padded),
    )
    torch.testing.assert_close(bare, cropped)


def test_fit_is_resize_where_ink_reaches_the_border_or_the_image_is_small() -> None:
    touched = torch.zeros(3, 1, 32, 32)
    touched[1, 0, 0, 5] = 0.2
    assert choose_fit(touched) == "resize"
    assert choose_fit(torch.zeros(3, 1, 20, 40)) == "resize"
    assert prepare(torch.full((2, 1, 20, 40), 0.25)).allclose(torch.tensor(0.25))


def test_colour_is_weighed_as_bt601_and_others_averaged() -> None:
    x = torch.rand(2, 3, 28, 28)
    expected = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    torch.testing.assert_close(prepare(x)[:, 0], expected)
    two = torch.rand(2, 2, 28, 28)
    torch.testing.assert_close(prepare(two)[:, 0], two.mean(1))


def test_training_learns_repeats_and_leaves_the_global_generator_alone() -> None:
    images, labels = bars()
    state = torch.get_rng_state()
    net = fit_classifier(images, labels, steps=40, batch_size=16, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.classes == 2
    assert FeatureExtractor(net, "resize", "").accuracy(images, labels) == 1.0
    again = fit_classifier(images, labels, steps=40, batch_size=16, seed=1)
    other = fit_classifier(images, labels, steps=2, batch_size=16, seed=2)
    assert torch.equal(net.hidden.weight, again.hidden.weight)
    assert not torch.equal(net.hidden.weight, other.hidden.weight)


def test_weights_come_back_with_their_metadata(tmp_path: Path) -> None:
    net = Classifier(classes=3, feature_size=8).eval()
    save_classifier(net, tmp_path / "w.safetensors", {"data": "bars"})
    back, metadata = load_classifier(tmp_path / "w.safetensors")
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(back(x), net(x))
    assert metadata == {"data": "bars", "classes": "3", "feature_size": "8"}


def test_unreadable_weights_say_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(SHIPPED_WEIGHTS.read_bytes()[:5000])
    for name in ("cut", "absent"):
        with pytest.raises(DrawganError, match=f"{name} cannot be read.*train_classifier"):
            load_classifier(tmp_path / name)


def test_auto_takes_shipped_weights_for_digits_only() -> None:
    data = digits()
    images, labels = data.images[:300], data.labels[:300] if data.labels is not None else None
    extractor, sentence = choose_features("auto", images, images, labels, labels)
    assert extractor is not None
    assert "shipped classifier" in sentence

    images, labels = bars()
    extractor, sentence = choose_features("auto", images, images, labels, labels, steps=60)
    assert extractor is not None
    assert extractor.classifier.classes == 2
    assert "trained here for 60 steps on 64 images" in sentence
    assert "100.00 %" in sentence


def test_without_labels_features_are_left_out_unless_forced() -> None:
    images, labels = bars()
    assert choose_features("auto", images, images, labels)[0] is None
    assert choose_features("none", images, images, labels, labels)[0] is None
    assert choose_features("shipped", images, images)[0] is not None
    with pytest.raises(ValueError, match="train_labels"):
        choose_features("train", images, images)
    one = torch.full_like(labels, 1)  # a classifier of one class is right and has learnt nothing
    assert choose_features("auto", images, images, one, one)[1].endswith(
        "one class only to train a classifier on."
    )
    with pytest.raises(ValueError, match="one class only"):
        choose_features("train", images, images, one, one)
    with pytest.raises(ValueError, match="'inception'"):
        choose_features("inception", images, images)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"integers \[64\]"):
        choose_features("auto", images, images, labels[:3])


def test_images_of_a_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[n, C, H, W\], got \(3, 4\)"):
        prepare(torch.zeros(3, 4))
    with pytest.raises(TypeError, match="int64"):
        prepare(torch.zeros(1, 1, 28, 28, dtype=torch.int64))
    with pytest.raises(ValueError, match="28 by 28"):
        prepare(torch.zeros(1, 1, 20, 20), "crop")
    with pytest.raises(ValueError, match="got 64 and 3"):
        fit_classifier(bars()[0], bars()[1][:3])
