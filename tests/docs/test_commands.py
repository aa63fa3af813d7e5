"""Every command and every Python example of the pages is run, in order, in a folder of the page's own.

In a ``console`` block the lines after ``$ `` are commands; the others are output that must come, where ``…`` stands for
anything. A block that cannot be run says why in a comment above it: ``<!-- not run: reason -->``. What the README says
is typed into a shell word for word; on the other pages, Python and plain commands of int8cal run within this process.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .markdown import PAGES, REPOSITORY, Block, blocks

RUNNABLE = {"console", "bash", "python"}
KNOWN = RUNNABLE | {"text", "json", "toml", "yaml"}

PAGES_THAT_RUN = [
    page for page in PAGES if any(block.language in RUNNABLE and not block.reason for block in blocks(page))
]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


README = REPOSITORY / "README.md"
OF_ONE_SHELL = re.compile(r"^(for|if|while|do|done|cd|export|[A-Za-z_]+=)\b|<<|\$\?|^[^'\"]*[(){}]")
SHELL_SYNTAX = re.compile(r"[|&;<>$`*?~(){}#\\]")


def shell(command: str, folder: Path, place: str) -> str:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{place}: exit code {finished.returncode}\n{finished.stdout}{finished.stderr}"
    return finished.stdout + finished.stderr


def lines_of(text: str) -> list[str] | None:
    """The commands of a text, one to a line, comments left out; None: they are for one shell, which remembers."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(^|\s)#.*", "", text))
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return None if any(OF_ONE_SHELL.search(line) for line in lines) else lines


def run_console(block: Block, run: Callable[[str], str], place: str) -> None:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        output = squeezed(run(command))
        for line in expected.splitlines():
            pattern = ".*".join(map(re.escape, squeezed(line).split("…")))
            assert re.search(pattern, output), f"{place}: {command}\nno line {line!r} in:\n{output}"


def squeezed(text: str) -> str:
    return re.sub(r"[ \t]+", " ", text)


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=name_of)
def test_examples(page: Path, tmp_path: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        place = f"{name_of(page)}:{block.line}"
        if block.reason or block.language not in RUNNABLE:
            continue

        def run(text: str, place: str = place) -> str:
            lines = lines_of(text)
            if page == README or lines is None:
                return shell(text, tmp_path, place)
            return "".join(run_line(line, place) for line in lines)

        def run_line(command: str, place: str) -> str:
            if not command.startswith("int8cal ") or SHELL_SYNTAX.search(command):
                return shell(command, tmp_path, place)
            done = run_cli(*shlex.split(command)[1:], env={"COLUMNS": "100"})
            assert done.code == 0, f"{place}: exit code {done.code}\n{done.stdout}{done.stderr}"
            return f"{done.stdout}{done.stderr}"

        if block.language == "console":
            run_console(block, run, place)
        elif block.language == "bash":
            run(block.text)
        elif page == README:
            shell(f"{shlex.quote(sys.executable)} -W error -c {shlex.quote(block.text)}", tmp_path, place)
        else:
            exec(compile(block.text, place, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=name_of)
def test_samples_are_what_a_reader_can_type_and_see(page: Path) -> None:
    """Output is shown as it is, but for folders and hashes that differ; no command closes the reader's shell."""
    for block in blocks(page):
        if block.language == "console":
            output = [line for line in block.text.splitlines() if not line.startswith("$ ")]
            assert not any(re.search(r"\s…|…\s", line) for line in output), f"{name_of(page)}:{block.line}"
        assert not re.search(r"^\s*exit \d", block.text, re.MULTILINE), f"{name_of(page)}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_are_of_a_known_language(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= KNOWN
    assert page.read_text(encoding="utf-8").count("\n```") % 2 == 0


def test_the_readme_and_the_tutorial_are_among_the_pages_that_run() -> None:
    assert {"README.md", "docs/tutorial.md"} <= {name_of(page) for page in PAGES_THAT_RUN}
