"""Runs on file systems that lack something, or fail: exit codes, what is said, and what is left."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from int8cal.io import locks
from int8cal.samples import encoded, paths


def failing(number: int) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def make(run_cli, tiny_dataset, monkeypatch):
    monkeypatch.setattr(locks, "_warned_of", set())
    command = ("detectnet_v2", "calibration_tensorfile", "-m", "1", "-e", tiny_dataset.spec, "-o", "folder/out")
    return lambda *options: run_cli(*command, *options)


@pytest.mark.parametrize("options", [(), ("--scratch_dir", "scratch"), ("--shards", "1"), ("--resume",)])
def test_without_locks_links_renames_fsync_and_sizes(make, tmp_path, monkeypatch, options):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOSYS))
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "rename", failing(errno.ENOSYS))
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=0, used=0, free=0))
    done = make(*options)
    assert done.code == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "int8cal: warning: this file system has no locks" in done.stderr
    left = sorted(os.listdir(tmp_path / "folder"))
    assert left[0] == "out"
    assert left[-1] == "out.json"
    assert len(left) == 2 + ("--shards" in options)
    assert not [name for name in left if name.startswith(".")]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_output_that_the_disk_refuses(make, tmp_path, monkeypatch, number, call):
    monkeypatch.setattr(os, call, failing(number))
    done = make()
    assert done.code == 5
    assert f"cannot finish the file: {os.strerror(number)}" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("moment", ["open", "read"])
def test_images_that_the_disk_refuses(make, tmp_path, monkeypatch, number, moment):
    real = encoded.open_data_file

    class Failing(io.BytesIO):
        def fileno(self) -> int:
            raise OSError(number, os.strerror(number))

    def refused(path: str, what: str, *arguments: Any, **options: Any) -> Any:
        if what == "image file" and moment == "read":
            return Failing()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("int8cal.samples.paths.open_regular", failing(number))
            return real(path, what, *arguments, **options)

    monkeypatch.setattr(encoded, "open_data_file", refused)
    done = make()
    assert done.code == 4
    assert os.strerror(number) in done.stderr
    assert len(done.stderr.splitlines()) == 2
    skipping = make("--on_bad_image", "skip", "--max_skipped", "1")
    assert skipping.code == 4
    assert "more than 1 images are bad" in skipping.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOMEM, 10), (errno.EMFILE, 8), (errno.ENFILE, 8)])
@pytest.mark.parametrize("moment", ["open", "read"])
def test_what_the_system_lacks_is_not_the_images_fault(make, monkeypatch, number, code, moment):
    real = paths.open_regular

    def lacking(path: str, **options: Any) -> Any:
        if not path.endswith((".jpg", ".png")):
            return real(path, **options)
        file = io.BytesIO()
        file.fileno = failing(number)  # type: ignore[method-assign]
        return file if moment == "read" else failing(number)()

    monkeypatch.setattr(paths, "open_regular", lacking)
    done = make("--on_bad_image", "skip", "--max_skipped", "9")
    assert done.code == code
    assert os.strerror(number) in done.stderr
    assert "ulimit" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_too_few_open_files_never_cost_an_image(tiny_dataset, tmp_path):
    """Of those that a process may have, the interpreter takes five; with the most that is tried the run is whole."""
    command = f"{sys.executable} -m int8cal detectnet_v2 calibration_tensorfile -m 1 -e {tiny_dataset.spec}"
    codes = []
    for most in range(6, 40):
        limited = f"ulimit -n {most} && exec {command} -o out{most} --workers 2 --on_bad_image skip --max_skipped 9"
        done = subprocess.run(["sh", "-c", limited], cwd=tmp_path, capture_output=True, text=True, check=False)
        codes.append(done.returncode)
        if not done.returncode:
            assert done.stderr == ""
            break
        assert os.strerror(errno.EMFILE) in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr
    assert set(codes) <= {5, 8, 0}
    assert 8 in codes
    assert codes[-1] == 0


@pytest.mark.parametrize("replace", ["link", "folder"])
def test_output_that_is_replaced_during_the_run(make, tmp_path, monkeypatch, replace):
    from int8cal.tensorfile.writer import TensorFileWriter

    real = TensorFileWriter.finish

    def replaced(self: TensorFileWriter, *arguments: Any) -> Any:
        result = real(self, *arguments)
        if replace == "link":
            (tmp_path / "victim").write_bytes(b"precious")
            (tmp_path / "folder" / ".out.part").unlink()
            (tmp_path / "folder" / ".out.part").symlink_to(tmp_path / "victim")
        else:
            (tmp_path / "folder").rename(tmp_path / "moved")
            (tmp_path / "folder").mkdir()
        return result

    monkeypatch.setattr(TensorFileWriter, "finish", replaced)
    done = make()
    assert done.code == 5, done.stderr
    if replace == "link":
        assert "temporary file was removed or replaced" in done.stderr
        assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "folder" / "out").exists()
    assert not (tmp_path / "folder" / "out.json").exists()
    if replace == "folder":
        assert os.listdir(tmp_path / "folder") == []
