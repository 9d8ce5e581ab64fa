"""What can be read off code that may never have run: what it could change."""

from __future__ import annotations

import dis
import types
from collections.abc import Iterable

from torch import nn

from drawgan_fast.compat.conditions import Conditions
from drawgan_fast.compat.contents import is_by_somebody
from drawgan_fast.compat.settings import functions_of
from drawgan_fast.compat.watching import Notes


def could_change(model: nn.Module, notes: Notes, conditions: Conditions) -> bool:
    """Whether some method of the model, or code that ran, could change, in the middle of a forward
    pass, what a part's conditions ask."""
    code = set(notes.code)
    for module in model.modules():
        for kind in type(module).__mro__:
            if is_by_somebody(kind):
                for name, raw in vars(kind).items():
                    if name != "__init__":
                        code |= {function.__code__ for function in functions_of(raw)}
    used, stored = set(), set()
    for ran in code:
        used |= set(ran.co_names)
        for instruction in dis.get_instructions(ran):
            if instruction.opname in ("STORE_ATTR", "DELETE_ATTR"):
                stored.add(instruction.argval)
            elif instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                return True
    if used & _STORES_ANYTHING or (conditions.moded and used & {"train", "eval"}):
        return True
    asked = [*conditions.settings.leaves, *conditions.settings.containers]
    steps = {step for path in asked for step in path}
    names = {name for kind, name in steps if kind == "attribute"}
    names |= {name for layer in conditions.layers.values() for name in layer.absent}
    return bool(names & stored) or any(kind == "item" for kind, _ in steps)


def only_counts(name: str, code: Iterable[types.CodeType]) -> bool:
    """Whether code does nothing with an attribute but raise it by a constant, in one place."""
    between = {"LOAD_CONST", "LOAD_SMALL_INT", "BINARY_OP", "INPLACE_ADD", "BINARY_ADD"}
    between |= {"SWAP", "COPY", "ROT_TWO", "CACHE"}
    found = 0
    for ran in code:
        steps = [s for s in dis.get_instructions(ran) if s.opname != "CACHE"]
        uses = [i for i, s in enumerate(steps) if s.argval == name and "ATTR" in s.opname]
        if not uses and name in ran.co_consts:  # getattr(self, "calls")
            return False
        if uses:
            first, last = uses[0], uses[-1]
            inner = {s.opname for s in steps[first + 1 : last]}
            if len(uses) != 2 or not inner <= between or "STORE" not in steps[last].opname:
                return False
            found += 1
    return found == 1


_STORES_ANYTHING = frozenset({"setattr", "__dict__", "vars", "__setattr__", "update", "apply"})
