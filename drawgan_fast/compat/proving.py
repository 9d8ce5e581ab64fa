"""The proof itself: replacements put in, held against the original, and kept or taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from drawgan_fast.compat.binding import bind
from drawgan_fast.compat.bytecode import could_change
from drawgan_fast.compat.conditions import Conditions
from drawgan_fast.compat.contents import Path, module_paths, written
from drawgan_fast.compat.fused import FusedForward
from drawgan_fast.compat.installing import Key, Part, Proof, install, label
from drawgan_fast.compat.originals import Original, batch_of
from drawgan_fast.compat.probing import sized, untouched
from drawgan_fast.compat.proof import LIMIT_FLOAT64, Probe, behaviour, compare
from drawgan_fast.compat.replacements import (
    Arguments,
    FastWrite,
    Replacement,
    put_cell_back,
    replace_cell,
)
from drawgan_fast.compat.report import Agreement, NotAccelerated
from drawgan_fast.compat.sites import Recording
from drawgan_fast.compat.watching import Notes, uncertain
from drawgan_fast.compat.windows import Found

CELL = " (LSTMCell)"


class Trial:
    """Everything that might be replaced in a model, and what the proof has left of it.

    Attributes:
        proof: what stands in the model.
        agreement: comparisons that were made with what is replaced now.
        left: what was taken out again, with the reason.
    """

    def __init__(
        self,
        model: nn.Module,
        original: Original,
        own: Recording,
        others: dict[bool, Recording],
        windows: list[Found],
        cells: dict[str, nn.LSTMCell],
        whole: FusedForward | None,
    ) -> None:
        self.model, self.original, self.own, self.others = model, original, own, others
        self.paths = {id(module): path for path, module in module_paths(model).items()}
        self.windows = {self._key(found): found for found in windows}
        self.cells, self.whole = dict(cells), whole
        self.own_cells = dict(cells)
        self.left: list[str] = []
        self.parts: dict[Key, Part] = {}
        for key, found in self.windows.items():
            arguments, doubt = self._arguments(found)
            if doubt is None:
                self.parts[key] = Part(replace(found.replacement, arguments=arguments))
            else:
                self.left.append(f"{label(key)}: it looks at {doubt}, which forward sets")
        self.proof = Proof(dict(self.parts))
        self.agreement: list[Agreement] = []
        self.modes = {flag: modes for flag, (modes, _, _) in original.modes.items()}
        self.whole_modes = dict(self.modes)
        self._uninstall = install(model, self.proof)
        self._steps: list[Callable[[], None]] = [self._uninstall]
        self._steps.append(lambda: self._put_cells(set()))

    @property
    def replaced(self) -> list[str]:
        """What is replaced now, a name each."""
        found = [label(key) for key in self.parts] + [path + CELL for path in self.cells]
        return found + (["forward (draw_scan)"] if self.proof.whole is not None else [])

    def has(self, found: Found) -> bool:
        """Whether a window is still replaced."""
        return self._key(found) in self.parts

    def undo(self) -> None:
        """Put everything back; a second call does nothing."""
        while self._steps:
            self._steps[-1]()
            self._steps.pop()

    def prove(self) -> None:
        """Keep what agrees with the original.

        Raises:
            NotAccelerated: nothing does, or not the fused forward that was asked for.
        """
        if not self._all_agree():
            self._take_out_what_differs()
        if self.whole is None and not self.parts and not self.cells:
            raise NotAccelerated("nothing was changed: " + "; ".join(self.left))
        least = 2 if self._differs_of_one() else 1
        singles = {key: self._agrees_of(key, 1) for key in self.parts}
        self._in_other_modes()
        if self.whole is not None:
            self._use(self.parts, self.cells)
            self.proof.whole = self.whole
            self.agreement = self._agreement({"forward"})
            self._whole_in_other_modes()
            if self.original.difference_of_one(self.model):
                least = 2
        self._only_what_ran(least)
        for key, agrees in singles.items():
            if not agrees:
                self.parts[key].replacement = _at_least(self.parts[key].replacement, 2)

    def leave(self, slower: dict[str, float]) -> None:
        """Take out what is slower than what it replaced, by its name in :attr:`replaced`."""
        for name, ratio in slower.items():
            said = f"{name}: slower here than what it would replace ({ratio:.2f}x)"
            self.left.append(said)
        keys = {key: part for key, part in self.parts.items() if label(key) not in slower}
        cells = {path: cell for path, cell in self.cells.items() if path + CELL not in slower}
        if "forward (draw_scan)" in slower:
            self.proof.whole = None
        if slower:
            self._use(keys, cells)
        if not self.replaced:
            raise NotAccelerated("nothing was changed: " + "; ".join(self.left))

    def conclude(self) -> None:
        """Bind what was proved to its conditions, and see that it runs under them."""
        notes = self._notes()
        for key, part in list(self.parts.items()):
            read = notes.names.get(self.windows[key].site, {})
            passed = self._passed_by(key)
            part.in_forward, doubt = self._conditions([key], notes, self.modes, passed)
            part.volatile = could_change(self.model, notes, part.in_forward)
            if self._is_all_below(key[0], read):
                part.alone, _ = self._conditions([key], notes, self.modes, passed, below=key[0])
            if doubt is not None:
                self.left.append(f"{label(key)}: it looks at {doubt}, which may change unseen")
                self._use({k: p for k, p in self.parts.items() if k != key}, self.cells)
        if self.proof.whole is not None:
            self.proof.whole_conditions, doubt = self._conditions(
                None, notes, self.whole_modes, None
            )
            if doubt is not None:
                raise NotAccelerated(
                    f"nothing was changed: forward looks at {doubt}, which may change unseen; "
                    "fuse=False replaces its parts"
                )
        if not self.replaced:
            raise NotAccelerated("nothing was changed: " + "; ".join(self.left))
        if not self.parts and self.proof.whole is None:
            self._uninstall()  # cells need no conditions
            return
        self.proof.proving = False
        self._runs_under_its_conditions()

    def _conditions(
        self,
        keys: list[Key] | None,
        notes: Notes,
        modes: dict[bool, dict[Path, bool]],
        silent: frozenset[Path] | None,
        below: Path = (),
    ) -> tuple[Conditions, str | None]:
        """Of the originals of some parts, or of forward itself; and what of it is in doubt."""
        sites = [None] if keys is None else [self.windows[key].site for key in keys]
        names, modules = notes.read_in(sites), module_paths(self.model)
        for path, name in keys or ():
            names.setdefault(id(modules[path]), set()).add(name)
        if silent is None:
            called = {id(module) for module in self.own.modules}
            silent = frozenset(p for p, module in modules.items() if p and id(module) in called)
        return bind(
            self.model,
            names,
            notes.code_in(sites),
            modes=list(modes.values()),
            silent=silent,
            changed=self.original.changed,
            below=below,
        )

    def _is_all_below(self, base: Path, read: dict[int, set[str]]) -> bool:
        """Whether everything that was read lies below a module, which then can check it alone."""
        places = {self.paths.get(owner) for owner in read}
        return all(path is not None and path[: len(base)] == base for path in places)

    def _key(self, found: Found) -> Key:
        return self.paths[id(found.site.owner)], found.site.attribute

    def _put_cells(self, paths: set[str]) -> None:
        for path in self.own_cells:
            cell = self.own_cells[path]
            if path in paths:
                replace_cell(cell)
            else:
                put_cell_back(cell)

    def _use(self, parts: dict[Key, Part], cells: dict[str, nn.LSTMCell]) -> None:
        self.parts, self.cells = dict(parts), dict(cells)
        self.proof.parts = dict(parts)
        self._put_cells(set(cells))

    def _agreement(self, must_run: set[str]) -> list[Agreement]:
        self.proof.ran.clear()
        found = self.original.agreement(self.model)
        idle = sorted(must_run - self.proof.ran.keys())
        if idle:
            raise NotAccelerated(
                f"nothing was changed: {idle[0]} was not reached by the probes as it was recorded"
            )
        return found

    def _all_agree(self) -> bool:
        self._use(self.parts, self.cells)
        try:
            self.agreement = self._agreement({label(key) for key in self.parts})
        except Exception as reason:  # NotAccelerated, or whatever the replaced model raises
            self._reason = reason
            return False
        return True

    def _take_out_what_differs(self) -> None:
        """Try each part alone; what fails then is left, and the others must agree together."""
        parts, cells = self.parts, self.cells
        kept_parts, kept_cells = dict(parts), dict(cells)
        for key, part in parts.items():
            self._use({key: part}, {})
            reason = self._failure()
            if reason is not None:
                self.left.append(f"{label(key)}: {reason}")
                del kept_parts[key]
        for path, cell in cells.items():
            self._use({}, {path: cell})
            reason = self._failure()
            if reason is not None:
                self.left.append(f"{path}{CELL}: {reason}")
                del kept_cells[path]
        if len(kept_parts) + len(kept_cells) == len(parts) + len(cells):
            self._use(parts, cells)
            raise _as_refusal(self._reason)
        self._use(kept_parts, kept_cells)
        self.agreement = self._agreement({label(key) for key in kept_parts})

    def _failure(self) -> str | None:
        try:
            self._agreement({label(key) for key in self.parts})
        except Exception as error:  # whatever the replaced model raises
            return str(_as_refusal(error)).removeprefix("nothing was changed: ")
        return None

    def _agrees_of(self, key: Key, samples: int) -> bool:
        """Whether a method itself gives the same of so many samples, whoever calls it."""
        window = self.windows[key]
        with untouched(self.model, torch.float64), torch.no_grad():
            given = sized(self.own.calls[window.site][-1].arguments, samples, torch.float64)
            mine = self.parts[key].replacement.run(window.site.owner, (), given)
            self.proof.parts = {}
            try:
                theirs = window.site.function(**given)
            except Exception:  # whatever another's code may raise
                return False
            finally:
                self.proof.parts = dict(self.parts)
        if not isinstance(mine, Tensor) or mine.shape != theirs.shape:
            return False
        return bool((mine - theirs).norm() <= LIMIT_FLOAT64 * theirs.norm())

    def _differs_of_one(self) -> bool:
        return self.original.single is not None and self.original.difference_of_one(self.model)

    def _in_other_modes(self) -> None:
        for flag in self.original.disagreeing_modes(self.model):
            self._leave_mode(self.modes, flag, "read, write or a cell")
        for flag, recorded in self.others.items():
            for found in self.windows.values():
                inside = recorded.notes.inside(found.site)
                doubtful = min((uncertain(inside, spec) for spec in found.specs), key=len)
                if doubtful and flag in self.modes:
                    self._leave_mode(self.modes, flag, found.site.label)

    def _whole_in_other_modes(self) -> None:
        self.whole_modes = dict(self.modes)
        for flag in self.original.disagreeing_modes(self.model):
            if flag in self.whole_modes:
                self._leave_mode(self.whole_modes, flag, "forward")
        sites = [found.site for found in self.windows.values()]
        for flag, recorded in self.others.items():
            if flag in self.whole_modes and uncertain(recorded.notes.outside(sites)):
                self._leave_mode(self.whole_modes, flag, "forward")

    def _leave_mode(self, modes: dict[bool, dict[Path, bool]], flag: bool, what: str) -> None:
        modes.pop(flag, None)
        name = "training" if flag else "eval"
        self.left.append(f"{what} in {name} mode: it computes something else there")

    def _only_what_ran(self, least: int) -> None:
        """Bind the replacements to the batch sizes and the types that were proved."""
        own, double = self.original.dtype, torch.float64
        ran: dict[str, Any] = {
            "least": least,
            "only": self.original.only,
            "most": self.original.most,
            "dtypes": frozenset({own, double}),
        }
        for part in self.parts.values():
            arguments = replace(part.replacement.arguments, **ran)
            part.replacement = replace(part.replacement, arguments=arguments)
        whole = self.proof.whole
        if whole is not None:
            device = next(self.model.parameters()).device.type
            kinds = {(own, torch.get_default_dtype(), device), (double, double, device)}
            self.proof.whole = replace(
                whole, arguments=replace(whole.arguments, **ran), kinds=frozenset(kinds)
            )

    def _notes(self) -> Notes:
        """What the code looked at in any mode."""
        together = Notes()
        for notes in (self.own.notes, *(recorded.notes for recorded in self.others.values())):
            for key, names in notes.names.items():
                mine = together.names.setdefault(key, {})
                for owner, read in names.items():
                    mine.setdefault(owner, set()).update(read)
            for code, (scope, sites) in notes.code.items():
                together.code.setdefault(code, (scope, set()))[1].update(sites)
        return together

    def _arguments(self, found: Found) -> tuple[Arguments, str | None]:
        """A window's arguments, with what its code looks at that forward sets; and what of that is
        no plain value, of which nothing can be asked."""
        key = self._key(found)
        batches = {batch_of(self.original.args)}
        if self.original.other is not None:
            batches.add(batch_of(self.original.other))
        read = []
        for (site, owner, name), values in self.own.notes.values.items():
            if site != found.site or owner not in self.paths:
                continue
            path: Path = (*self.paths[owner], ("attribute", name))
            if path in self.original.changed and path[: len(key[0])] == key[0]:
                is_count = len(batches) > 1 and set(map(_number, values)) == batches
                read.append((path[len(key[0]) :], tuple(values), is_count))
        seen = {path for path, _, _ in read}
        for owner, names in self.own.notes.names.get(found.site, {}).items():
            for name in names if owner in self.paths else ():
                path = (*self.paths[owner], ("attribute", name))
                if path in self.original.changed and path[len(key[0]) :] not in seen:
                    return found.replacement.arguments, f"model{written(path)}"
        return replace(found.replacement.arguments, attributes=tuple(read)), None

    def _passed_by(self, key: Key) -> frozenset[Path]:
        """Modules that the original of a part calls and its replacement does not."""
        window, replacement = self.windows[key], self.parts[key].replacement
        owner = window.site.owner
        found: set[Path] = set()
        for call in self.own.calls[window.site]:
            kept = [replacement.window.of(owner, call.arguments)]
            if isinstance(replacement, FastWrite):
                kept.append(replacement.patch.of(owner, call.arguments))
            found |= {
                self.paths[id(module)]
                for module in call.modules
                if id(module) in self.paths and not any(module is one for one in kept)
            }
        return frozenset(found)

    def _runs_under_its_conditions(self) -> None:
        """A proof of an original against itself would be none: see that the replacements run."""
        self.proof.reasons.clear()
        probe = Probe(
            str(self.original.dtype).removeprefix("torch."), self.original.args, self.original.dtype
        )
        truth = self.original.runs[-1] if self.original.dtype != torch.float64 else None
        ours = behaviour(self.model, probe)
        if self.proof.reasons:
            reason = next(iter(self.proof.reasons))
            raise NotAccelerated(
                "nothing was changed: what was proved could not be bound to its conditions "
                f"({reason})"
            )
        if truth is not None:
            compare(truth[1], ours, probe.what, truth[2], self.original.unstable)
        self.proof.reasons.clear()


def _at_least(replacement: Replacement, least: int) -> Replacement:
    return replace(replacement, arguments=replace(replacement.arguments, least=least))


def _number(value: object) -> object:
    return value if type(value) is int else None


def _as_refusal(error: Exception) -> NotAccelerated:
    if isinstance(error, NotAccelerated):
        return error
    refusal = NotAccelerated(
        f"nothing was changed: with its parts replaced the model raises {type(error).__name__}: "
        f"{error}"
    )
    refusal.__cause__ = error
    return refusal
