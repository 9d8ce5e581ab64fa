"""Which classifier's features the scores of a data set use, and the sentence that says so."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from drawgan_fast.metrics.features import (
    FeatureExtractor,
    choose_fit,
    fit_classifier,
    load_classifier,
)

#: The shipped MNIST classifier is taken for data on which it is right at least this often.
SHIPPED_ACCURACY = 0.95


def choose_features(
    features: Literal["auto", "shipped", "train", "none"] | FeatureExtractor,
    test_images: Tensor,  # [n, C, H, W]
    train_images: Tensor,  # [m, C, H, W]
    test_labels: Tensor | None = None,  # [n]
    train_labels: Tensor | None = None,  # [m]
    steps: int = 600,
) -> tuple[FeatureExtractor | None, str]:
    """The extractor, or None, and one sentence for the report.

    ``features`` as in :func:`~drawgan_fast.metrics.evaluation.evaluate`; ``steps`` is the budget
    of a classifier trained here.

    Raises:
        ValueError: an unknown word, labels that do not fit, or "train" without labels.

    >>> import torch
    >>> x = torch.zeros(4, 1, 8, 8)
    >>> choose_features("auto", x, x)
    (None, 'Feature scores left out: the data has no labels to train a classifier on.')
    """
    if isinstance(features, FeatureExtractor):
        return features, f"Features: {features.source}."
    _check_labels("test", test_images, test_labels)
    _check_labels("train", train_images, train_labels)
    if features == "none":
        return None, "Feature scores left out, as asked."
    if features not in ("auto", "shipped", "train"):
        raise ValueError(
            'features must be "auto", "shipped", "train", "none" or a FeatureExtractor, '
            f"got {features!r}"
        )
    if features == "shipped":
        shipped, accuracy = _shipped(test_images, test_labels)
        return shipped, _sentence(shipped, accuracy)
    if features == "auto" and test_labels is not None:
        shipped, accuracy = _shipped(test_images, test_labels)
        if accuracy is not None and accuracy >= SHIPPED_ACCURACY:
            return shipped, _sentence(shipped, accuracy)
    one_class = train_labels is not None and len(train_labels.unique()) < 2
    if train_labels is not None and not one_class:
        fit = choose_fit(train_images)
        net = fit_classifier(train_images, train_labels, steps=steps, fit=fit)
        source = f"a classifier trained here for {steps} steps on {len(train_images):,} images"
        trained = FeatureExtractor(net, fit, source)
        accuracy = None if test_labels is None else trained.accuracy(test_images, test_labels)
        return trained, _sentence(trained, accuracy)
    lack = "one class only" if one_class else "no labels"
    if features == "train":
        raise ValueError(f'features="train" needs train_labels of several classes, got {lack}')
    return None, f"Feature scores left out: the data has {lack} to train a classifier on."


def _shipped(
    images: Tensor,  # [n, C, H, W]
    labels: Tensor | None,  # [n]
) -> tuple[FeatureExtractor, float | None]:
    """The shipped classifier, and its accuracy on these images where they are labelled."""
    net, metadata = load_classifier()
    source = f"the shipped classifier ({metadata.get('data', 'MNIST')})"
    extractor = FeatureExtractor(net, choose_fit(images), source)
    return extractor, None if labels is None else extractor.accuracy(images, labels)


def _sentence(extractor: FeatureExtractor, accuracy: float | None) -> str:
    right = "" if accuracy is None else f", right on {100 * accuracy:.2f} % of these test images"
    return f"Features: {extractor.source}{right}."


def _check_labels(name: str, images: Tensor, labels: Tensor | None) -> None:
    if labels is None:
        return
    if labels.shape != (len(images),) or labels.is_floating_point():
        raise ValueError(
            f"{name}_labels must be integers [{len(images)}], one for each image, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"{name}_labels must count from 0, got {int(labels.min())}")
