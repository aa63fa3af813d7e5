"""Closed, full and deserted standard streams, log files that cannot be, and what is said about it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def test_values_too_long_to_read_are_shortened(shell):
    done = shell(f"networks {'x' * 100_000}", "")
    assert done.returncode == 2
    assert len(done.stderr) < 3000
    assert "characters)" in done.stderr


@pytest.mark.parametrize("log", ["folder", "/proc/int8cal/run.log", "file/run.log", "pipe"])
def test_log_file_that_cannot_be(shell, tmp_path, log):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    done = shell(f"{MAKE} --log_file {log}", "")
    assert done.returncode == 5
    assert "log file" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("log", ["/dev/null", "/dev/stderr"])
def test_log_file_that_is_a_stream(shell, log):
    assert shell(f"{MAKE} --log_file {log}", "").returncode == 0


def test_log_file_on_a_full_disk_is_given_up(shell):
    done = shell(f"{MAKE} --log_file /dev/full --verbose", "")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["", "detectnet_v2"])
def test_without_a_command_the_help_is_shown(shell, arguments):
    done = shell(arguments, "")
    assert done.returncode == 0
    assert done.stdout == shell(f"{arguments} --help", "").stdout
    assert done.stderr == ""


def test_networks_are_sorted_in_the_help(shell):
    listing = shell("model --help", "").stdout.partition("Commands:")[2]
    names = [line.split()[0] for line in listing.splitlines() if line.startswith("  ") and line[2:3].strip()]
    assert len(names) > 3
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("model detectnet2 plan", "did you mean 'detectnet_v2'?"),
        ("detectnet_v2 calibration_tensorfil", "did you mean 'calibration_tensorfile'?"),
        ("inspekt x", "did you mean 'inspect'?"),
        ("zzz", "see: int8cal networks"),
    ],
)
def test_unknown_commands_are_guessed(shell, arguments, meant):
    done = shell(arguments, "")
    assert done.returncode == 2
    assert meant in done.stderr
    assert "Try: int8cal" in done.stderr


@pytest.mark.parametrize("gpus", ["--gpu_index 0 1", "--gpu-index 0 --gpu-index 1 2"])
def test_lists_of_gpus(shell, tmp_path, gpus):
    done = shell(MAKE.replace("-m 1", f"{gpus} -m 1"), "")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "is a folder"), (os.mkfifo, "is a named pipe")])
def test_inspect_says_what_is_no_file(shell, tmp_path, make, kind):
    make(tmp_path / "it")
    done = shell("inspect it", "")
    assert done.returncode == 6
    assert f"it: {kind}" in done.stderr
