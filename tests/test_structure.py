"""The house: which room may import which, how the package is laid out, how quickly it imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import drawgan_fast

PACKAGE = Path(drawgan_fast.__file__).parent

# From the ground up; a room imports only rooms of its own floor's name or of floors below.
FLOORS: list[set[str]] = [
    {"_version", "_matplotlib", "errors", "files", "attention_spec", "draw_config", "sizes"},
    {"reference", "_native"},
    {"window_map"},
    {"kernels"},
    {"backends"},
    {"ops"},
    {"functional"},
    {"nn"},
    {"losses"},
    {"models"},
    {"data"},
    {"metrics", "viz"},
    {"training", "compat"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# They take tensors and callables, so they know no model.
WITHOUT_MODELS = {"data", "metrics", "viz"}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported_rooms(tree: ast.Module, *, at_import: bool = False) -> set[str]:
    """Rooms that a file imports; with ``at_import`` only those outside TYPE_CHECKING blocks."""
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "drawgan_fast":
                known = len(parts) > 1 and parts[1] in FLOOR
                rooms.add(parts[1] if known else "__init__")
    return rooms


SOURCES = sorted(p for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR, f"{path} is in a room that no floor names"
    for other in imported_rooms(ast.parse(path.read_text())) - {room}:
        if other == "__init__":  # the package's own front door: version and public names
            assert FLOOR[room] >= FLOOR["training"], f"{room} imports the package's front door"
            continue
        same_floor = FLOOR[other] == FLOOR[room]
        allowed = FLOOR[other] < FLOOR[room] or (same_floor and FLOOR[room] == 0)
        assert allowed, f"{room} imports {other}, which is not below it"
        assert not (room in WITHOUT_MODELS and other == "models"), f"{room} knows models"


def test_the_floors_notice_a_wrong_import() -> None:
    wrong = ast.parse("from drawgan_fast.ops import attention_read")
    assert imported_rooms(wrong) == {"ops"}
    assert FLOOR["ops"] > FLOOR["reference"]


def test_kernels_install_inside_the_package() -> None:
    code = "import drawgan_fast.kernels, importlib.util as u; print(u.find_spec('kernels'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == "None"


def test_import_is_quick_and_light() -> None:
    """No heavy library, no CUDA context, and at most half of torch's own import time on top."""
    code = (
        "import sys, time, torch; t = time.perf_counter(); import drawgan_fast;"
        "print(time.perf_counter() - t);"
        "heavy = {'matplotlib', 'scipy', 'sklearn', 'tensorboard', 'torchmetrics', 'pooch',"
        " 'pydantic', 'typer', 'rich', 'PIL', 'triton'} & set(sys.modules);"
        "print(sorted(heavy), torch.cuda.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, state = done.stdout.splitlines()
    # torch itself may bring triton or sympy; nothing of ours may.
    torch_only = subprocess.run(
        [sys.executable, "-c", "import sys, torch; print('triton' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = "['triton'] False" if "True" in torch_only.stdout else "[] False"
    assert state == expected
    assert float(seconds) < 2.0


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 450, f"{path.name} is looking for its second room"
