"""The page of JSON output names every key that its commands print, and none that they do not."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .markdown import REPOSITORY, blocks

PAGE = REPOSITORY / "docs" / "reference" / "json.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def sections() -> Iterator[tuple[str, str, set[str]]]:
    """Title, command and the keys of the table."""
    for title, text in SECTION.findall(PAGE.read_text(encoding="utf-8")):
        command = re.search(r"^int8cal (.+) --json$", text, re.MULTILINE)
        listed = [row.strip("| ").split(" | ")[0] for row in text.splitlines() if row.startswith("| `")]
        keys = set(re.findall(r"`([^`]+)`", " ".join(listed)))
        yield title, command[1] if command else "cache show no.bin", keys


def paths(value: Any, keys: set[str], at: str = "") -> Iterator[str]:
    """Paths of all that is in an object, as deep as the page goes."""
    below = [key for key in keys if key.startswith((f"{at}.", f"{at}[]."))] if at else keys
    if isinstance(value, dict) and (below or not at):
        names = any(key.startswith(f"{at}.NAME") for key in below)
        for name, item in value.items():
            yield from paths(item, keys, f"{at}.{'NAME' if names else name}" if at else name)
    elif isinstance(value, list) and below:
        for item in value:
            yield from paths(item, keys, f"{at}[]")
    else:
        yield at


def test_every_key_is_explained(run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(blocks(PAGE)[0].text, {"__name__": "__main__"})

    for title, command, keys in sections():
        found = json.loads(run_cli(*shlex.split(command), "--json").stdout)
        assert found.pop("schema") == 1
        assert set(paths(found, keys)) == keys, title
