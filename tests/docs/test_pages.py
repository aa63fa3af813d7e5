"""Links lead somewhere, generated pages are fresh, every page is in a table of contents."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .markdown import PAGES, REPOSITORY, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page}: {link}"


def test_generated_pages_are_fresh() -> None:
    command = [sys.executable, "tools/generate_docs.py", "--check"]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.relative_to(REPOSITORY)
        if name.parts[0] == "docs" and name.name != "index.md":
            assert str(name.relative_to("docs").with_suffix("")) in index, name


def codes_of_findings() -> set[str]:
    """Every code of a finding about a file or a model, read from the source."""
    calls = (
        node
        for path in (REPOSITORY / "src/int8cal").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    levels = ("level", "code", "message", "hint")
    return {
        call.args[1].value
        for call in calls
        if isinstance(call.func, ast.Name)
        and call.func.id == "Finding"
        and len(call.args) == len(levels)
        and isinstance(call.args[1], ast.Constant)
    }


def test_every_finding_is_explained_once() -> None:
    page = (REPOSITORY / "docs/explanation/what-goes-wrong.md").read_text(encoding="utf-8")
    _, _, tables = page.partition("## What each finding means")
    rows = [row.split("|")[1] for row in tables.partition("\n## ")[0].splitlines() if row.startswith("| `")]
    explained = [code.strip(" `") for row in rows for code in row.split(",")]
    assert sorted(explained) == sorted(codes_of_findings())
