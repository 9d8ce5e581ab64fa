from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from drawgan_fast.metrics import Evaluator, Report, evaluate
from drawgan_fast.metrics.evaluation import paper_scores
from drawgan_fast.metrics.features import Classifier, FeatureExtractor
from drawgan_fast.metrics.frechet import frechet_distance, moments
from drawgan_fast.metrics.manifold import manifold_scores
from drawgan_fast.metrics.mmd import GMMN_KERNEL, kernel_distance, mmd_squared
from drawgan_fast.metrics.two_sample import two_sample_tests


def blobs(n: int, seed: int = 0, size: int = 8) -> Tensor:
    """Images of one Gaussian blob at a random place."""
    centre = torch.rand(n, 2, 1, 1, generator=torch.Generator().manual_seed(seed)) * (size - 1)
    grid = torch.arange(size, dtype=torch.float32)
    squared = (grid[:, None] - centre[:, 0]) ** 2 + (grid - centre[:, 1]) ** 2
    return torch.exp(-squared / 4).unsqueeze(1)


TEST, TRAIN = blobs(100, 1), blobs(150, 2)


def perfect(n: int, seed: int) -> Tensor:
    return blobs(n, 100 + seed)


def mean_image(n: int, seed: int) -> Tensor:
    return TRAIN.mean(0).expand(n, -1, -1, -1)


def extractor() -> FeatureExtractor:
    torch.manual_seed(0)
    return FeatureExtractor(Classifier(3).eval(), "resize", "random weights")


def test_every_score_equals_its_own_function() -> None:
    net = extractor()
    report = evaluate(TEST, TRAIN, perfect, features=net, n_paper=40, seeds=(5,))
    fake = perfect(100, 5)
    assert report["standard/pixel_frechet"].n == 100
    assert report["paper/fid"].n == 40
    a, b = net(TEST), net(fake)
    balls = manifold_scores(a, b, k=5)
    tests = two_sample_tests(TEST, fake, seed=5)
    expected = {
        "pixel_frechet": frechet_distance(moments(TEST), moments(fake)),
        "feature_frechet": frechet_distance(moments(a), moments(b)),
        "kid": kernel_distance(a, b, seed=5).mean,
        "mmd2": mmd_squared(TEST, fake, GMMN_KERNEL, unbiased=True),
        "precision": balls.precision,
        "recall": balls.recall,
        "density": balls.density,
        "coverage": balls.coverage,
        "1-nn_error": tests["1-nn"].mean_error,
        "bernoulli-nb_max": tests["bernoulli-nb"].max_error,
    }
    for key, value in expected.items():
        assert report[f"standard/{key}"].value == pytest.approx(value, rel=1e-6, abs=1e-9), key
    rows = torch.randperm(100, generator=torch.Generator().manual_seed(5))[:40]
    for key, value in paper_scores(TEST[rows], fake[:40], seed=5).items():
        assert report[f"paper/{key}"].value == pytest.approx(value), key


def test_paper_column_by_its_formulas_in_numpy() -> None:
    import numpy as np
    from scipy.linalg import sqrtm

    real, fake = TEST[:60, :, ::4, ::4], perfect(60, 0)[:, :, ::4, ::4]
    x, y = ((t.flatten(1).double() * 255).round().numpy() for t in (real, fake))
    a, b = np.cov(x.T), np.cov(y.T)
    d2 = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    within = ((x[:, None] - x) ** 2).sum(-1)
    s = within.sum() / (60 * 59)

    def k(p: np.ndarray, q: np.ndarray) -> float:
        return float(np.exp(-((p[:, None] - q) ** 2).sum(-1) / (2 * s)).mean())

    got = paper_scores(real, fake)
    assert got["fid"] == pytest.approx(math.sqrt(d2), rel=1e-8)
    assert got["mmd"] == pytest.approx(math.sqrt(k(x, x) + k(y, y) - 2 * k(x, y)), rel=1e-8)


def test_perfect_model_is_at_the_floor_and_a_collapsed_one_far_from_it() -> None:
    evaluator = Evaluator(TEST, TRAIN, features="none", n_paper=80)
    good, bad = evaluator.evaluate(perfect, "good"), evaluator.evaluate(mean_image, "bad")
    for key in ("paper/fid", "paper/mmd", "standard/pixel_frechet"):
        assert good[key].value == pytest.approx(good[key].floor, rel=0.3), key
        assert bad[key].value > 1.5 * bad[key].floor, key
    assert good["standard/1-nn_error"].value == pytest.approx(0.5, abs=0.12)
    assert bad["standard/1-nn_error"].value < 0.3
    assert good["standard/coverage"].value > 0.8 > 0.4 > bad["standard/coverage"].value
    assert [r.floor for r in good.rows] == [r.floor for r in bad.rows]


def test_floor_is_the_training_set_under_the_same_protocol() -> None:
    def training_images(n: int, seed: int) -> Tensor:
        return TRAIN[torch.randperm(150, generator=torch.Generator().manual_seed(seed + 1))[:n]]

    report = evaluate(TEST, TRAIN, training_images, features=extractor(), n_paper=30)
    for row in report.rows:
        assert row.value == row.floor, row.key
        assert row.spread == row.floor_spread, row.key


def test_seeds_reach_the_generator_once_each_and_give_the_spread() -> None:
    calls: list[tuple[int, int]] = []

    def generate(n: int, seed: int) -> Tensor:
        calls.append((n, seed))
        return perfect(n, seed)

    report = evaluate(
        TEST, TRAIN, generate, features="none", n_paper=90, n_standard=50, seeds=(3, 4)
    )
    assert calls == [(90, 3), (90, 4)]
    single = [
        evaluate(TEST, TRAIN, perfect, features="none", n_paper=90, n_standard=50, seeds=(s,))
        for s in (3, 4)
    ]
    low, high = (r["standard/mmd2"].value for r in single)
    row = report["standard/mmd2"]
    assert row.value == pytest.approx((low + high) / 2)
    assert row.spread == pytest.approx(abs(low - high) / math.sqrt(2))
    assert single[0]["standard/mmd2"].spread is None


def test_uint8_and_float_images_score_alike() -> None:
    def bytes_of(x: Tensor) -> Tensor:
        return (x * 255).round().to(torch.uint8)

    as_bytes = evaluate(
        bytes_of(TEST), bytes_of(TRAIN), lambda n, s: bytes_of(perfect(n, s)), features="none"
    )
    as_floats = evaluate(
        bytes_of(TEST) / 255,
        bytes_of(TRAIN) / 255,
        lambda n, s: bytes_of(perfect(n, s)) / 255,
        features="none",
    )
    for a, b in zip(as_bytes.rows, as_floats.rows):
        assert a.value == pytest.approx(b.value, rel=1e-5, abs=1e-7), a.key


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_degenerate_samples_do_not_crash(value: float) -> None:
    constant = torch.full((12, 1, 8, 8), value)
    labels = torch.zeros(12, dtype=torch.int64)
    report = evaluate(
        constant,
        constant,
        lambda n, seed: constant[:n],
        test_labels=labels,
        train_labels=labels,
        classifier_steps=2,
    )
    assert report["paper/fid"].value == pytest.approx(0.0, abs=1e-5)
    assert report["paper/mmd"].value == pytest.approx(0.0, abs=1e-6)
    assert all(math.isfinite(row.value) for row in report.rows)
    json.loads(report.to_json())


def test_smallest_set_and_notes_of_what_is_left_out() -> None:
    report = evaluate(TEST[:4], TRAIN[:4], perfect, seeds=(0,))
    assert "left out" in report.notes[0]
    assert "standard/kid" not in report
    assert "in pixels" in report.notes[1]
    assert {row.n for row in report.rows} == {4}


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[str, int, int]] = []
    evaluator = Evaluator(
        TEST, TRAIN, features="none", seeds=(0, 1), progress=lambda *step: seen.append(step)
    )
    evaluator.evaluate(perfect)
    assert [done for _, done, _ in seen] == list(range(7))
    assert seen[-1] == ("done", 6, 6)


@pytest.mark.parametrize(
    ("generate", "message"),
    [
        (lambda n, s: torch.zeros(n, 1, 8, 7), r"\[100, 1, 8, 8\], got \(100, 1, 8, 7\)"),
        (lambda n, s: torch.full((n, 1, 8, 8), math.nan), r"\[0, 1\], got nan"),
        (lambda n, s: torch.full((n, 1, 8, 8), 255.0), r"got 255 to 255"),
    ],
)
def test_bad_generated_images_are_refused(generate: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(TEST, TRAIN, generate, features="none", seeds=(0,))  # type: ignore[arg-type]


def test_bad_real_images_and_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="real_test must be"):
        evaluate(TEST[:3], TRAIN, perfect)
    with pytest.raises(ValueError, match="one shape"):
        evaluate(TEST, TRAIN[..., :7], perfect)
    with pytest.raises(ValueError, match="seeds not empty"):
        evaluate(TEST, TRAIN, perfect, seeds=())


def test_report_survives_json() -> None:
    report = evaluate(TEST, TRAIN, perfect, features="none", name="blobs")
    assert Report.from_json(report.to_json()) == report
