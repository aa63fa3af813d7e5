"""A working directory that was deleted, as of a shell left in the folder of a job that is gone."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import int8cal

MAKE = "detectnet_v2 calibration_tensorfile -m 1 -e {spec} -o"


@pytest.fixture
def words_of(tiny_dataset, tmp_path) -> Callable[[str], str]:
    """Put paths in place of ``{spec}``, ``{tensorfile}`` and ``{there}``, a folder that stays."""
    tensorfile = tmp_path / "it.tensor"
    int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=1), tensorfile)
    (tmp_path / "photos").symlink_to(tiny_dataset.images[0].parent)
    (tmp_path / "kitti").mkdir()
    return lambda arguments: arguments.format(spec=tiny_dataset.spec, tensorfile=tensorfile, there=tmp_path)


@pytest.fixture
def in_deleted_folder(words_of, tmp_path, run_cli) -> Callable[[str], Any]:
    """Run int8cal in a folder that is gone."""

    def run(arguments: str) -> Any:
        gone = tmp_path / "gone"
        gone.mkdir()
        return run_cli(*shlex.split(words_of(arguments)), cwd=gone, once_there=gone.rmdir)

    return run


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (f"{MAKE} a.tensor", "a.tensor"),
        (f"{MAKE} sub/a.tensor --resume --shards 2", "sub/a.tensor"),
        (f"{MAKE} {{there}}/out --scratch_dir scratch", "scratch"),
        ("spec update {spec} -o new.txt", "new.txt"),
        ("export {tensorfile} --to npy -o a.npy", "a.npy"),
        ("export {tensorfile} --to raw -o raw", "raw"),
        ("export {tensorfile} --to polygraphy -o loader.py", "loader.py"),
        ("report {tensorfile} -o page.html", "page.html"),
        ("demo --data_only", "int8cal-demo"),
        ("images ../photos -o {there}/out --size 8x8 --resize stretch --scale 1", "photos"),
        ("records ../kitti -o {there}/records", "kitti"),
    ],
)
def test_relative_paths_are_refused_in_two_lines(in_deleted_folder, arguments, named):
    ended = in_deleted_folder(arguments)
    assert ended.code == 2
    what, hint = ended.stderr.splitlines()
    assert named in what
    assert what.endswith("working directory that is gone")
    assert "absolute paths" in hint


@pytest.mark.parametrize(
    "arguments",
    [
        f"{MAKE} {{there}}/out",
        "detectnet_v2 plan -e {spec}",
        "spec check {spec}",
        "inspect {tensorfile}",
        "verify {tensorfile}",
        "doctor --output_dir {there}",
        "networks",
    ],
)
def test_absolute_paths_are_all_that_is_needed(in_deleted_folder, arguments):
    ended = in_deleted_folder(arguments)
    assert (ended.code, ended.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["inspect a.tensor", "verify a.tensor", "spec check spec.txt"])
def test_relative_input_is_not_there(in_deleted_folder, arguments):
    ended = in_deleted_folder(arguments)
    assert ended.code in (3, 6)
    assert len(ended.stderr.splitlines()) == 2


def test_a_process_starts_there(words_of, tmp_path):
    command = f"{shlex.quote(sys.executable)} -m int8cal {words_of(MAKE)} {{there}}/out".format(there=tmp_path)
    script = f'mkdir gone && cd gone && rmdir "$PWD" && {command}'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").exists()
