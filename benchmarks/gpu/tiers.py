"""The backends for GPUs as variants: each called as it is, and as a CUDA graph."""

from __future__ import annotations

BACKENDS = {"ours": "triton", "cuda": "cuda"}
_TITLES = {"ours": "ours, Triton", "cuda": "ours, CUDA C++"}
_GRAPH = "-graph"

TITLES = {
    f"{tier}{graph}": f"{title}{', CUDA graph' if graph else ''}"
    for tier, title in _TITLES.items()
    for graph in ("", _GRAPH)
}


def tier_of(label: str) -> str | None:
    """The tier that a variant is of, or None for somebody else's.

    >>> tier_of("cuda-graph"), tier_of("eager")
    ('cuda', None)
    """
    return label.removesuffix(_GRAPH) if label in TITLES else None


def is_graphed(label: str) -> bool:
    """Whether a tier's variant is a graph's replay."""
    return label in TITLES and label.endswith(_GRAPH)


def backend_of(label: str, instead: str | None = None) -> str:
    """The backend that a variant runs on.

    Args:
        label: of the variant.
        instead: what stands for every tier where there is no GPU.

    >>> backend_of("cuda"), backend_of("cuda", "native"), backend_of("eager", "native")
    ('cuda', 'native', 'reference')
    """
    tier = tier_of(label)
    return "reference" if tier is None else instead or BACKENDS[tier]
