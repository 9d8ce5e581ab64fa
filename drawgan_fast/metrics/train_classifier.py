"""Make the shipped classifier weights again.

``python -m drawgan_fast.metrics.train_classifier --data-dir DIR`` trains on the 60,000 training
digits, measures on the 10,000 test digits and writes ``metrics/assets/``; about three minutes on
two cores. Run it when :class:`~drawgan_fast.metrics.features.Classifier` changes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from drawgan_fast.errors import DrawganError
from drawgan_fast.metrics.features import (
    SHIPPED_WEIGHTS,
    FeatureExtractor,
    choose_fit,
    fit_classifier,
    save_classifier,
)


def train_and_save(
    train_images: Tensor,  # [n, C, H, W]
    train_labels: Tensor,  # [n]
    test_images: Tensor,  # [m, C, H, W]
    test_labels: Tensor,  # [m]
    path: Path,
    *,
    data: str,
    steps: int = 4000,
    seed: int = 0,
) -> float:
    """Train, measure, save with the measurement in the metadata; return the test accuracy [0, 1].

    ``data`` is one sentence that names the training data.
    """
    net = fit_classifier(train_images, train_labels, steps=steps, seed=seed)
    extractor = FeatureExtractor(net, choose_fit(train_images), data)
    accuracy = extractor.accuracy(test_images, test_labels)
    metadata = {
        "data": data,
        "test_accuracy": f"{accuracy:.4f}",
        "test_images": str(len(test_images)),
        "steps": str(steps),
        "seed": str(seed),
        "torch": torch.__version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_classifier(net, path, metadata)
    return accuracy


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m drawgan_fast.metrics.train_classifier",
        description="Train the digit classifier whose features the scores use.",
    )
    parser.add_argument("--data-dir", type=Path, help="folder with the four MNIST files")
    parser.add_argument("--out", type=Path, default=SHIPPED_WEIGHTS, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=4000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)

    # Only this script wants data by name; the library's functions take tensors.
    from drawgan_fast.data import load

    try:
        train = load("mnist", "train", data_dir=options.data_dir)
        test = load("mnist", "test", data_dir=options.data_dir)
    except DrawganError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if train.labels is None or test.labels is None:
        print("the training data has no labels: a classifier needs them", file=sys.stderr)
        return DrawganError.exit_code
    accuracy = train_and_save(
        train.images,
        train.labels,
        test.images,
        test.labels,
        options.out,
        data=f"{train.name}, {len(train):,} training images",
        steps=options.steps,
        seed=options.seed,
    )
    print(f"test accuracy {100 * accuracy:.2f} % on {len(test):,} images; wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
