"""Closed, full and deserted standard streams, and what is said about it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest

MAKE = "detectnet_v2 calibration_tensorfile -m 1 -e {spec} -o {out}"


@pytest.fixture
def shell(tiny_dataset, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``int8cal ARGUMENTS REDIRECTIONS`` in a shell, whose exit code is that of int8cal, pipes or not."""

    def run(arguments: str, redirections: str) -> subprocess.CompletedProcess[str]:
        words = arguments.format(spec=shlex.quote(str(tiny_dataset.spec)), out=shlex.quote(str(tmp_path / "out")))
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {shlex.quote(sys.executable)} -m int8cal {words} {redirections}"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "redirections"),
    [
        *((MAKE, redirections) for redirections in (">&-", "<&- >&- 2>&-", "2>/dev/full", "| true")),
        *(("--help", redirections) for redirections in (">&- 2>&-", "2>&-", "| true")),
    ],
)
def test_streams_that_nobody_reads(shell, tmp_path, arguments, redirections):
    done = shell(arguments, redirections)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "out").exists() == (arguments == MAKE)


@pytest.mark.parametrize("arguments", ["networks --json", "model --help"])
def test_reader_that_has_seen_enough(shell, arguments):
    done = shell(arguments, "| head -1")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_a_reader_that_has_seen_enough_does_not_turn_an_error_into_success(shell, tmp_path):
    assert shell(MAKE, "").returncode == 0
    path = tmp_path / "out"
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1
    path.write_bytes(content)
    assert shell("verify {out}", "").returncode == 6
    for _ in range(3):  # whoever is first
        assert shell("verify {out}", "| true").returncode == 6
    assert shell("inspect nosuch --json", "| true").returncode == 6


@pytest.mark.parametrize("redirections", [">/dev/full 2>&-", "2>&-", "2>/dev/full"])
def test_exit_code_is_right_when_nothing_can_be_said(shell, redirections):
    assert shell("inspect nosuchfile", redirections).returncode == 6


@pytest.mark.parametrize("arguments", ["networks", "--help", "inspect nosuch --json"])
def test_full_standard_output(shell, arguments):
    done = shell(arguments, ">/dev/full")
    assert done.returncode == 5
    assert done.stderr.splitlines()[0] == "int8cal: error: standard output: cannot be written: No space left on device"
    assert len(done.stderr.splitlines()) == 2


def test_full_standard_output_of_a_finished_run(shell, tmp_path):
    done = shell(MAKE, ">/dev/full")
    assert done.returncode == 5
    assert done.stderr.splitlines()[1].strip() == f"The work is done: {tmp_path / 'out'} is complete."
    assert (tmp_path / "out").exists()


def test_log_file_that_is_a_stream(shell):
    assert shell(f"{MAKE} --log_file /dev/stderr", "").returncode == 0
