"""Specs and configs as the strings that travel in a registered operator's schema, and back.

A registered operator knows neither :class:`AttentionSpec` nor :class:`DrawConfig`: its schema has
strings, so that an exported graph holds all it needs.
"""

from __future__ import annotations

import json
from dataclasses import fields
from functools import lru_cache

from drawgan_fast.attention_spec import AttentionSpec, describe
from drawgan_fast.attention_spec import spec as resolve_spec
from drawgan_fast.backends.tracing import constant_when_traced
from drawgan_fast.draw_config import DrawConfig


@lru_cache(maxsize=1024)
def _spec_text(spec: AttentionSpec) -> str:
    return json.dumps(describe(spec))


@lru_cache(maxsize=1024)
def _config_text(cfg: DrawConfig) -> str:
    values = {field.name: getattr(cfg, field.name) for field in fields(cfg)}
    return json.dumps({**values, "spec": describe(cfg.spec)})


# A compiler that traces a call cannot follow json; the text of a frozen value is a constant.
@constant_when_traced
def spec_text(spec: AttentionSpec) -> str:
    """A spec as the string that travels in an operator's schema."""
    return _spec_text(spec)


@constant_when_traced
def config_text(cfg: DrawConfig) -> str:
    """A config as the string that travels in an operator's schema."""
    return _config_text(cfg)


@lru_cache(maxsize=1024)
def spec_from(text: str) -> AttentionSpec:
    """The spec that :func:`spec_text` wrote.

    >>> spec_from(spec_text(AttentionSpec(centre_tanh=True))).centre_tanh
    True
    """
    return resolve_spec(json.loads(text))


@lru_cache(maxsize=1024)
def config_from(text: str) -> DrawConfig:
    """The config that :func:`config_text` wrote.

    >>> cfg = DrawConfig((8, 9), hidden_size=4)
    >>> config_from(config_text(cfg)) == cfg
    True
    """
    return DrawConfig(**json.loads(text))
