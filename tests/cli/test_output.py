"""Where the result goes: names are looked at before the work, and file and record come and go together."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import int8cal
from int8cal.errors import OutputError
from int8cal.files import OutputFile

COMMAND = ("detectnet_v2", "calibration_tensorfile", "-m", "1")


class NoWork:
    """Progress of a run that must not begin."""

    def start(self, total_images: int) -> None:
        pytest.fail("work began")

    def advance(self, images: int) -> None:
        pass

    def finish(self) -> None:
        pass


@pytest.fixture
def plan(tiny_dataset):
    return int8cal.plan(tiny_dataset.spec, max_batches=1)


@pytest.fixture
def make(run_cli, tiny_dataset):
    """Run the main job and return what became of it."""
    return lambda out, *options, **kwargs: run_cli(*COMMAND, "-e", tiny_dataset.spec, "-o", out, *options, **kwargs)


def _foreign(path: Path) -> None:
    path.write_text('{"mine": true}')


def _endless(path: Path) -> None:
    path.write_bytes(b'{"schema": 1, "tensorfile": "')
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("plant", [os.mkdir, os.mkfifo])
def test_record_that_cannot_be_written_is_found_before_the_work(plan, tmp_path, plant, overwrite):
    plant(tmp_path / "out.json")
    with pytest.raises(OutputError) as caught:
        int8cal.make(plan, tmp_path / "out", overwrite=overwrite, progress=NoWork())
    assert caught.value.where == str(tmp_path / "out.json")
    assert caught.value.hint
    assert os.listdir(tmp_path) == ["out.json"]


@pytest.mark.parametrize("plant", [_foreign, _endless])
def test_foreign_record_is_found_before_the_work(plan, tmp_path, plant):
    plant(tmp_path / "out.json")
    with pytest.raises(OutputError, match="already exists"):
        int8cal.make(plan, tmp_path / "out", progress=NoWork())
    assert os.listdir(tmp_path) == ["out.json"]


def test_name_that_leaves_no_room_for_that_of_the_record(plan, tmp_path):
    with pytest.raises(OutputError, match="File name too long"):
        int8cal.make(plan, tmp_path / ("n" * 252), progress=NoWork())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("out", ["", "new/", "."])
def test_names_that_no_file_has(make, tmp_path, out):
    done = make(out)
    assert done.code == 5
    assert "is not the name of a file" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_device(make, options):
    done = make("/dev/null", *options)
    assert done.code == 5
    assert "/dev/null: is no regular file but a device" in done.stderr
    assert Path("/dev/null").is_char_device()


def test_orphaned_record_of_a_killed_run_is_replaced(plan, tmp_path):
    out = tmp_path / "out"
    int8cal.make(plan, out)
    out.unlink()  # as when the process dies between the two names
    manifest = int8cal.make(plan, out)
    assert json.loads((tmp_path / "out.json").read_text())["run"]["started"] == manifest.run["started"]


def test_no_record_without_its_tensorfile(plan, tmp_path, monkeypatch):
    commit = OutputFile.commit

    def taken(self: OutputFile) -> None:
        if not self.path.endswith(".json"):
            raise OutputError("taken")
        commit(self)

    monkeypatch.setattr(OutputFile, "commit", taken)
    with pytest.raises(OutputError, match="taken"):
        int8cal.make(plan, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_disk_that_is_full_when_the_record_is_written(plan, tmp_path, monkeypatch):
    prepare = OutputFile.prepare

    def full(self: OutputFile) -> None:
        if self.path.endswith(".json"):
            raise OutputError("full")
        prepare(self)

    monkeypatch.setattr(OutputFile, "prepare", full)
    with pytest.raises(OutputError, match="full"):
        int8cal.make(plan, tmp_path / "out")
    assert os.listdir(tmp_path) == []
