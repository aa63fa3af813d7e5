"""Fenced blocks, headings and links of the project's pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "_build" not in page.parts]

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, line in the page, and why it is not run (None: it is)."""

    language: str
    text: str
    line: int
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """Fenced blocks in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match["language"], match["text"], text[: match.start("text")].count("\n") + 1, match["reason"])
        for match in _BLOCK.finditer(text)
    ]


def without_blocks(page: Path) -> str:
    """The page's prose."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """Targets of the page's links."""
    return (match[1] for match in _LINK.finditer(without_blocks(page)))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST form them."""
    headings = (match[1] for match in _HEADING.finditer(without_blocks(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
