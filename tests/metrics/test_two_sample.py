from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from drawgan_fast.metrics.two_sample import CLASSIFIERS, TwoSampleResult, two_sample_tests


def two(n: int = 100, shift: float = 0.15) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(n, 1, 3, 3, generator=generator)
    return x, (torch.rand(n, 1, 3, 3, generator=generator) * (1 - shift) + shift)


def test_every_classifier_equals_scikit_learn_by_hand() -> None:
    from sklearn.naive_bayes import BernoulliNB, GaussianNB
    from sklearn.neighbors import KNeighborsClassifier

    real, fake = two()
    rng = np.random.default_rng(7)
    a = real.flatten(1).numpy()[rng.permutation(100)]
    b = fake.flatten(1).numpy()[rng.permutation(100)]
    x, y = np.concatenate([a[:50], b[:50]]), np.repeat([1, 0], 50)
    by_hand = {
        "1-nn": KNeighborsClassifier(1),
        "5-nn": KNeighborsClassifier(5),
        "gaussian-nb": GaussianNB(),
        "bernoulli-nb": BernoulliNB(binarize=0.5),
    }
    got = two_sample_tests(real, fake, seed=7)
    assert set(got) == set(CLASSIFIERS)
    for name, model in by_hand.items():
        model.fit(x, y)
        false_negative = float((model.predict(a[50:]) == 0).mean())
        false_positive = float((model.predict(b[50:]) == 1).mean())
        assert got[name] == TwoSampleResult(false_negative, false_positive), name
        assert 0.0 < got[name].mean_error < 0.5, name


def test_nearest_neighbour_errors_by_loop() -> None:
    real, fake = two(20)
    result = two_sample_tests(real, fake, classifiers=("1-nn",), seed=1)["1-nn"]
    rng = np.random.default_rng(1)
    a, b = real.flatten(1).numpy(), fake.flatten(1).numpy()
    a, b = a[rng.permutation(20)], b[rng.permutation(20)]

    def called_real(point: np.ndarray) -> bool:
        to_real = min(((point - p) ** 2).sum() for p in a[:10])
        return bool(to_real < min(((point - p) ** 2).sum() for p in b[:10]))

    assert result.false_negative == np.mean([not called_real(p) for p in a[10:]])
    assert result.false_positive == np.mean([called_real(p) for p in b[10:]])


def test_one_half_for_one_distribution_and_zero_for_two_apart() -> None:
    x = torch.rand(4000, 6, generator=torch.Generator().manual_seed(0))
    same = two_sample_tests(x[:2000], x[2000:])
    apart = two_sample_tests(x[:2000] * 0.4, x[2000:] * 0.4 + 0.6)
    for name in CLASSIFIERS:
        assert same[name].mean_error == pytest.approx(0.5, abs=0.04), name
        assert apart[name].mean_error == 0.0, name


def test_copies_of_one_image_leave_no_side_favoured_by_order() -> None:
    point = torch.full((400, 1, 2, 2), 0.5)
    result = two_sample_tests(point, point, classifiers=("1-nn", "5-nn"))
    for name, errors in result.items():
        assert errors.mean_error == 0.5, name  # ties: all called the same


def test_unequal_sizes_are_cut_and_seeds_repeat() -> None:
    real, fake = two()
    assert two_sample_tests(real, fake[:41], seed=3) == two_sample_tests(real, fake[:41], seed=3)
    errors = {two_sample_tests(real, fake, seed=s)["1-nn"].mean_error for s in range(5)}
    assert len(errors) > 1
    # 41 of each: 20 train and 21 are held out, so each rate is a multiple of 1/21
    rate = two_sample_tests(real, fake[:41])["1-nn"].false_negative * 21
    assert rate == pytest.approx(round(rate))


def test_max_and_mean_of_the_errors() -> None:
    result = TwoSampleResult(false_negative=0.9, false_positive=0.2)
    assert (result.max_error, result.mean_error) == (0.9, pytest.approx(0.55))


def test_bad_arguments_are_named() -> None:
    real, fake = two()
    with pytest.raises(ValueError, match="svm"):
        two_sample_tests(real, fake, classifiers=("svm",))
    with pytest.raises(ValueError, match=r"fake must be .* n >= 4"):
        two_sample_tests(real, fake[:3])
