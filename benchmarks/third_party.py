"""`drawgan_fast.accelerate` on public DRAW code as it is: agreement and step time.

    python benchmarks/third_party.py --path DIR [--out docs/third_party.json]

DIR holds clones of the repositories in folders called OWNER-NAME or NAME; those that are absent are
left out. With --out the numbers are written there and the table in docs/drop_in.md is renewed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import drawgan_fast
from benchmarks.environment import environment
from benchmarks.third_party_models import IMPLEMENTATIONS, Implementation
from benchmarks.timing import busy_seconds
from drawgan_fast.compat import load_foreign
from drawgan_fast.compat.fused import draw_noise
from drawgan_fast.compat.proof import Probe, behaviour
from drawgan_fast.data.mnist import load_subset

SEEDS = (0, 1, 2)
CURVE_STEPS, CURVE_BATCH = 100, 16
VARIANTS = ("original", "replaced", "fused")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "drop_in.md"
BEGIN, END = "<!-- table of benchmarks/third_party.py -->", "<!-- end of table -->"


class Trainer:
    """A model, its loss and its optimizer: one step as every one of their scripts takes it."""

    def __init__(self, model: nn.Module, loss: Any, clip: float) -> None:
        self.model, self.loss, self.clip = model, loss, clip
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def gradients(self, x: Tensor, seed: int) -> dict[str, Tensor]:
        """The loss and every parameter's gradient."""
        torch.manual_seed(seed)
        self.optimizer.zero_grad()
        loss = self.loss(self.model, x)
        loss.backward()
        found = {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}
        return {"loss": loss.detach(), **found}

    def step(self, x: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self.loss(self.model, x)
        value = loss.item()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return value


def outputs(model: nn.Module, args: tuple[Any, ...], seed: int) -> dict[str, Tensor]:
    """What forward gives and leaves in the model."""
    found = behaviour(model, Probe("float32", args, torch.float32, seed=seed)).outputs
    return {k: v for k, v in found.items() if isinstance(v, Tensor)}


def largest_error(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """Of any tensor: norm of the difference over norm."""
    assert ours.keys() == theirs.keys()
    pairs = [(ours[name].double(), theirs[name].double()) for name in theirs]
    return max(((a - b).norm() / b.norm().clamp(min=1e-30)).item() for a, b in pairs)


Prepared = tuple[nn.Module, Any, dict[str, Trainer], dict[str, Any], tuple[Tensor, ...]]


def prepare(implementation: Implementation, folder: Path, device: torch.device) -> Prepared:
    """The model, its loss, a trainer of every variant, what accelerate said, batches of digits."""
    torch.set_num_threads(1)
    C, H, W = implementation.numbers
    images = load_subset("train").images[: 10 * implementation.batch].float() / 255
    images = torch.nn.functional.interpolate(images, (H, W)).expand(-1, C, -1, -1)
    batches = images.flatten(1).to(device).split(implementation.batch)

    torch.manual_seed(5)
    first, loss = implementation.build(folder, device)
    trainers, said = {}, {}
    for variant in VARIANTS:
        model = copy.deepcopy(first)
        if variant != "original":
            example = implementation.example(batches[0][:7]) if implementation.example else None
            begin = time.perf_counter()
            report = drawgan_fast.accelerate(model, fuse=variant == "fused", example=example)
            seconds = time.perf_counter() - begin
            said[variant] = {"seconds": seconds, "report": str(report).splitlines()}
        trainers[variant] = Trainer(model, loss, implementation.clip)
    return first, loss, trainers, said, batches


def measure(
    implementation: Implementation, folder: Path, device: torch.device, rounds: int, threads: int
) -> dict[str, Any]:
    """Everything about one implementation on one device; only its times take several threads."""
    first, loss, trainers, said, batches = prepare(implementation, folder, device)
    args = implementation.example(batches[0]) if implementation.example else (batches[0],)
    row: dict[str, Any] = {
        "repository": implementation.repository,
        "configuration": implementation.configuration,
        "commit": commit(folder),
        "device": device.type,
        "accelerate": said,
    }
    original = trainers["original"]
    for variant in VARIANTS[1:]:
        ours = trainers[variant]
        row[f"{variant} outputs"] = max(
            largest_error(outputs(ours.model, args, s), outputs(original.model, args, s))
            for s in SEEDS
        )
        row[f"{variant} gradients"] = max(
            largest_error(ours.gradients(batches[s], s), original.gradients(batches[s], s))
            for s in SEEDS
        )
    row["checkpoint"] = checkpoint_error(implementation, first, batches[0])
    row |= times(trainers, batches[0], device, rounds, threads)
    row |= curves(first, trainers, loss, implementation, batches)
    return row


def checkpoint_error(implementation: Implementation, model: nn.Module, x: Tensor) -> float:
    """Its state_dict in our DRAW: the last canvas from the same noise, relative error."""
    C, H, W = implementation.numbers
    steps = implementation.steps
    state = model.state_dict()
    ours = load_foreign(state, image_size=(H, W), steps=steps, channels=C).to(x.device)
    args = implementation.example(x) if implementation.example else (x,)
    with torch.no_grad():
        torch.manual_seed(0)
        theirs = implementation.canvas(model, model(*args))
        torch.manual_seed(0)
        eps = draw_noise("steps", steps, len(x), x, ours.cfg.latent_size)
        canvas = ours(x.view(-1, C, H, W), eps).canvas.flatten(1)
    # Compared as pixels: some return no logits.
    return largest_error({"": canvas.sigmoid()}, {"": theirs.sigmoid()})


def times(
    trainers: dict[str, Trainer], x: Tensor, device: torch.device, rounds: int, threads: int
) -> dict[str, Any]:
    """Milliseconds a step, every variant in turn each round; speed-ups are medians of ratios.

    On a CPU also processor time on one thread, which other programs cannot inflate much, and the
    share of the processors that they took while the wall clock ran.
    """

    def step(trainer: Trainer, clock: Callable[[], float]) -> float:
        begin = clock()
        trainer.step(x)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 1e3 * (clock() - begin)

    def compared(name: str, clock: Callable[[], float]) -> dict[str, Any]:
        taken: dict[str, list[float]] = {variant: [] for variant in trainers}
        for _ in range(rounds):
            for variant, trainer in trainers.items():
                step(trainer, clock)  # the caches are another's
                taken[variant].append(min(step(trainer, clock) for _ in range(2)))
        found: dict[str, Any] = {f"{v} {name}ms": statistics.median(t) for v, t in taken.items()}
        for variant in VARIANTS[1:]:
            ratios = [a / b for a, b in zip(taken["original"], taken[variant])]
            found[f"{variant} {name}speed-up"] = statistics.median(ratios)
        return found

    torch.set_num_threads(threads)
    begin, busy, own = time.perf_counter(), busy_seconds(), time.process_time()
    found = compared("", time.perf_counter)
    elapsed = time.perf_counter() - begin
    others = busy_seconds() - busy - (time.process_time() - own)
    found["others"] = max(0.0, others / (elapsed * (os.cpu_count() or 1)))
    torch.set_num_threads(1)
    return found | (compared("processor ", time.process_time) if device.type == "cpu" else {})


def curves(
    first: nn.Module,
    trainers: dict[str, Trainer],
    loss: Any,
    implementation: Implementation,
    batches: tuple[Tensor, ...],
) -> dict[str, Any]:
    """Loss curves of 100 steps from the same start: the largest distance, relative to the loss.

    "own": the original's from itself, its parameters one rounding further. Training amplifies that.
    """
    images = torch.cat(batches).split(CURVE_BATCH)

    def curve_of(model: nn.Module, rounding: float = 0.0) -> list[float]:
        model.load_state_dict(first.state_dict())
        torch.manual_seed(8)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 1 + rounding * torch.randn_like(parameter).sign()
        fresh = Trainer(model, loss, implementation.clip)
        torch.manual_seed(9)
        return [fresh.step(images[i % len(images)]) for i in range(CURVE_STEPS)]

    curve = {variant: curve_of(trainer.model) for variant, trainer in trainers.items()}
    curve["own"] = curve_of(trainers["original"].model, torch.finfo(torch.float32).eps)
    found: dict[str, Any] = {
        f"{variant} curve": max(
            abs(a - b) / abs(b) for a, b in zip(curve[variant], curve["original"])
        )
        for variant in (*VARIANTS[1:], "own")
    }
    return found | {"loss": [curve["original"][0], curve["original"][-1]]}


def commit(folder: Path) -> str:
    """Of the clone, or what a file COMMIT in the folder says."""
    written = folder / "COMMIT"
    if written.is_file():
        return written.read_text().strip()
    done = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _speed(row: dict[str, Any], name: str) -> tuple[str, ...]:
    taken = " → ".join(f"{row[f'{v} {name}ms']:.0f}" for v in VARIANTS)
    return taken, *(f"{row[f'{v} {name}speed-up']:.2f}x" for v in VARIANTS[1:])


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = [
        "| implementation, commit | configuration | device | outputs, gradients (replaced) "
        "| (fused) | checkpoint | loss in 100 steps, curves apart (its own) | ms a step | replaced "
        "| fused | others took | one thread: processor ms a step | replaced | fused |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        first, last = row["loss"]
        apart = max(row["replaced curve"], row["fused curve"])
        own = f" ({row['own curve']:.1e})" if "own curve" in row else ""
        cells = [
            f"{row['repository']} `{row['commit'][:12]}`",
            row["configuration"],
            row["device"],
            *(f"{row[v + ' outputs']:.1e}, {row[v + ' gradients']:.1e}" for v in VARIANTS[1:]),
            f"{row['checkpoint']:.1e}",
            f"{first:.0f} → {last:.0f}, {apart:.1e}{own}",
            *_speed(row, ""),
            f"{100 * row['others']:.0f} %" if "others" in row else "",
            *(_speed(row, "processor ") if "original processor ms" in row else ("",) * 3),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machine, versions = found["environment"]["machine"], found["environment"]["versions"]
    said = (
        f"{machine['processor']} (family {machine['family']}, {', '.join(machine['features'])}), "
        f"{found['threads']} threads; {found['environment']['date']}, commit "
        f"{found['environment']['commit']}; "
        + ", ".join(
            f"{k} {v}" for k, v in versions.items() if "backend" not in k and "jax" not in k
        )
    )
    return "\n".join([*lines, "", said + "."])


def renewed(page: str, found: dict[str, Any]) -> str:
    """A page with the table of these numbers between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(found)}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder with the clones")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a row's name")
    parser.add_argument("--times", action="store_true", help="of rows that are there, times alone")
    parser.add_argument("--out", type=Path, help="JSON file, whose other rows stay")
    options = parser.parse_args()
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    names = [(one.repository, one.configuration) for one in IMPLEMENTATIONS]
    rows: list[dict[str, Any]] = []
    if options.out is not None and options.out.exists():
        rows = json.loads(options.out.read_text())["rows"]
    measured = False
    for implementation in IMPLEMENTATIONS:
        folder = implementation.folder(options.path)
        if options.only not in f"{implementation.repository} {implementation.configuration}":
            continue
        if folder is None:
            print(f"{implementation.repository}: not in {options.path}", file=sys.stderr)
            continue
        for device in devices:
            row = {"repository": implementation.repository, "device": device.type}
            row["configuration"] = implementation.configuration
            if options.times:
                old = next((old for old in rows if old.items() >= row.items()), None)
                if old is None:
                    print(f"{implementation.repository}: no row of it yet", file=sys.stderr)
                    continue
                _, _, trainers, _, batches = prepare(implementation, folder, device)
                row = old | times(trainers, batches[0], device, options.rounds, options.threads)
            else:
                row = measure(implementation, folder, device, options.rounds, options.threads)
            key = ("repository", "configuration", "device")
            rows = [old for old in rows if any(old[k] != row[k] for k in key)] + [row]
            rows.sort(key=lambda r: names.index((r["repository"], r["configuration"])))
            shown = {k: v for k, v in row.items() if k != "accelerate"}
            print(json.dumps(shown, ensure_ascii=False, indent=1), flush=True)
            if options.out is not None:
                found = {"environment": environment(), "threads": options.threads, "rows": rows}
                text = json.dumps(found, ensure_ascii=False, indent=1)
                options.out.write_text(text + "\n")
                PAGE.write_text(renewed(PAGE.read_text(), found))
            measured = True
    if not measured:
        sys.exit("nothing was measured")


if __name__ == "__main__":
    main()
