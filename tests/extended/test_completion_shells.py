"""Completion in zsh and fish, which are Debian's packages of these names; that in bash is among the other tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.cli.test_terminal import on_terminal

pytestmark = pytest.mark.extended


@pytest.fixture
def environment(tmp_path):
    """One in which ``int8cal`` is a command."""
    program = tmp_path / "bin" / "int8cal"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m int8cal "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


def test_fish(environment, tmp_path):
    script = (
        'int8cal completion fish | source; complete -C "int8cal detect"; complete -C "int8cal quantize --method en"'
    )
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["detectnet_v2", "entropy"]
    assert "Traceback" not in done.stderr


def test_zsh(environment, tmp_path):
    (tmp_path / ".zshrc").write_text(
        "unsetopt zle_bracketed_paste 2>/dev/null\nautoload -Uz compinit && compinit -u\n"
        'eval "$(int8cal completion zsh)"\nPS1="ready> "\n'
    )
    shown = on_terminal(
        ["zsh", "-i"],
        b"int8cal comple\t\n",
        b"Usage",
        {**environment, "ZDOTDIR": str(tmp_path)},
        tmp_path,
        ready=b"ready> ",
    )
    assert b"int8cal completion" in shown
    assert b"Traceback" not in shown
