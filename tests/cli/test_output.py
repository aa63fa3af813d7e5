"""Where the result goes: names are looked at before the work, and file and record come and go together."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.pictures import encode, pixels

import int8cal
from int8cal.demo.evaluate import CLASSIFIER
from int8cal.errors import OutputError
from int8cal.io.files import OutputFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.shards import TensorFileOutput

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


@pytest.mark.parametrize("out", ["new/", "."])
def test_names_that_no_file_has(make, tmp_path, out):
    done = make(out)
    assert done.code == 5
    assert "is not the name of a file" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_device(make, options):
    done = make("/dev/null", *options)
    assert done.code == 5
    assert "/dev/null: is not a regular file but a device" in done.stderr
    assert Path("/dev/null").is_char_device()


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("engine", ["native", "ray", "tao"])
@pytest.mark.parametrize("victim", ["*.txt", "training/image_2/*.png", "tfrecords/*"])
def test_overwrite_replaces_no_input(make, tiny_dataset, tmp_path, victim, engine):
    shutil.copytree(tiny_dataset.root, tmp_path, dirs_exist_ok=True)
    victim = next(tmp_path.glob(victim))
    (tmp_path / "detectnet_v2").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "detectnet_v2").chmod(0o755)
    before = _contents(tmp_path)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = make(victim, "--overwrite", "--engine", engine, env=path)
    assert done.code == 5, done.stderr
    assert f"{victim}: is not a tensorfile, and --overwrite replaces nothing else" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert _contents(tmp_path) == before


def test_overwrite_replaces_a_tensorfile_and_an_empty_file_but_no_foreign_record(make, tmp_path):
    (tmp_path / "out").touch()
    assert make("out", "--overwrite").code == 0
    first = (tmp_path / "out").read_bytes()
    assert make("out", "--overwrite", "--seed", "3").code == 0
    assert (tmp_path / "out").read_bytes() != first
    (tmp_path / "labels.json").write_text('{"images": []}')
    done = make("labels", "--overwrite")
    assert done.code == 5
    assert "labels.json: is not the record of a run" in done.stderr
    assert (tmp_path / "labels.json").read_text() == '{"images": []}'


def test_overwrite_replaces_no_model_in_hdf5(make, tmp_path):
    with h5py.File(tmp_path / "pretrained.hdf5", "w") as file:
        file["model_weights/conv1"] = np.zeros(3)
    before = _contents(tmp_path)
    done = make("pretrained.hdf5", "--overwrite")
    assert done.code == 5
    assert "pretrained.hdf5: is not a tensorfile, and --overwrite replaces nothing else" in done.stderr
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("options", [(), ("--shards", "2")])
def test_overwrite_replaces_a_tensorfile_that_was_cut_off(make, tmp_path, options):
    assert make("out", "-m", "-1", *options).code == 0
    os.truncate(tmp_path / "out", os.path.getsize(tmp_path / "out") // 2)
    assert make("out", "--overwrite").code == 0


def test_parts_replace_nothing(make, tmp_path):
    assert make("out", "--shards", "1").code == 0
    (part,) = tmp_path.glob("out-*")
    content = part.read_bytes()
    part.write_bytes(b"precious")
    (tmp_path / "out").unlink()
    done = make("out", "--shards", "1")
    assert done.code == 5
    assert f"{part.name}: already exists" in done.stderr
    assert part.read_bytes() == b"precious"
    assert not (tmp_path / "out").exists()

    part.write_bytes(content)  # what a run leaves that dies while its parts get their names
    assert make("out", "--shards", "1").code == 0
    assert part.read_bytes() == content


def test_results_do_not_replace_what_they_are_made_from(plan, tiny_dataset, tmp_path, run_cli):
    made, spec = tmp_path / "out", tmp_path / "spec.txt"
    int8cal.make(plan, made)
    shutil.copy(tiny_dataset.spec, spec)
    before = _contents(tmp_path)
    for arguments in (
        ("export", made, "--to", "npy", "-o", made),
        ("export", made, "--to", "polygraphy", "-o", made),
        ("report", made, "-o", made),
        ("report", made, "-e", spec, "-o", spec),
        ("spec", "update", spec, "--num_epochs", "3", "-o", spec),
    ):
        done = run_cli(*arguments, "--overwrite")
        assert done.code == 5, (arguments, done.stderr)
        assert "is a file that the result is made from" in done.stderr
        assert _contents(tmp_path) == before


@pytest.mark.parametrize("to", ["npy", "npz", "polygraphy", "tensorfile", "report"])
def test_results_replace_files_of_their_kind_only(plan, tiny_dataset, tmp_path, run_cli, to):
    made, picture = tmp_path / "made", tmp_path / "000000.png"
    int8cal.make(plan, made)
    shutil.copy(next(tiny_dataset.root.glob("training/image_2/*.png")), picture)
    command = ("report", made) if to == "report" else ("export", made, "--to", to)
    before = picture.read_bytes()
    done = run_cli(*command, "-o", picture, "--overwrite")
    assert done.code == 5, done.stderr
    assert "000000.png: is not a" in done.stderr
    assert "--overwrite replaces nothing else" in done.stderr
    assert picture.read_bytes() == before
    for _ in range(2):  # the second replaces the first
        assert run_cli(*command, "-o", tmp_path / "result", "--overwrite").code == 0


def test_results_do_not_replace_a_part_of_what_they_are_made_from(tiny_dataset, tmp_path, run_cli):
    made = tmp_path / "made"
    int8cal.make(int8cal.plan(tiny_dataset.spec), made, shards=2)
    with int8cal.TensorFile(made) as file:
        head, *parts = file.paths
        assert head == str(made)
        assert len(parts) == 2
    before = _contents(tmp_path)
    for part in parts:
        done = run_cli("export", made, "--to", "tensorfile", "-o", part, "--overwrite")
        assert done.code == 5
        assert "is a file that the result is made from" in done.stderr
    assert _contents(tmp_path) == before


@pytest.fixture
def precious(tmp_path, tiny_dataset):
    """Files of all kinds that somebody may want to keep."""
    folder = tmp_path / "precious"
    folder.mkdir()
    shutil.copy(tiny_dataset.spec, folder / "spec.txt")
    shutil.copy(next(tiny_dataset.root.glob("training/image_2/*.png")), folder / "picture.png")
    shutil.copy(next(tiny_dataset.root.glob("tfrecords/*")), folder / "records.tfrecord")
    shutil.copy(CLASSIFIER, folder / "model.onnx")
    (folder / "labels.json").write_text('{"version": 1, "images": []}')
    (folder / "notes.txt").write_text("Remember: the milk")
    (folder / "cal.bin").write_text("TRT-100300-EntropyCalibration2\nx: 3c010204\n")
    return folder


@pytest.fixture
def tensor(tmp_path):
    """A tensorfile for the demo's classifier, in parts."""
    path = tmp_path / "cal.tensor"
    encoder = Compression.named("none")
    with TensorFileOutput(str(path), shards=2) as output:
        with output.writer((4, 3, 64, 64), encoder, 2) as writer:
            for image in np.random.default_rng(0).random((8, 3, 64, 64), np.float32):
                writer.append(encoder.encode(image))
            writer.finish({}, ())
        output.commit()
    return path


@pytest.mark.parametrize(
    ("command", "replaced"),
    [
        (("quantize", CLASSIFIER, "TENSOR", "--no_agreement", "-o"), {"model.onnx"}),
        (
            (
                *("quantize", CLASSIFIER, "TENSOR", "--no_agreement", "-o", "new"),
                *("--trt_version", "10.3.0", "--trt_cache"),
            ),
            {"cal.bin"},
        ),
        (("cache", "convert", "own.bin"), {"cal.bin"}),
        (("spec", "update", "own.txt", "--num_epochs", "3", "-o"), {"spec.txt"}),
    ],
)
def test_overwrite_replaces_files_of_the_kind_alone(
    command, replaced, precious, tensor, tiny_dataset, tmp_path, run_cli
):
    shutil.copy(tiny_dataset.spec, tmp_path / "own.txt")
    shutil.copy(precious / "cal.bin", tmp_path / "own.bin")
    command = [tensor if word == "TENSOR" else word for word in command]
    for path in precious.iterdir():
        before = path.read_bytes()
        done = run_cli(*command, path, "--overwrite")
        if path.name in replaced:
            assert done.code == 0, done.stderr
            assert run_cli(*command, path, "--overwrite").code == 0  # what it has written itself
        else:
            assert done.code == 5, (path, done.stderr)
            assert f"{path.name}: is not a" in done.stderr
            assert "--overwrite replaces nothing else" in done.stderr
            assert path.read_bytes() == before


def test_overwrite_replaces_a_cache_in_json(precious, tmp_path, run_cli):
    for _ in range(2):
        assert run_cli("cache", "convert", precious / "cal.bin", "cal.json", "--overwrite").code == 0
    assert json.loads((tmp_path / "cal.json").read_text())["amax"]
    assert run_cli("cache", "convert", precious / "cal.bin", precious / "labels.json", "--overwrite").code == 5


def test_quantize_replaces_no_part_of_its_images(tensor, tmp_path, run_cli):
    before = _contents(tmp_path)
    with int8cal.TensorFile(tensor) as file:
        paths = file.paths
    assert len(paths) == 3
    for path in paths:
        done = run_cli("quantize", CLASSIFIER, tensor, "-o", path, "--overwrite")
        assert done.code == 5
        assert "is a file that the result is made from" in done.stderr
    assert _contents(tmp_path) == before


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


def limited(limit: int, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run int8cal where no file may have more than so many bytes, which is as if the disk were full then."""

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "int8cal", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limit_files,
    )


@pytest.mark.parametrize("options", [(), ("--shards", "2"), ("--resume",)], ids=["one", "shards", "resume"])
def test_a_disk_that_is_full_at_the_end_of_a_run_is_an_error_and_leaves_nothing(tmp_path, options):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(400):
        (pictures / f"{number:04}.png").write_bytes(encode(pixels(8, 8, seed=number)))
    folder = tmp_path / "out"
    folder.mkdir()
    command = ("images", pictures, "--size", "8x8", "--resize", "stretch", "--scale", "1/255", "--batch_size", "40")
    assert limited(1 << 30, *command, "-o", folder / "whole.t", *options[:2]).returncode == 0
    whole = max(path.stat().st_size for path in folder.iterdir())
    shutil.rmtree(folder)
    for limit in range(whole - 40_000 if whole > 60_000 else 2000, whole, 3000):
        folder.mkdir()
        done = limited(limit, *command, "-o", folder / "c.t", *options)
        assert done.returncode == 5, (limit, done.returncode, done.stderr)
        assert "ulimit -f" in done.stderr
        assert "Traceback" not in done.stderr
        assert [path.name for path in folder.iterdir() if not path.name.endswith(".resume")] == []
        shutil.rmtree(folder)


def test_an_old_part_that_cannot_be_deleted_does_not_spoil_the_new_file(tiny_dataset, tmp_path, run_cli):
    out = tmp_path / "c.t"
    command = (*COMMAND, "-e", tiny_dataset.spec, "-o", out, "--shards", "1")
    assert run_cli(*command, "--seed", "1").code == 0
    (old,) = tmp_path.glob("c.t-*")
    old.unlink()
    old.mkdir()
    again = run_cli(*command, "--seed", "2", "--overwrite")
    assert again.code == 0
    assert "is of no use any more, and cannot be deleted" in again.stderr
    assert json.loads((tmp_path / "c.t.json").read_text())["manifest"]["seed"] == 2
    assert run_cli("verify", out, "-e", tiny_dataset.spec).code == 0


def test_records_on_a_full_disk(tiny_dataset, tmp_path):
    done = limited(100, "records", Path(tiny_dataset.spec).parent / "training", "-o", tmp_path / "records")
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith(f"int8cal: error: {tmp_path / 'records'}: ")
    assert not list(tmp_path.glob("*records*"))


@pytest.mark.parametrize("named", ["spec", "out", "record", "image"])
def test_a_log_is_not_appended_to_what_is_worked_with(tiny_dataset, tmp_path, run_cli, named):
    spec, out = Path(tiny_dataset.spec), tmp_path / "c.t"
    image = next(spec.parent.rglob("*.png"), next(spec.parent.rglob("*.jpg"), None))
    log = {"spec": spec, "out": out, "record": tmp_path / "c.t.json", "image": image}[named]
    before = log.read_bytes() if log.exists() else None
    done = run_cli(*COMMAND, "-e", spec, "-o", out, "--log_file", log)
    assert done.code == 2
    assert "Choose another name for the log." in done.stderr
    assert (log.read_bytes() if log.exists() else None) == before


def test_more_workers_than_there_are_numbers_for(tiny_dataset, tmp_path, run_cli):
    assert run_cli(*COMMAND, "-e", tiny_dataset.spec, "-o", tmp_path / "c.t", "--workers", str(10**20)).code == 0
