"""From what code looked at to the conditions under which it goes the same way again."""

from __future__ import annotations

from torch import nn

from drawgan_fast.compat.conditions import Conditions, Layer, has_modes, modes_of, shared_paths
from drawgan_fast.compat.contents import Path, module_paths, written
from drawgan_fast.compat.settings import (
    DYNAMIC,
    Code,
    is_computed_once,
    looked_at,
    not_understood,
    outside_read,
    settings_read,
)


def bind(
    model: nn.Module,
    names: dict[int, set[str]],
    code: Code,
    *,
    modes: list[dict[Path, bool]],
    silent: frozenset[Path],
    changed: set[Path],
    below: Path,
) -> tuple[Conditions, str | None]:
    """The conditions of what was proved of some code.

    Args:
        model: as it is now.
        names: attributes that the code read, by the ``id`` of their module.
        code: that ran.
        modes: ``training`` of all modules, in every mode that was proved beside the present one.
        silent: paths of modules that it calls and its replacement does not.
        changed: attributes that forward itself sets.
        below: the module that the conditions are relative to.

    Returns:
        The conditions, and what was looked at of which nobody can say that it has not changed.
    """
    modules = module_paths(model)
    looked = looked_at(model, names)
    places = [p for p in modules if p in silent or p in looked]
    places = [p for p in places if p[: len(below)] == below]
    start = len(below)

    def fixed(path: Path) -> list[str]:
        """What was read of a module and is not forward's own doing."""
        read = names.get(id(modules[path]), ())
        return [n for n in read if (*path, ("attribute", n)) not in changed]

    moded = [p for p in places if has_modes(modules[p], names.get(id(modules[p]), ()))]
    settings = settings_read(model, names, changed, places, below)
    outside = outside_read(model, code, settings.values())
    doubt = not_understood(settings, outside)
    for path in places:
        for name in names.get(id(modules[path]), ()):
            here: Path = (*path, ("attribute", name))
            if here in changed and is_computed_once(modules[path], name):
                doubt = doubt or f"model{written(here)}, computed once"
    dynamic = sorted(DYNAMIC & {name for ran in code for name in ran.co_names})
    if dynamic:
        doubt = doubt or f"what {dynamic[0]} gives"
    conditions = Conditions(
        {path[start:]: Layer.of(modules[path], fixed(path)) for path in places},
        {
            alias[start:]: path[start:]
            for alias, path in shared_paths(model).items()
            if path in places and alias[:start] == below
        },
        settings,
        outside,
        tuple(path[start:] for path in moded),
        {tuple([mode[path] for path in moded]) for mode in (modes_of(model), *modes)},
        frozenset(path[start:] for path in silent if path[:start] == below),
    )
    return conditions, doubt
