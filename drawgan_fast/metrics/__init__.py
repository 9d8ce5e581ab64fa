"""Scores of generated images, in the paper's convention and in a standard one; test bounds.

Everything here takes tensors and callables: it knows neither models nor data sets.
"""

from drawgan_fast.metrics.bound import TestBound, test_bound
from drawgan_fast.metrics.evaluation import SMALLEST, Evaluator, evaluate
from drawgan_fast.metrics.features import Classifier, FeatureExtractor, load_classifier
from drawgan_fast.metrics.frechet import Moments, frechet_distance, moments
from drawgan_fast.metrics.manifold import ManifoldScores, manifold_scores
from drawgan_fast.metrics.mmd import GMMN_KERNEL, RBFKernel, kernel_distance, mmd_squared
from drawgan_fast.metrics.paper_tables import PAPER_TABLES, PaperScores
from drawgan_fast.metrics.report import Report, Row, comparison_table, comparison_text
from drawgan_fast.metrics.two_sample import TwoSampleResult, two_sample_tests

__all__ = [
    "GMMN_KERNEL",
    "PAPER_TABLES",
    "SMALLEST",
    "Classifier",
    "Evaluator",
    "FeatureExtractor",
    "ManifoldScores",
    "Moments",
    "PaperScores",
    "RBFKernel",
    "Report",
    "Row",
    "TestBound",
    "TwoSampleResult",
    "comparison_table",
    "comparison_text",
    "evaluate",
    "frechet_distance",
    "kernel_distance",
    "load_classifier",
    "manifold_scores",
    "mmd_squared",
    "moments",
    "test_bound",
    "two_sample_tests",
]
