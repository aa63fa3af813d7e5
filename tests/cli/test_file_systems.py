"""Runs on file systems that lack something, or fail: exit codes, what is said, and what is left."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import lmdb
import pytest
from tests.pictures import encode, pixels

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
    assert ("Make it readable" in done.stderr) == ((number, moment) == (errno.EACCES, "open"))
    skipping = make("--on_bad_image", "skip", "--max_skipped", "1")
    assert skipping.code == 4
    assert "more than 1 images are bad" in skipping.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("moment", ["open", "read"])
def test_what_the_system_lacks_is_not_the_images_fault(make, monkeypatch, number, moment):
    real = paths.open_regular

    def lacking(path: str, **options: Any) -> Any:
        if not path.endswith((".jpg", ".png")):
            return real(path, **options)
        file = io.BytesIO()
        file.fileno = failing(number)  # type: ignore[method-assign]
        return file if moment == "read" else failing(number)()

    monkeypatch.setattr(paths, "open_regular", lacking)
    done = make("--on_bad_image", "skip", "--max_skipped", "9")
    assert done.code == 10
    assert "not enough memory" in done.stderr or "too many open files" in done.stderr
    assert "ulimit" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def frames_in_hdf5(folder: Path) -> str:
    """A spec for RT-DETR of frames in an HDF5 file."""
    names = [f"f{number}" for number in range(8)]
    (folder / "d").mkdir()
    with h5py.File(folder / "d" / "film.h5", "w") as file:
        for name in names:
            file[f"rgb/{name}"] = pixels(24, 32)
    images = [{"id": i, "file_name": f"h5://film:{name}", "width": 32, "height": 24} for i, name in enumerate(names)]
    (folder / "d.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    )
    source = "{image_dir: d, json_file: d.json}"
    size = "augmentation: {eval_spatial_size: [24, 32]}"
    export = "export: {input_height: 24, input_width: 32}\n"
    return f"{export}dataset: {{train_data_sources: [{source}], val_data_sources: {source}, batch_size: 4, {size}}}\n"


def words_in_lmdb(folder: Path) -> str:
    """A spec for OCRNet of images in an LMDB."""
    (folder / "d").mkdir()
    with lmdb.open(str(folder / "d"), map_size=1 << 20) as database, database.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"8")
        for number in range(1, 9):
            transaction.put(b"image-%09d" % number, encode(pixels(32, 64)))
            transaction.put(b"label-%09d" % number, b"abc")
    (folder / "characters").write_text("a\nb\nc\n")
    dirs = "train_dataset_dir: [d], train_gt_file: null, val_dataset_dir: d, val_gt_file: null"
    return (
        "model: {input_height: 32, input_width: 64, input_channel: 1}\n"
        f"dataset: {{{dirs}, character_list_file: characters, batch_size: 4}}\n"
    )


@pytest.mark.parametrize(
    ("network", "spec_of"),
    [("detectnet_v2", None), ("rtdetr", frames_in_hdf5), ("ocrnet", words_in_lmdb)],
    ids=["files", "hdf5", "lmdb"],
)
def test_too_few_open_files_never_cost_an_image(tiny_dataset, tmp_path, network, spec_of):
    """Of those that a process may have, the interpreter takes five; with the most that is tried the run is whole."""
    options, spec = ("--split", "val"), tmp_path / "spec.yaml"
    if spec_of:
        spec.write_text(spec_of(tmp_path))
    else:
        options, spec = (), tiny_dataset.spec
    command = (sys.executable, "-m", "int8cal", network, "calibration_tensorfile", "-m", "1", "-e", str(spec), *options)
    codes = []
    for most in range(6, 40):
        ends = ("-o", f"out{most}", "--workers", "2", "--on_bad_image", "skip", "--max_skipped", "9")
        limited = ("sh", "-c", f'ulimit -n {most} && exec "$@"', "sh", *command, *ends)
        done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
        codes.append(done.returncode)
        assert "skipped" not in done.stderr
        if not done.returncode:
            break
        assert "too many open files" in done.stderr.lower() or "a library cannot be loaded" in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr
    assert set(codes) <= {8, 10, 0}
    assert 10 in codes
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
