"""Classifier two-sample tests: can a simple classifier tell generated images from real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from drawgan_fast.metrics._pairwise import pair

#: The classifiers of :func:`two_sample_tests`.
CLASSIFIERS = ("1-nn", "5-nn", "gaussian-nb", "bernoulli-nb")


@dataclass(frozen=True)
class TwoSampleResult:
    """Held-out error rates in [0, 1]; "positive" means real.

    ``false_negative``: share of the real images called generated;
    ``false_positive``: share of the generated images called real.
    """

    false_negative: float
    false_positive: float

    @property
    def mean_error(self) -> float:
        """Balanced error: 0.5 where the samples cannot be told apart, 0 where they always can."""
        return 0.5 * (self.false_negative + self.false_positive)

    @property
    def max_error(self) -> float:
        """max(FN, FP), the paper's K-NN and Bayes figures.

        It rewards a classifier that is unbalanced: one that calls everything real has 1.
        """
        return max(self.false_negative, self.false_positive)


def two_sample_tests(
    real: Tensor,  # [n, ...]
    fake: Tensor,  # [m, ...]
    *,
    classifiers: Sequence[str] = CLASSIFIERS,
    seed: int = 0,
) -> dict[str, TwoSampleResult]:
    """Train on one half of a 50/50 mix of real and generated rows, err on the other half.

    Both samples are cut to min(n, m) rows, shuffled by ``seed`` and halved; the classifiers are
    scikit-learn's with its defaults: nearest neighbours in Euclidean distance, Gaussian naive
    Bayes (variance floor 1e-9 of the largest), Bernoulli naive Bayes of "pixel > 0.5".

    Args:
        real, fake: samples [n, ...] and [m, ...] with values in [0, 1], n, m >= 4.
        classifiers: any of :data:`CLASSIFIERS`.
        seed: of the split.

    Returns:
        One :class:`TwoSampleResult` for each classifier asked for.

    Raises:
        ValueError: an unknown classifier, or too few rows.

    Source: Lopez-Paz & Oquab 2017; Xu et al. 2018 for the 1-NN test.

    >>> import torch
    >>> r = two_sample_tests(torch.zeros(8, 3), torch.ones(8, 3), classifiers=("1-nn",))
    >>> r["1-nn"].mean_error
    0.0
    """
    unknown = sorted(set(classifiers) - set(CLASSIFIERS))
    if unknown:
        raise ValueError(f"classifiers must be among {', '.join(CLASSIFIERS)}, got {unknown}")
    a, b = pair(real, fake, ("real", "fake"), at_least=4)
    n = min(len(a), len(b))
    rng = np.random.default_rng(seed)
    real_rows = a.cpu().numpy()[rng.permutation(len(a))[:n]]
    fake_rows = b.cpu().numpy()[rng.permutation(len(b))[:n]]
    half = n // 2
    train = np.concatenate([real_rows[:half], fake_rows[:half]])
    train_is_real = np.repeat([True, False], half)
    test = np.concatenate([real_rows[half:], fake_rows[half:]])
    test_is_real = np.repeat([True, False], n - half)
    # Equal distances are decided by the order of the rows: shuffle, or ties all go to "real".
    order = rng.permutation(len(train))
    train, train_is_real = train[order], train_is_real[order]

    called_real = _neighbour_votes(train, train_is_real, test, classifiers)
    for name in classifiers:
        if name.endswith("-nb"):
            with np.errstate(divide="ignore", invalid="ignore"):  # all images equal: variance 0
                called_real[name] = _naive_bayes(name).fit(train, train_is_real).predict(test)
    return {
        name: TwoSampleResult(
            false_negative=float((~called_real[name][test_is_real]).mean()),
            false_positive=float(called_real[name][~test_is_real].mean()),
        )
        for name in classifiers
    }


def _naive_bayes(name: str) -> Any:
    from sklearn.naive_bayes import BernoulliNB, GaussianNB

    return GaussianNB() if name == "gaussian-nb" else BernoulliNB(binarize=0.5)


def _neighbour_votes(
    train: npt.NDArray[Any],  # [n, d]
    train_is_real: npt.NDArray[np.bool_],  # [n]
    test: npt.NDArray[Any],  # [m, d]
    classifiers: Sequence[str],
) -> dict[str, npt.NDArray[np.bool_]]:
    """All k share one search: it is the dear part."""
    from sklearn.neighbors import NearestNeighbors

    counts = {name: int(name[:-3]) for name in classifiers if name.endswith("-nn")}
    if not counts:
        return {}
    most = min(max(counts.values()), len(train))
    search = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(train)
    votes = train_is_real[search.kneighbors(test, return_distance=False)]  # [m, most]
    return {name: votes[:, :k].mean(1) > 0.5 for name, k in counts.items()}
