"""From a run's record to ``docs/benchmarks.md``. Prints what was measured and nothing else."""

# ruff: noqa: RUF001  (what is printed has × and –)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.analysis import FLOORS, Run
from benchmarks.cases import CASES
from benchmarks.floor import LIBRARIES
from benchmarks.products import operations, window_operations
from benchmarks.targets import STEP, targets
from benchmarks.timing import Quantiles
from benchmarks.variants import VARIANTS

NOT_MEASURED = "not measured"


def render(run: Run, pictures: Sequence[str]) -> str:
    """The whole page; ``pictures`` are the plots' file names."""
    parts = [
        "# Benchmarks: what a training step costs\n",
        _head(run),
        "## Targets\n",
        _targets(run),
        "## Training steps\n",
        _STEPS,
        *(_step_group(run, key) for key in run.groups if key.startswith(("step/", "isa/"))),
        "## The floor, product by product\n",
        _floor(run),
        "## Operators\n",
        _operators(run),
        "## Memory, threads, host time\n",
        _memory(run),
        _threads(run),
        _overhead(run),
        "## Plots\n",
        _pictures(pictures),
        "## Do it again\n",
        _AGAIN,
    ]
    return "\n".join(part for part in parts if part)


_STEPS = """\
A training step is noise drawn, forward, loss, backward, fused Adam, gradients set to None, of the
same weights and images in every row. Milliseconds, median (20th–80th percentile) of all steps;
"error" is the worst gradient's distance to the reference in float64, in units of that gradient's
largest number, checked before the clock started. "To ours" is its time over ours', the median of
the ratios within a round (20th–80th percentile).
"""

_AGAIN = """\
```sh
pip install -e '.[test,bench]' -c constraints.txt
python -m benchmarks.report                # everything, on a machine that does nothing else
python -m benchmarks.report --quick        # small sizes: does it all work?
python -m benchmarks.report --only step,isa --update   # these anew, the others kept
python -m benchmarks.report --from docs/benchmarks.json   # this page and the plots again
pytest benchmarks/                         # each operator and step under pytest-benchmark
```
"""


def _head(run: Run) -> str:
    environment = run.record["environment"]
    machine, versions = environment["machine"], environment["versions"]
    disturbed = sum(e["disturbed"] for g in run.groups.values() for e in g["entries"])
    turns = sum(len(e["rounds"]) for g in run.groups.values() for e in g["entries"])
    lines = []
    if run.quick:
        lines.append("**A quick run: sizes and rounds cut down, so that no target is judged.**\n")
    features = ", ".join(machine["features"]) or "none of those that matter"
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    lines += [
        f"Machine: {machine['threads']} × {machine['processor']} (family {machine['family']}; "
        f"{features}), {machine['memory_gib']} GiB, {machine['system']}.",
        f"Versions: {named}.",
        f"Commit {environment['commit']}, {environment['date']}.\n",
        "Every variant ran in a process of its own; the processes took turns, one turn each in "
        "every round. A turn waited until other programs were quiet. One during which they used "
        "more than 5 % of the processors was taken again, whatever it had measured, as long as "
        f"the run's patience with them lasted: {disturbed} of the {turns} turns counted here were "
        "still disturbed.\n",
    ]
    dates = {(g["date"], g["commit"]) for g in run.groups.values()}
    if len({commit for _, commit in dates}) > 1:
        lines.append("Not all sections are of one commit:\n")
        lines += [f"- {g['key']}: {g['commit']}, {g['date']}" for g in run.groups.values()]
        lines.append("")
    return "\n".join(lines)


def _targets(run: Run) -> str:
    """The table of targets, and what is to be said of those not met."""
    threads = run.record["environment"]["machine"]["threads"]
    rows, missed = [], []
    for target in targets(threads):
        measured, met = target.measured(run), target.met(run)
        unit = "×" if target.denominator else " µs"
        verdict = {True: "yes", False: "**no**", None: NOT_MEASURED}[met]
        if run.quick and met is not None:
            verdict = "not judged"
        floor = target.at_floor(run)
        alone = "" if floor is None else spread(floor, "×")
        rows.append([target.text, target.required, spread(measured, unit), alone, verdict])
        if met is False and not run.quick:
            missed.append(f"- {target.text}: {spread(measured, unit)}, required {target.required}")
    text = table(["", "required", "measured", "products alone", "met"], rows)
    text += (
        "\nProducts alone: what the ratio would be if a step were its matrix products and nothing "
        "else, each by the fastest library (the floor below; bfloat16's for bfloat16). Where that "
        "is under what is required, only fewer operations or a faster product would reach it.\n"
    )
    if missed:
        text += "\nNot met:\n\n" + "\n".join(missed) + "\n"
    return text


def _step_group(run: Run, key: str) -> str:
    group = run.groups[key]
    rows = []
    for label in [*(e["label"] for e in group["entries"]), *FLOORS]:
        if label.startswith("floor") and label not in FLOORS:
            continue
        row = _step_row(run, key, label)
        if row:
            rows.append(row)
    head = ["", "ms per step", "images/s", "to ours", "error"]
    return f"### {_title(group)}\n\n" + table(head, rows)


def _step_row(run: Run, key: str, label: str) -> list[str] | None:
    title = {
        "floor": "matrix products alone, fp32",
        "floor bf16": "matrix products alone, bf16",
    }.get(label) or _variant_title(label)
    samples = run.samples(key, label)
    entry = run.entry(key, label)
    if not samples:
        if entry is None:
            return None
        return [title, f"{NOT_MEASURED}: {entry['missing']}", "", "", ""]
    time = Quantiles.of([1e3 * v for v in samples])
    batch = run.groups[key].get("batch")
    rate = f"{1e3 * batch / time.p50:,.0f}" if batch else ""
    gate = (entry or {}).get("gate") or {}
    error = f"{gate['gradient']:.1e}" if "gradient" in gate else ""
    ratio = run.ratio(key, label, "ours") if label != "ours" else None
    return [title, spread(time, ""), rate, spread(ratio, "×") if ratio else "", error]


def _variant_title(label: str) -> str:
    prefix, _, name = label.rpartition(": ")
    title = VARIANTS[name].title if name in VARIANTS else name
    return f"{prefix}: {title}" if prefix else title


def _title(group: dict[str, Any]) -> str:
    case = group.get("case")
    if case is None:
        return str(group["title"])
    windows = f"windows {case['read_size']}/{case['write_size']}"
    height, width = case["image_size"]
    return (
        f"{group['title']}: T={case['steps']}, h={case['hidden_size']}, z={case['latent_size']}, "
        f"{windows}, {case['channels']}×{height}×{width}, batch {case['batch']}"
    )


def _floor(run: Run) -> str:
    paper = CASES["draw-paper"]
    text = (
        f"{' '.join(_floor_words())}\n\nThe paper's step holds {operations(paper) / 1e9:.1f} GFLOP "
        f"of such products; the windows' own, which are left out, would be another "
        f"{100 * window_operations(paper) / operations(paper):.1f} %.\n"
    )
    for label in FLOORS:
        products = run.products(STEP, label)
        if not products:
            continue
        libraries = sorted({lib for found in products.values() for lib in found})
        rows = []
        for product, found in products.items():
            medians = {lib: Quantiles.of(rounds).p50 for lib, rounds in found.items()}
            best = min(medians, key=lambda lib: medians[lib])
            cells = [
                _bold(f"{1e3 * medians[lib]:.2f}", lib == best) if lib in medians else ""
                for lib in libraries
            ]
            rows.append([product, *cells])
        head = ["ms in one step, " + label, *(LIBRARIES[lib].title for lib in libraries)]
        text += "\n" + table(head, rows)
    return text


def _floor_words() -> Iterable[str]:
    """What the floor is, as :mod:`benchmarks.floor` says it."""
    from benchmarks import floor

    return (line.strip() for line in (floor.__doc__ or "").splitlines() if line.strip())


def _operators(run: Run) -> str:
    rows = []
    for key, group in run.groups.items():
        if not key.startswith("operator/"):
            continue
        _, op, shape, mode = key.split("/")
        eager, ours = (run.samples(key, label) for label in ("eager", "ours"))
        ratio = run.ratio(key, "eager", "ours")
        missing = next((e["missing"] for e in group["entries"] if e["missing"]), None)
        cells = [_micro(eager), _micro(ours), spread(ratio, "×") if ratio else ""]
        if missing and not ours:
            cells[1] = f"{NOT_MEASURED}: {missing}"
        rows.append([f"`{op}`", shape, mode, *cells])
    if not rows:
        return f"{NOT_MEASURED.capitalize()}.\n"
    head = ["", "shape", "", "eager, µs", "ours, µs", "times as fast"]
    return "Batch 128. Shapes are channels×height×width and N, or D and K.\n\n" + table(head, rows)


def _memory(run: Run) -> str:
    key = "memory/draw-paper"
    rows = []
    for entry in run.groups[key]["entries"] if key in run.groups else []:
        values = [v / 2**20 for v in run.samples(key, entry["label"])]
        cell = spread(Quantiles.of(values), " MiB") if any(values) else NOT_MEASURED
        ratio = run.ratio(key, entry["label"], "eager") if any(values) else None
        rows.append([_variant_title(entry["label"]), cell, spread(ratio, "×") if ratio else ""])
    if not rows:
        return ""
    return (
        "What the first three steps add to a fresh process at their peak (resident memory):\n\n"
    ) + table(["", "peak", "to eager's"], rows)


def _threads(run: Run) -> str:
    key = "threads/draw-paper"
    rows = []
    for entry in run.groups[key]["entries"] if key in run.groups else []:
        variant, _, count = entry["label"].rpartition(", ")
        samples = [1e3 * v for v in run.samples(key, entry["label"])]
        cell = spread(Quantiles.of(samples), " ms") if samples else NOT_MEASURED
        ratio = run.ratio(key, f"{variant}, 1", entry["label"])
        rows.append([_variant_title(variant), count, cell, spread(ratio, "×") if ratio else ""])
    return table(["", "threads", "step", "over one thread"], rows) if rows else ""


def _overhead(run: Run) -> str:
    rows = []
    for key in run.groups:
        if key.startswith("overhead/"):
            labels = [entry["label"] for entry in run.groups[key]["entries"]]
            rows.append([f"`{key.split('/')[1]}`", *(_micro(run.samples(key, x)) for x in labels)])
    if not rows:
        return ""
    head = ["µs of a call", *labels]
    return (
        "One call on the smallest input there is (one image of one pixel, one unit, one step), "
        'the kernel\'s own work included; "recorded" means for a backward that does not come:\n\n'
    ) + table(head, rows)


def _pictures(names: Sequence[str]) -> str:
    if not names:
        return f"{NOT_MEASURED.capitalize()}.\n"
    return "\n".join(f"![{name.removesuffix('.png')}](images/{name})\n" for name in names)


def _micro(samples: Sequence[float]) -> str:
    return spread(Quantiles.of([1e6 * v for v in samples]), "") if samples else NOT_MEASURED


def spread(value: Quantiles | None, unit: str) -> str:
    """Median and percentiles in three digits.

    >>> spread(Quantiles(0.9, 1.0, 1.25), "×")
    '1.00× (0.900–1.25)'
    """
    if value is None:
        return NOT_MEASURED
    return f"{_digits(value.p50)}{unit} ({_digits(value.p20)}–{_digits(value.p80)})"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _bold(text: str, on: bool) -> str:
    return f"**{text}**" if on else text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head, in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
