"""The scores printed in the DRAW-GAN paper, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class PaperScores:
    """One line of a table; lower ``mmd`` and ``fid``, higher ``knn`` and ``bayes`` are better."""

    mmd: float
    fid: float
    knn: float
    bayes: float


#: Table I, MNIST, by the name of the model in ``drawgan_fast.models.MODELS``.
TABLE_1_MNIST: Mapping[str, PaperScores] = MappingProxyType(
    {
        "vae": PaperScores(0.1464, 799.68, 0.2176, 0.4617),
        "info-vae": PaperScores(0.4113, 1798.17, 0.1145, 0.3776),
        "draw": PaperScores(0.1057, 715.18, 0.4356, 0.7436),
        "draw-gan": PaperScores(0.0963, 701.55, 0.6434, 0.8124),
    }
)

#: Table II, OCR-Telugu (UHTelPCC): not comparable with figures on the stand-in made from fonts.
TABLE_2_TELUGU: Mapping[str, PaperScores] = MappingProxyType(
    {
        "vae": PaperScores(0.1916, 2399.68, 0.1576, 0.3268),
        "info-vae": PaperScores(0.6113, 2798.17, 0.0678, 0.1776),
        "draw": PaperScores(0.1146, 1889.25, 0.5545, 0.6541),
        "draw-gan": PaperScores(0.1035, 1843.67, 0.6435, 0.8745),
    }
)

#: Both tables by the name of the data.
PAPER_TABLES: Mapping[str, Mapping[str, PaperScores]] = MappingProxyType(
    {"mnist": TABLE_1_MNIST, "telugu": TABLE_2_TELUGU}
)


def paper_score(data: str, model: str, score: str) -> float | None:
    """One printed figure, or None where the paper has none.

    Args:
        data: "mnist" or "telugu"; model: "vae", "info-vae", "draw" or "draw-gan";
        score: "mmd", "fid", "knn" or "bayes".

    >>> paper_score("mnist", "draw-gan", "fid"), paper_score("svhn", "draw", "fid")
    (701.55, None)
    """
    line = PAPER_TABLES.get(data, {}).get(model)
    return None if line is None else getattr(line, score, None)
