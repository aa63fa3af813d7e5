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


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("int8cal comple\t\n", b"int8cal completion --help"), ("int8cal quantize --method en\t", b"entropy")],
)
def test_the_key_in_zsh(environment, tmp_path, typed, shown):
    lines = ["PS1='ready> '", "autoload -Uz compinit", "compinit -u -D", 'eval "$(int8cal completion zsh)"']
    (tmp_path / ".zshrc").write_text("\n".join(lines) + "\n")
    env = {**environment, "ZDOTDIR": str(tmp_path)}
    told = on_terminal(["zsh", "-d", "-i"], typed.encode(), shown, env, tmp_path, ready=b"ready> ")
    assert b"Traceback" not in told
