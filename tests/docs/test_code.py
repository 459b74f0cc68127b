"""Every block of Python on the site and in the README runs, page by page."""

import pathlib
import re

import jax
import pytest

ROOT = pathlib.Path(__file__).parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if "api" not in path.parts
]


def blocks_of(page: pathlib.Path) -> list[tuple[int, str]]:
    """The line and the code of each block that is not a doctest."""
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        if ">>>" not in match[1]:
            found.append((text[: match.start()].count("\n") + 1, match[1]))
    return found


WITH_CODE = [page for page in PAGES if blocks_of(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for line, code in blocks_of(page):
            blank = "\n" * line  # so that a traceback names the line of the page
            exec(compile(blank + code, str(page), "exec"), names)


def test_pages_with_code_are_found():
    assert ROOT / "README.md" in WITH_CODE
    assert len(WITH_CODE) > 4
