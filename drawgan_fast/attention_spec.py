"""The conventions in which public DRAW implementations differ, as one frozen value.

Every implementation maps five numbers per sample to an N×N grid of Gaussian filters; they
disagree on where the grid stands, how the filters are normalised and what the numbers mean.
:class:`AttentionSpec` names each choice, :data:`PRESETS` names each implementation, and
``docs/conventions.md`` tabulates both. Operators take either a spec or a preset's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

ParameterName = Literal["x", "y", "sigma", "delta", "gamma"]
CentreScale = Literal["A+1", "A", "A-1"]
GridOffset = Literal["(N-1)/2", "N/2+1/2", "floor(N/2)+1/2"]
DeltaRule = Literal["max", "width", "height"]
Exponent = Literal["log_sigma2", "log_sigma", "czm0"]
Normalisation = Literal["softmax", "add", "max", "each", "total", "none"]
GammaForm = Literal["exp", "sigmoid"]
GammaOnWrite = Literal["divide", "multiply"]
Axes = Literal["yx", "xy", "transposed"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "centre_scale": get_args(CentreScale),
    "grid_offset": get_args(GridOffset),
    "delta_rule": get_args(DeltaRule),
    "exponent": get_args(Exponent),
    "normalisation": get_args(Normalisation),
    "gamma_form": get_args(GammaForm),
    "gamma_on_write": get_args(GammaOnWrite),
    "read_axes": get_args(Axes),
    "write_axes": get_args(Axes),
}
_NEEDS_EPS = ("add", "max", "each")


@dataclass(frozen=True)
class AttentionSpec:
    r"""How five numbers become an attention window, and how the window reads and writes.

    With A the width, B the height, i = 0…N−1 along the grid, p the pixel and params the raw
    output of the attention Linear (DRAW eq. 21–26)::

        g_x = (A+1)/2·(g̃_x+1)      g_y = (B+1)/2·(g̃_y+1)       centre_scale, centre_tanh
        δ   = (max(A,B)−1)/(N−1)·exp(log δ)                     delta_rule; N−1 → 1 when N = 1
        μᵢ  = g + (i − offset)·δ                                grid_offset
        F   ∝ exp(−(p − μᵢ)²/2σ²),  p from pixel_base           exponent, normalisation, eps
        read = γ·F_y·I·F_xᵀ         write = (1/γ)·F_yᵀ·w·F_x    gamma_form, gamma_power,
                                                                gamma_on_write, *_axes

    Args:
        order: what each of the five numbers is, in the order in which the Linear gives them.
        centre_scale: extent that maps g̃ ∈ [−1, 1] onto the image, in terms of its own side A.
        centre_tanh: squash g̃ by tanh first, so that the centre cannot leave the image.
        grid_offset: index of the grid's centre, i counted from 0.
        pixel_base: coordinate of the first pixel, 0 or 1.
        delta_rule: side whose length scales the stride: the longer one, the width or the height.
        exponent: ``log_sigma2``: the number is log σ²; ``log_sigma``: it is log σ;
            ``czm0``: exponent −((p−μ)/2s)² with log s given, that is log σ² = ln 2 + 2·log s.
        normalisation: with S = Σ_p F per filter: ``softmax`` F/S with the maximum subtracted
            first (never 0/0), ``add`` F/(S+eps), ``max`` F/max(S, eps), ``each`` F/Σ_p(F+eps),
            ``total`` F/ΣF over grid and pixels together, ``none`` F as it is.
        eps: the constant of ``add``, ``max`` and ``each``; unused by the others.
        gamma_form: γ = exp(log γ), or its sigmoid.
        gamma_power: 2 where an implementation multiplies γ into both filterbanks.
        gamma_on_write: ``divide``: the patch is written with 1/γ (the paper), or ``multiply``.
        read_axes: ``yx``: F_y·I·F_xᵀ; ``xy``: the roles of the two centres are swapped,
            F_x·I·F_yᵀ; ``transposed``: the image is transposed, F_y·Iᵀ·F_xᵀ.
        write_axes: the same for F_yᵀ·w·F_x.
        log_sigma2_clamp: (low, high) limits put on log σ² by some forks, or None.

    Raises:
        ValueError: a field has a value that is not one of its choices.

    Source: DRAW (Gregor et al. 2015), section 3.2; the implementations named in PRESETS.

    >>> AttentionSpec().normalisation
    'softmax'
    >>> spec("natsu").grid_offset
    'N/2+1/2'
    """

    order: tuple[ParameterName, ...] = ("x", "y", "sigma", "delta", "gamma")
    centre_scale: CentreScale = "A+1"
    centre_tanh: bool = False
    grid_offset: GridOffset = "(N-1)/2"
    pixel_base: Literal[0, 1] = 1
    delta_rule: DeltaRule = "max"
    exponent: Exponent = "log_sigma2"
    normalisation: Normalisation = "softmax"
    eps: float = 0.0
    gamma_form: GammaForm = "exp"
    gamma_power: Literal[1, 2] = 1
    gamma_on_write: GammaOnWrite = "divide"
    read_axes: Axes = "yx"
    write_axes: Axes = "yx"
    log_sigma2_clamp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))
        if sorted(self.order) != sorted(get_args(ParameterName)):
            raise ValueError(
                f"order must name each of {get_args(ParameterName)} once, got {self.order}"
            )
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {choices}, got {getattr(self, field)!r}")
        if self.pixel_base not in (0, 1):
            raise ValueError(f"pixel_base must be 0 or 1, got {self.pixel_base!r}")
        if self.gamma_power not in (1, 2):
            raise ValueError(f"gamma_power must be 1 or 2, got {self.gamma_power!r}")
        if self.normalisation in _NEEDS_EPS and not (0.0 < self.eps < math.inf):
            raise ValueError(
                f"normalisation {self.normalisation!r} divides by the sum of a filter that may be "
                f"0 and needs a finite eps > 0, got {self.eps!r}"
            )
        if self.log_sigma2_clamp is not None:
            clamp = tuple(float(limit) for limit in self.log_sigma2_clamp)
            if len(clamp) != 2 or not clamp[0] < clamp[1]:
                raise ValueError(f"log_sigma2_clamp must be (low, high), got {clamp}")
            object.__setattr__(self, "log_sigma2_clamp", clamp)

    def offset(self, N: int) -> float:
        """Index of the grid's centre for N grid points, i counted from 0.

        >>> AttentionSpec().offset(5), spec("natsu").offset(5)
        (2.0, 3.0)
        """
        return {
            "(N-1)/2": (N - 1) / 2,
            "N/2+1/2": N / 2 + 0.5,
            "floor(N/2)+1/2": N // 2 + 0.5,
        }[self.grid_offset]


_PAPER = AttentionSpec()
_NATSU = AttentionSpec(grid_offset="N/2+1/2", pixel_base=0, normalisation="add", eps=1e-8)
_CZM0 = replace(_NATSU, eps=1e-9, exponent="czm0")

PRESETS: dict[str, AttentionSpec] = {
    # The paper's equations read as 1-based throughout, normalised exactly.
    "paper": _PAPER,
    # Natsu6767/Generating-Devanagari-Using-DRAW, and AmarSaini's fork of it.
    "natsu": _NATSU,
    "amarsaini": replace(_NATSU, grid_offset="(N-1)/2"),
    # czm0/draw_pytorch on Python 3, its fork by ShuaiyiHuang, and Python 2's integer division.
    "czm0": _CZM0,
    "czm0-python2": replace(_CZM0, grid_offset="floor(N/2)+1/2"),
    "shuaiyihuang": replace(_CZM0, normalisation="total", eps=0.0),
    # kamenbliznashki/generative_models
    "kamen": AttentionSpec(normalisation="each", eps=1e-8),
    # rhychen/DRAW: the read transposes the image, the write does not and multiplies by γ.
    "rhychen": replace(
        _NATSU,
        grid_offset="(N-1)/2",
        eps=1e-9,
        gamma_on_write="multiply",
        read_axes="transposed",
    ),
    # jbornschein/draw (Theano)
    "jbornschein": AttentionSpec(
        order=("y", "x", "delta", "sigma", "gamma"),
        centre_scale="A",
        pixel_base=0,
        normalisation="add",
        eps=1e-4,
    ),
    # mansimov/text2image (Theano)
    "text2image": AttentionSpec(
        order=("x", "y", "delta", "sigma", "gamma"),
        grid_offset="N/2+1/2",
        pixel_base=0,
        normalisation="add",
        eps=1e-4,
    ),
    # ericjang/draw (TensorFlow)
    "ericjang": replace(_NATSU, normalisation="max"),
    # vivanov879/draw (Torch7): i counts from 1 there, γ stands in both banks and is never
    # divided by, and the read spans the rows with the x centre.
    "vivanov": AttentionSpec(
        exponent="log_sigma",
        normalisation="none",
        gamma_power=2,
        gamma_on_write="multiply",
        read_axes="xy",
    ),
}


def spec(value: str | AttentionSpec | Mapping[str, Any]) -> AttentionSpec:
    """Resolve a preset's name or a mapping of fields, or pass a spec through.

    Raises:
        ValueError: no preset has that name, or a field has a value that is none of its choices.
        TypeError: none of the three, or a field that does not exist.

    >>> spec("paper") == AttentionSpec() == spec({"normalisation": "softmax"})
    True
    """
    if isinstance(value, AttentionSpec):
        return value
    if isinstance(value, Mapping):
        return AttentionSpec(**value)
    if not isinstance(value, str):
        raise TypeError(f"spec must be an AttentionSpec or a preset's name, got {type(value)}")
    if value not in PRESETS:
        raise ValueError(f"spec must be one of {', '.join(PRESETS)}, got {value!r}")
    return PRESETS[value]


def describe(value: AttentionSpec) -> str | dict[str, Any]:
    """The preset's name if it is one, else its fields: what :func:`spec` takes back, JSON-able.

    >>> describe(AttentionSpec()), describe(AttentionSpec(pixel_base=0))["pixel_base"]
    ('paper', 0)
    """
    for name, preset in PRESETS.items():
        if preset == value:
            return name
    fields = asdict(value)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items() if v is not None}
