"""The code of the tutorials and of the page on drop-in use runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drawgan_fast import record_backends

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), DOCS / "drop_in.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path, text: str) -> int:
    """Run a page's blocks in one namespace; lines are counted as in the page. Returns how many."""
    space = {"__name__": "__main__"}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        above = text[: block.start(1)].count("\n")
        exec(compile("\n" * above + block[1], str(page), "exec"), space)
    return len(blocks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page: Path) -> None:
    with record_backends() as ran:
        assert run(page, page.read_text()) >= 1
    assert ran, "the page never used an operator"


def test_a_page_that_is_wrong_fails() -> None:
    """The seeded bug: a claim that does not hold, in the line where it stands."""
    text = "Text.\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n"
    with pytest.raises(AssertionError) as error:
        run(Path("page.md"), text)
    assert error.traceback[-1].lineno == 7
