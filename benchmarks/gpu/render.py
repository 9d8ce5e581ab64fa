"""From a record to ``docs/gpu.md``. Prints what was measured and nothing else."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.gpu import tiers
from benchmarks.gpu.operator_cases import VARIANTS
from benchmarks.gpu.record import entry, result, rounds
from benchmarks.gpu.sanitizer import TOOLS
from benchmarks.gpu.stages import STAGES
from benchmarks.gpu.step_variants import TITLES
from benchmarks.gpu.targets import fastest, shares, targets
from benchmarks.render import NOT_MEASURED, spread, table
from benchmarks.timing import Quantiles, ratios

Record = Mapping[str, Any]

_HOW = """\
```sh
pip install --no-build-isolation --no-deps -e .   # where nvcc is found, with the CUDA C++ core
python -m benchmarks.gpu                 # every stage, in under ten minutes on one GPU, no network
python -m benchmarks.gpu --only operators,steps --minutes 8
DRAWGAN_DATA=folder/of/mnist python -m benchmarks.gpu --only training --minutes 10 --out build/nats
python -m benchmarks.gpu --render build/gpu/gpu.json build/nats/gpu.json   # this page, anywhere
```

It needs PyTorch with CUDA, Triton and pytest; what else is missing is left out and named here.
The CUDA C++ core is built at install, by nvcc, cmake, ninja and pybind11 as they are there, for
`DRAWGAN_CUDA_ARCHS` alone if that is set; `drawgan info` says why it is not.
Every stage runs in a process of its own with a share of the time, so that one that fails leaves the
others. `build/gpu/gpu.json` is written after each of them; the last one, `tune`, also writes the
launches that were clearly faster to `drawgan_fast/backends/triton/tuned.json`, for later runs.
"""

_OPERATORS = """\
Microseconds, median (20th–80th percentile), by CUDA events, the L2 cache flushed before each call.
"Call": from an idle device until the result is there, launching included. "Device": with the host
far ahead. "Host": until the call returns to Python. "Eager to it" is the ratio of the calls within
a round. Bandwidth and rate are of the time on the device, over the measured ceilings: bytes are
each input read and each output written once, in each of the two passes; operations those of the
matrix products, backward twice as many; the unit that they run on is named, and tf32x3 are three
products of TF32 for one of float32, so a third of that rate. Attention in CUDA C++ is on the
multiply-add units (fp32) always.
"Error" is the worst output's or gradient's distance to the reference in float64, in units of that
tensor's largest number; a variant further off than the gate allows is not timed.
"""

_STEPS = """\
Noise drawn, forward, loss, backward, fused Adam. Milliseconds of a step, median (20th–80th
percentile), by CUDA events around a region of steps back to back; every variant in a process of
its own, one turn each in every round. "To ours" is its time over that of the fastest of ours in
the same precision, within a round. "Error" is the worst gradient's, as above.
"""


def render(record: Record) -> str:
    """The whole page; an empty record gives one that says what is not measured."""
    parts = [
        "# On a GPU\n",
        _head(record),
        _HOW,
        "## Targets\n",
        targets_table(record),
        "## Tests on the device\n",
        _tests(record),
        "## Sanitizer\n",
        _sanitizer(record),
        "## Ceilings\n",
        _ceilings(record),
        "## Operators\n",
        _OPERATORS,
        _operators(record),
        "## Training steps\n",
        _STEPS,
        _steps(record),
        "## DRAW trained on MNIST\n",
        _training(record),
        "## Tuned launches\n",
        _tuned(record),
    ]
    return "\n".join(part for part in parts if part)


def _head(record: Record) -> str:
    environment = record["environment"]
    if environment is None:
        return "No record yet: nothing on this page has been measured.\n"
    gpu, machine = environment["gpu"], environment["machine"]
    named = ", ".join(f"{k} {v}" for k, v in environment["versions"].items() if v)
    asked = ", ".join(f"{k} {v}" for k, v in gpu.items() if k not in _SAID)
    lines = [
        f"GPU: {gpu['name']}, compute capability {gpu['capability']}, {gpu['multiprocessors']} "
        f"multiprocessors, {gpu['memory_gib']} GiB, L2 {gpu['l2_mib']} MiB"
        f"{', ' + asked if asked else ''}.",
        f"Host: {machine['threads']} × {machine['processor']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}.",
        f"Versions: {named}.",
        f"CUDA C++ core: {environment.get('cuda_core') or NOT_MEASURED}.",
        f"Commit {environment['commit']}, {environment['date']}.\n",
    ]
    return "\n".join([*lines, _stages(record)])


_SAID = ("name", "capability", "multiprocessors", "memory_gib", "l2_mib")


def _stages(record: Record) -> str:
    rows = []
    for stage in STAGES:
        found = record["stages"].get(stage.name)
        if found is None:
            rows.append([stage.title, "not run", "", ""])
            continue
        seconds = f"{found['seconds']:.0f}" if "seconds" in found else ""
        rows.append([stage.title, found["status"], seconds, found.get("reason", "")])
    return table(["stage", "", "seconds", ""], rows)


def targets_table(record: Record) -> str:
    """The targets, and those not met once more."""
    rows, missed = [], []
    for target in targets():
        measured, met = target.measured(record), target.met(record)
        verdict = {True: "yes", False: "**no**", None: NOT_MEASURED}[met]
        rows.append([target.text, target.required, measured or NOT_MEASURED, verdict])
        if met is False:
            missed.append(f"- {target.text}: {measured}, required {target.required}")
    text = "Required of one H100.\n\n" + table(["", "required", "measured", "met"], rows)
    return text + ("\nNot met:\n\n" + "\n".join(missed) + "\n" if missed else "")


def _tests(record: Record) -> str:
    found = result(record, "tests")
    if "passed" not in found:
        return _nothing(found)
    names = ("passed", "failed", "error", "skipped", "not run")
    lines = [table(list(names), [[str(found[name]) for name in names]])]
    lines += [f"- {failure}" for failure in found["failures"]]
    return "\n".join(lines) + _left(found)


def _sanitizer(record: Record) -> str:
    found = result(record, "sanitizer")
    rows = [
        [tool, found[tool]["verdict"], found[tool]["summary"]]
        for tool in ("alone", *TOOLS)
        if tool in found
    ]
    return table(["", "", ""], rows) if rows else _nothing(found)


def _ceilings(record: Record) -> str:
    found = result(record, "ceilings")
    units = {"bandwidth": (1e9, "GB/s"), **dict.fromkeys(("fp32", "tf32", "bf16"), (1e12, "Top/s"))}
    rows = []
    for name, (scale, unit) in units.items():
        title = "copy, read and written" if name == "bandwidth" else f"`torch.mm`, {name}"
        value = _scaled(found.get(name), 1 / scale)
        rows.append([title, NOT_MEASURED if value is None else spread(value, f" {unit}")])
    return table(["", "per second"], rows)


def _operators(record: Record) -> str:
    found = result(record, "operators")
    if not found.get("groups"):
        return _nothing(found)
    head = ["", "call", "device", "host", "eager to it", "bandwidth", "rate", "error"]
    parts = []
    for group in found["groups"]:
        title = "### `{}` {}\n".format(*group["key"].split("/", 1))
        if "failed" in group:
            parts += [title, f"{NOT_MEASURED.capitalize()}: {group['failed']}.\n"]
            continue
        rows = [_operator_row(record, group, taken) for taken in group["entries"]]
        parts += [title, _moved(group), table(head, rows)]
    return "\n".join(parts) + _left(found)


def _moved(group: Mapping[str, Any]) -> str:
    operations, unit = group["operations"] / 1e9, group["unit"]
    core = (entry(group, "cuda") or {}).get("unit", unit)
    unit = unit if core == unit else f"{unit}, in CUDA C++ {core}"
    return f"{group['bytes'] / 1e6:.3g} MB, {operations:.3g} Gop on {unit}.\n"


def _operator_row(record: Record, group: Mapping[str, Any], taken: Mapping[str, Any]) -> list[str]:
    label = taken["label"]
    title = VARIANTS.get(label, label)
    if taken["call"] is None:
        return [title, f"{NOT_MEASURED}: {taken['missing'] or 'no time was left'}", *[""] * 6]
    times = [_scaled(taken[kind], 1e6) for kind in ("call", "device", "host")]
    cells = ["" if time is None else spread(time, "") for time in times]
    ratio = ratios(rounds(group, "eager"), taken["rounds"]) if label != "eager" else []
    cells.append(spread(Quantiles.of(ratio), "×") if ratio else "")
    reached = shares(record, group, label)
    cells += ["", ""] if reached is None else [f"{100 * share:.0f} %" for share in reached]
    return [title, *cells, f"{taken['gate']['error']:.1e}"]


def _steps(record: Record) -> str:
    found = result(record, "steps")
    if not found.get("groups"):
        return _nothing(found)
    parts = []
    for group in found["groups"]:
        parts.append(f"### {group['key']}\n")
        if "failed" in group:
            parts.append(f"{NOT_MEASURED.capitalize()}: {group['failed']}.\n")
            continue
        rows = [_step_row(group, taken) for taken in group["entries"]]
        parts.append(table(["", "", "ms per step", "images/s", "to ours", "error"], rows))
    return "\n".join(parts) + _left(found)


def _step_row(group: Mapping[str, Any], taken: Mapping[str, Any]) -> list[str]:
    plain = "plain DRAW: " if taken["label"].startswith("plain DRAW: ") else ""
    title = plain + TITLES.get(taken["variant"], taken["variant"])
    precision = taken["precision"]
    time = _scaled(taken["step"], 1e3)
    if time is None:
        why = taken["missing"] or "no time was left"
        return [title, precision, f"{NOT_MEASURED}: {why}", "", "", ""]
    ours = fastest(group, [f"{name}/{precision}" for name in tiers.TITLES])
    ratio = ""
    if ours and tiers.tier_of(taken["variant"]) is None:
        ratio = spread(Quantiles.of(ratios(taken["rounds"], ours)), "×")
    rate = f"{1e3 * group['case']['batch'] / time.p50:,.0f}"
    return [title, precision, spread(time, ""), rate, ratio, f"{taken['gate']['gradient']:.1e}"]


def _training(record: Record) -> str:
    found = result(record, "training")
    if "nats" not in found:
        return _nothing(found)
    return (
        f"{found['nats']:.2f} nats a test digit ({found['test_digits']:,} of them, binarised once, "
        f"float32) after {found['seconds']:.0f} s: {found['steps']:,} steps, "
        f"{found['epochs']:.0f} epochs of {found['digits']:,} digits, on "
        f"{' and '.join(found['backends'])}. The paper's bound is 80.97.\n\n{found['source']}\n"
    )


def _tuned(record: Record) -> str:
    found = result(record, "tune")
    if not found.get("buckets"):
        return _nothing(found)
    rows = []
    for bucket in found["buckets"]:
        best = max((t["gain"] for t in bucket["tried"] if "gain" in t), default=None)
        chosen = bucket["chosen"]
        words = ", ".join(f"{k} {v}" for k, v in chosen.items()) if chosen else "the default"
        tried = str(len(bucket["tried"]))
        rows.append([f"`{bucket['key']}`", tried, f"{best:.2f}×" if best else "", words])
    head = ["launch", "tried", "best over the default", "kept"]
    return table(head, rows) + _left(found)


def _nothing(found: Mapping[str, Any]) -> str:
    reason = found.get("left_out")
    why = f": {reason}" if isinstance(reason, str) else ""
    return f"{NOT_MEASURED.capitalize()}{why}.\n" + (_left(found) if not why else "")


def _left(found: Mapping[str, Any]) -> str:
    """What was left out, as a list."""
    left: Iterable[str] = found.get("left_out") or []
    left = [left] if isinstance(left, str) else list(left)
    return "\nLeft out:\n\n" + "\n".join(f"- {line}" for line in left) + "\n" if left else ""


def _scaled(value: Mapping[str, float] | None, by: float) -> Quantiles | None:
    return None if value is None else Quantiles(*(by * value[q] for q in ("p20", "p50", "p80")))
