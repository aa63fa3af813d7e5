"""Commands that are guessed, help that is shown, log files that cannot be, and other command lines."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAKE = "detectnet_v2 calibration_tensorfile -m 1 -e {spec} -o {out}"


@pytest.fixture
def run(run_cli, tiny_dataset, tmp_path) -> Callable[[str], Any]:
    """Run ``int8cal ARGUMENTS``."""

    def run(arguments: str) -> Any:
        words = arguments.format(spec=shlex.quote(str(tiny_dataset.spec)), out=shlex.quote(str(tmp_path / "out")))
        return run_cli(*shlex.split(words))

    return run


def test_values_too_long_to_read_are_shortened(run):
    done = run(f"networks {'x' * 100_000}")
    assert done.code == 2
    assert len(done.stderr) < 3000
    assert "characters)" in done.stderr


@pytest.mark.parametrize("log", ["folder", "/proc/int8cal/run.log", "file/run.log", "pipe"])
def test_log_file_that_cannot_be(run, tmp_path, log):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    done = run(f"{MAKE} --log_file {log}")
    assert done.code == 5
    assert "log file" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("log", ["/dev/full", "/dev/null"])
def test_log_file_that_takes_nothing(run, log):
    done = run(f"{MAKE} --log_file {log} --verbose")
    assert done.code == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", ["", "detectnet_v2"])
def test_without_a_command_the_help_is_shown(run, arguments):
    done = run(arguments)
    assert done.code == 0
    assert done.stdout == run(f"{arguments} --help").stdout
    assert done.stderr == ""


def test_networks_are_sorted_in_the_help(run):
    listing = run("model --help").stdout.partition("Commands:")[2]
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
def test_unknown_commands_are_guessed(run, arguments, meant):
    done = run(arguments)
    assert done.code == 2
    assert meant in done.stderr
    assert "Try: int8cal" in done.stderr


@pytest.mark.parametrize("gpus", ["--gpu_index 0 1", "--gpu-index 0 --gpu-index 1 2"])
def test_lists_of_gpus(run, tmp_path, gpus):
    done = run(MAKE.replace("-m 1", f"{gpus} -m 1"))
    assert done.code == 0, done.stderr
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "is a folder"), (os.mkfifo, "is a named pipe")])
def test_inspect_says_what_is_no_file(run, tmp_path, make, kind):
    make(tmp_path / "it")
    done = run("inspect it")
    assert done.code == 6
    assert f"it: {kind}" in done.stderr
