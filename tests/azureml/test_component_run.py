"""The component as one function: what it writes, where, and what a second run finds."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import pytest

from int8cal.cli.tables import run_table
from int8cal.component import run as run_module
from int8cal.errors import (
    DataError,
    ImageError,
    MissingDataError,
    OutputError,
    OutputExistsError,
    SpecError,
    UnavailableError,
    UsageError,
)
from int8cal.io import files
from int8cal.samples.encoded import read_encoded
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.writer import TensorFileWriter

DATA = "/home/jupyter/data/training"
RECORD_KEYS = {"inputs", "updated_spec", "edits", "not_used", "notes", "seconds"}


def record_of(site):
    return json.loads(Path(f"{site.tensorfile}.json").read_text())


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_tensorfile_is_that_of_the_direct_command(site, run_cli, tmp_path):
    site.run(max_batches="3")
    by_hand = tmp_path / "by_hand.txt"
    text = (site.specs / "spec.txt").read_text()
    text = text.replace('"/home/jupyter/data/training"', f'"{site.dataset.root}/training"')
    text = text.replace('"/home/jupyter/data/tfrecords/kitti_trainval/*"', f'"{site.dataset.root}/tfrecords/*"')
    by_hand.write_text(text)
    done = run_cli("detectnet_v2", "calibration_tensorfile", "-e", by_hand, "-o", "direct.tensor", "-m", "3")
    assert done.code == 0, done.stderr
    assert (tmp_path / "direct.tensor").read_bytes() == site.tensorfile.read_bytes()


def test_what_is_written(site):
    dummy = site.root / "dummy"
    dummy.mkdir()
    started = time.perf_counter()
    outcome = site.run(validation_data_dir=dummy, num_epochs="7")
    elapsed = time.perf_counter() - started
    assert files_below(site.out) == {
        "app/experiment_dir_final/calibration.tensor",
        "app/experiment_dir_final/calibration.tensor.html",
        "app/experiment_dir_final/calibration.tensor.json",
        "app/specs/spec.txt",
    }
    record = record_of(site)
    component = record["component"]
    assert set(component) == RECORD_KEYS
    assert component["inputs"]["max_batches"] == 1
    assert component["not_used"] == [
        {"name": "validation_data_dir", "reason": "specfile_reference_validation_data_dir is not given"}
    ]
    assert [edit["field"] for edit in component["edits"]] == [
        "dataset_config.data_sources[0].tfrecords_path",
        "dataset_config.data_sources[0].image_directory_path",
        "training_config.num_epochs",
    ]
    assert component["edits"][1]["old"] == "/home/jupyter/data/training"
    assert component["edits"][1]["new"] == str(site.dataset.root / "training")
    assert set(component["seconds"]) == {"update", "plan"}
    assert 0 < record["run"]["seconds"] < elapsed
    assert record["manifest"]["packages"]["numpy"]
    assert record["manifest"]["plan_sha256"] == outcome.manifest.facts["plan_sha256"]
    assert "num_epochs: 7" in (site.out / "app" / "specs" / "spec.txt").read_text()


def test_inputs_stay_as_they_were(site):
    def state():
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_mode)
            for folder in (site.specs, site.dataset.root)
            for path in (folder, *folder.rglob("*"))
        }

    for path in site.specs.iterdir():
        path.chmod(stat.S_IRUSR)
    before = state()
    site.run()
    assert state() == before


def test_folder_links_of_the_user_are_followed(site):
    (site.root / "mnt").mkdir()
    (site.root / "mnt" / "link").symlink_to(site.dataset.root)
    site.run(training_data_dir=site.root / "mnt", training_data_subdir="link/training")
    assert site.paths()["dataset_config.data_sources[0].image_directory_path"] == str(
        site.root / "mnt" / "link" / "training"
    )


def test_the_same_request_again_finds_the_result(site, caplog):
    site.run()
    before = {path: path.stat().st_mtime_ns for path in site.tensorfile.parent.iterdir()}
    again = site.run()
    assert again.manifest.reused
    assert {path: path.stat().st_mtime_ns for path in site.tensorfile.parent.iterdir()} == before


def test_the_same_request_at_other_places_finds_the_result_and_leaves_the_spec(site):
    site.run()
    before = (site.out / "app" / "specs" / "spec.txt").read_bytes()
    moved = site.pictures("elsewhere")
    again = site.run(training_data_dir=moved)
    assert again.manifest.reused
    assert str(moved) in [change.new for change in again.updated.changes]
    assert (site.out / "app" / "specs" / "spec.txt").read_bytes() == before


def test_random_input_paths_do_not_reach_the_tensorfile(site):
    site.run(max_batches="2")
    first = site.tensorfile.read_bytes()
    site.run(
        max_batches="2",
        output_dir=site.root / "out2",
        training_data_dir=site.pictures("cap/4f1e/INPUT_training_data_dir"),
        training_tf_records_dir=site.records("cap/77aa/INPUT_training_tf_records_dir"),
    )
    assert (site.root / "out2" / "app" / "experiment_dir_final" / "calibration.tensor").read_bytes() == first


@pytest.mark.parametrize(
    "other", [{"max_batches": "2"}, {"seed": "5"}, {"use_validation_set": "true"}, {"num_epochs": "3"}]
)
def test_another_request_is_refused_without_overwrite(site, other):
    site.run()
    before = {path: path.read_bytes() for path in site.out.rglob("*") if path.is_file()}
    with pytest.raises(OutputExistsError) as caught:
        site.run(**other)
    assert "output_dir of its own" in caught.value.hint
    assert {path: path.read_bytes() for path in site.out.rglob("*") if path.is_file()} == before
    assert not site.run(overwrite=True, **other).manifest.reused


def test_changed_source_image_is_noticed(site):
    pictures = site.pictures("mine")
    site.run(training_data_dir=pictures, max_batches="-1")
    site.rewrite(pictures, lambda number, original: min(original.parent.iterdir()).read_bytes())
    with pytest.raises(OutputExistsError, match=r"was made before .*\.png changed"):
        site.run(training_data_dir=pictures, max_batches="-1")


def test_no_more_is_read_after_the_first_change(site, monkeypatch):
    monkeypatch.setattr("int8cal.io.threads.usable_cores", lambda: 1)
    pictures = site.pictures("mine")
    site.rewrite(pictures, lambda number, original: original.read_bytes())
    site.run(training_data_dir=pictures, max_batches="-1")
    with TensorFile(site.tensorfile) as file:
        names = [f"{Path(row['frame_id'].decode()).name}.png" for row in file.samples]
    assert len(names) == 8
    (pictures / "image_2" / names[0]).write_bytes(b"another")
    opened = []
    monkeypatch.setattr(
        "int8cal.component.finished.read_encoded", lambda sample: (opened.append(sample), read_encoded(sample))[1]
    )
    with pytest.raises(OutputExistsError, match=f"{names[0]} changed"):
        site.run(training_data_dir=pictures, max_batches="-1")
    assert len(opened) < 4


def test_a_result_that_is_found_again_warns_as_the_first_run_did(site):
    spec = site.specs / "spec.txt"
    entry = 'target_class_config { key: "car" value { clustering_config { dbscan_min_samples: 0.05 } } }'
    spec.write_text(re.sub(r"postprocessing_config \{", f"postprocessing_config {{ {entry}", spec.read_text(), count=1))
    first, again = site.run().to_json(), site.run().to_json()
    assert again["reused"]
    assert len(first["warnings"]) == 1
    assert again["warnings"] == first["warnings"]


def test_damaged_result_is_not_taken_for_finished(site):
    site.run()
    site.tensorfile.write_bytes(site.tensorfile.read_bytes()[:-5000])
    with pytest.raises(OutputExistsError, match="unsound"):
        site.run()


def test_skipped_images(site):
    pictures = site.pictures("mine")
    site.rewrite(pictures, lambda number, original: b"no image" if number % 4 == 0 else original.read_bytes())
    inputs = {"training_data_dir": pictures, "max_batches": "-1"}
    skipping = {**inputs, "on_bad_image": "skip", "max_skipped": "5"}
    outcome = site.run(**skipping)
    assert outcome.manifest.facts["skipped"] > 0
    again = site.run(**skipping)
    assert again.manifest.reused
    left_out = again.to_json()["skipped"]
    assert left_out == outcome.to_json()["skipped"]
    assert len(left_out) == outcome.manifest.facts["skipped"]
    assert ("skipped", f"{len(left_out)} images:") in run_table(again.manifest)
    with pytest.raises(OutputExistsError):  # a request that allows none to be left out is another one
        site.run(**inputs)
    for original in (site.dataset.root / "training" / "image_2").iterdir():
        (pictures / "image_2" / original.name).write_bytes(original.read_bytes())
    with pytest.raises(OutputExistsError, match="changed"):  # what was unusable is usable now
        site.run(**skipping)


def test_foreign_file_in_place_of_the_updated_spec(site):
    spec = site.out / "app" / "specs" / "spec.txt"
    spec.parent.mkdir(parents=True)
    spec.write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(OutputError) as caught:
            site.run(overwrite=overwrite)
        assert caught.value.hint is None or "overwrite" not in caught.value.hint  # which would not replace it
    assert spec.read_text() == "precious"
    assert not site.tensorfile.exists()


@pytest.mark.parametrize("inside", ["specs", "data"])
def test_output_in_an_input_folder_is_refused(site, inside):
    folder = site.specs if inside == "specs" else site.pictures("data")
    inputs = {} if inside == "specs" else {"training_data_dir": folder}
    with pytest.raises(UsageError, match="input folder"):
        site.run(output_dir=folder / "out", **inputs)
    assert not (folder / "out").exists()


def test_link_that_leads_out_of_the_output_is_refused(site):
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    site.out.mkdir()
    (site.out / "app").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="leads out of output_dir"):
        site.run()
    assert not list(elsewhere.iterdir())


def test_output_dir_may_be_a_link(site):
    real = site.root / "real"
    real.mkdir()
    site.out.symlink_to(real)
    site.run()
    assert (real / "app" / "specs" / "spec.txt").is_file()


def test_a_folder_that_is_neither_used_nor_there_is_a_note(site):
    outcome = site.run(validation_data_dir="nodir", base_model_dir=site.pictures("models"))
    reasons = {note.split(" is not used: ")[0]: note for note in outcome.notes if " is not used: " in note}
    assert reasons["validation_data_dir"].endswith(" is not given, and there is no such folder: nodir")
    assert reasons["base_model_dir"].endswith(" is not given")


def test_of_too_many_batches_the_component_names_no_option_of_its_own(site):
    with pytest.raises(DataError, match="while the requested amount is 500") as caught:
        site.run(max_batches="500")
    assert caught.value.hint.endswith("(-m, max_batches), or make smaller batches, in the spec.")


def test_missing_base_model_is_a_note(site, caplog):
    site.write_spec(model="/home/jupyter/data/model/x.hdf5")
    models = site.root / "models"
    models.mkdir()
    outcome = site.run(base_model_dir=models, specfile_reference_model_dir="/home/jupyter/data/model")
    assert any("base model is not there" in note for note in outcome.notes)
    assert any("base model is not there" in message for message in caplog.messages)


def test_specs_that_differ_in_paths_alone_are_one_spec(site):
    """Several jobs, each with mounts of its own: the first spec stays, each record has its own edits."""
    site.run(output_subfolder="a")
    spec = site.out / "app" / "specs" / "spec.txt"
    before = spec.read_bytes()
    pictures = site.pictures("b")
    site.run(output_subfolder="b", training_data_dir=pictures, seed="5", max_batches="2")
    assert spec.read_bytes() == before
    record = json.loads((site.out / "app" / "b" / "calibration.tensor.json").read_text())
    assert str(pictures) in [edit["new"] for edit in record["component"]["edits"]]


def test_a_spec_that_differs_elsewhere_is_refused_with_both_and_the_field(site):
    site.run(output_subfolder="a")
    spec = site.out / "app" / "specs" / "spec.txt"
    before = spec.read_bytes()
    with pytest.raises(OutputExistsError) as caught:
        site.run(output_subfolder="b", num_epochs="3")
    assert caught.value.where == str(spec)
    assert str(site.specs / "spec.txt") in caught.value.message
    assert re.search(r"training_config\.num_epochs \('\d+' there, '3' here\)", caught.value.message)
    assert not (site.out / "app" / "b").exists()
    assert spec.read_bytes() == before
    site.run(output_subfolder="b", num_epochs="3", overwrite=True)
    assert b"num_epochs: 3" in spec.read_bytes()


def with_unknown_field(site, value):
    spec = site.specs / "spec.txt"
    text = spec.read_text()
    assert "training_config {" in text
    spec.write_text(text.replace("training_config {", f"training_config {{\n  nonsense: {value}", 1))


def test_a_spec_with_an_unknown_field_is_one_spec_for_all_jobs(site):
    with_unknown_field(site, 3)
    site.run(output_subfolder="a", allow_unknown_fields=True)
    spec = site.out / "app" / "specs" / "spec.txt"
    before = spec.read_bytes()
    site.run(output_subfolder="a", allow_unknown_fields=True)  # the same once more, after an eviction
    site.run(output_subfolder="b", allow_unknown_fields=True, training_data_dir=site.pictures("b"))
    assert spec.read_bytes() == before


def test_specs_that_differ_in_an_unknown_field_are_two(site):
    with_unknown_field(site, 3)
    site.run(output_subfolder="a", allow_unknown_fields=True)
    spec = site.specs / "spec.txt"
    spec.write_text(spec.read_text().replace("nonsense: 3", "nonsense: 4"))
    with pytest.raises(OutputExistsError, match=r"nonsense \('nonsense: 3' there, 'nonsense: 4' here\)"):
        site.run(output_subfolder="b", allow_unknown_fields=True)


def test_a_spec_that_another_job_writes_meanwhile_is_seen(site, monkeypatch):
    """Refused at the end, if it differs; the tensorfile that was made is whole, and has its record."""
    real = run_module.make

    def make(*arguments, **options):
        made = real(*arguments, **options)
        monkeypatch.setattr(run_module, "make", real)
        site.run(output_subfolder="other", num_epochs="3")
        return made

    monkeypatch.setattr(run_module, "make", make)
    with pytest.raises(OutputExistsError, match="num_epochs"):
        site.run()
    with TensorFile(site.tensorfile) as file:
        assert record_of(site)["manifest"]["plan_sha256"] == file.manifest["plan_sha256"]


def test_one_reference_serves_images_and_records(site, caplog):
    """Version 4 replaced texts: pipelines give it once, and dummies for the rest."""
    root = site.dataset.root
    site.write_spec(data="/workspace/data/training", records="/workspace/data/tfrecords/*")
    outcome = site.run(
        training_data_dir=root,
        specfile_reference_training_data_dir="/workspace/data",
        training_tf_records_dir=root,
        specfile_reference_training_tf_records_dir="ND",
    )
    assert site.paths()["dataset_config.data_sources[0].tfrecords_path"] == f"{root}/tfrecords/*"
    (note,) = [note for note in outcome.notes if "replaced there, too" in note]
    assert note.startswith("dataset_config.data_sources[0].tfrecords_path begins with specfile_reference_training_data")
    assert note in caplog.text
    assert note in record_of(site)["component"]["notes"]


def test_one_reference_serves_the_validation_images_and_records(site):
    root = site.dataset.root
    site.write_spec(validation_data="/v/training", validation_records="/v/tfrecords/*")
    site.run(validation_data_dir=root, specfile_reference_validation_data_dir="/v", use_validation_set="true")
    paths = site.paths()
    assert paths["dataset_config.validation_data_source.tfrecords_path"] == f"{root}/tfrecords/*"
    with TensorFile(site.tensorfile) as file:
        assert file.manifest["split"] == "validation"


def test_a_reference_serves_no_records_of_the_other_split(site):
    site.write_spec(validation_data="/v/training", validation_records=f"{DATA}/tfrecords/*")
    outcome = site.run()
    assert site.paths()["dataset_config.validation_data_source.tfrecords_path"] == f"{DATA}/tfrecords/*"
    assert any("specfile_reference_validation_tf_records_dir is not given" in note for note in outcome.notes)


def test_records_have_their_own_reference_where_it_is_given(site):
    root = site.dataset.root
    site.write_spec(data="/workspace/data/training", records="/workspace/data/tfrecords/*")
    outcome = site.run(
        training_data_dir=root,
        specfile_reference_training_data_dir="/workspace/data",
        specfile_reference_training_tf_records_dir="/workspace/data/tfrecords",
    )
    assert site.paths()["dataset_config.data_sources[0].tfrecords_path"] == f"{root / 'tfrecords'}/*"
    assert not [note for note in outcome.notes if "replaced there, too" in note]


def test_model_reference_with_a_spec_that_names_no_model(site, caplog):
    models = site.root / "models"
    models.mkdir()
    outcome = site.run(base_model_dir=models, specfile_reference_model_dir="/home/jupyter/model")
    (note,) = [note for note in outcome.notes if "names no model" in note]
    assert note == "specfile_reference_model_dir is not used: the spec names no model"
    assert note in caplog.text


def test_records_that_only_the_spec_knows_name_the_inputs_that_would_replace_them(site, caplog):
    site.write_spec(data="/workspace/data", records="/workspace/data/tfrecords/*")
    with pytest.raises(MissingDataError, match=r"/training/tfrecords/\*") as caught:
        site.run(
            specfile_reference_training_data_dir="/workspace/data",
            training_tf_records_dir=None,
            specfile_reference_training_tf_records_dir=None,
        )
    assert "Check the inputs training_data_dir and training_data_subdir." in caught.value.hint
    assert "give training_tf_records_dir and specfile_reference_training_tf_records_dir" in caught.value.hint
    assert "validation" not in caught.value.hint
    assert any("specfile_reference_training_tf_records_dir is not given" in message for message in caplog.messages)


def test_records_that_are_not_in_their_folder_name_its_inputs(site):
    (site.root / "empty [1]").mkdir()
    with pytest.raises(MissingDataError, match="No files match") as caught:
        site.run(training_tf_records_dir=site.root / "empty [1]")
    assert caught.value.hint == (
        f"The longest part that exists is {site.root}/empty [1]; it is empty. "
        "Check the inputs training_tf_records_dir and training_tf_records_subdir."
    )


def test_missing_data_are_an_error_that_says_what_is_there(site):
    records = site.root / "made"
    (records / "kitti_trainval").mkdir(parents=True)
    with pytest.raises(MissingDataError, match="training TFRecords") as caught:
        site.run(training_tf_records_dir=records, training_tf_records_subdir="gone")
    assert caught.value.hint == (
        f"The longest part that exists is {records}; it holds kitti_trainval. "
        "Check the inputs training_tf_records_dir and training_tf_records_subdir."
    )


def test_a_spec_that_is_not_there_is_an_error_that_says_what_is(site):
    with pytest.raises(SpecError, match="there is no such spec file") as caught:
        site.run(specs_file="retrain_resnet18.yaml")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(" has spec.txt.")


def test_role_that_the_spec_does_not_have(site):
    with pytest.raises(SpecError, match="validation_data"):
        site.run(validation_data_dir=site.pictures("v"), specfile_reference_validation_data_dir="/home/jupyter/v")


def test_unknown_network(site):
    with pytest.raises(UsageError, match="yolo"):
        site.run(network="yolo")


def test_failed_run_leaves_nothing_behind(site):
    pictures = site.pictures("mine")
    site.rewrite(pictures, lambda number, original: b"no image")
    with pytest.raises(ImageError):
        site.run(training_data_dir=pictures)
    assert not site.out.exists()
    (site.out / "app" / "mine").mkdir(parents=True)
    with pytest.raises(ImageError):
        site.run(training_data_dir=pictures)
    assert {str(path.relative_to(site.out)) for path in site.out.rglob("*")} == {"app", "app/mine"}


class ForwardOnly:
    """Files below a folder are written through pipes: forwards, or not at all; and no name there can change."""

    def __init__(self, folder, monkeypatch):
        self.folder = str(folder)
        self.written = set()
        self.pumps = []
        self.real_open, self.real_fsync = os.open, os.fsync
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(files, "open", self.open_file, raising=False)
        for name in ("link", "rename", "replace", "truncate"):
            monkeypatch.setattr(os, name, self.refused)

    def refused(self, *arguments, **options):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def open(self, path, flags, *arguments, **options):
        self.wait()
        descriptor = self.real_open(path, flags, *arguments, **options)
        if not str(path).startswith(self.folder) or flags & os.O_ACCMODE != os.O_WRONLY:
            return descriptor
        self.written.add(os.path.relpath(path, self.folder))
        reader, writer = os.pipe()
        pump = threading.Thread(target=self.pump, args=(reader, descriptor))
        pump.start()
        self.pumps.append(pump)
        return writer

    def open_file(self, file, mode="r", **options):
        if isinstance(file, str) and mode == "wb":
            file = self.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        return open(file, mode, **options)

    def fsync(self, descriptor):
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            self.real_fsync(descriptor)

    def pump(self, reader, target):
        with open(reader, "rb") as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink)

    def wait(self):
        """Until what was written and closed is in its file."""
        for pump in self.pumps:
            pump.join()
        self.pumps.clear()


def test_target_that_cannot_rename_or_seek(site, monkeypatch):
    """Nothing is made in the output folder: files arrive there whole, from their first byte to their last."""
    site.run()
    undisturbed = site.tensorfile.read_bytes()
    hdf5_files = []
    real_init = TensorFileWriter.__init__

    def init(self, path, *arguments, **options):
        hdf5_files.append(path)
        real_init(self, path, *arguments, **options)

    monkeypatch.setattr(TensorFileWriter, "__init__", init)
    out = site.root / "forward"
    out.mkdir()
    with monkeypatch.context() as patch:
        target = ForwardOnly(out, patch)
        with (
            open(os.open(out / "probe", os.O_WRONLY | os.O_CREAT), "wb") as probe,
            pytest.raises(OSError, match="seek"),
        ):
            probe.seek(0)
        site.run(output_dir=out)
        target.wait()
    (out / "probe").unlink()
    assert hdf5_files
    assert not any(path.startswith(str(out)) for path in hdf5_files)
    tensorfile = out / "app" / "experiment_dir_final" / "calibration.tensor"
    assert tensorfile.read_bytes() == undisturbed
    names = {
        "app/experiment_dir_final/calibration.tensor",
        "app/experiment_dir_final/calibration.tensor.html",
        "app/experiment_dir_final/calibration.tensor.json",
        "app/specs/spec.txt",
    }
    assert files_below(out) == names
    assert names <= target.written
    json.loads(Path(f"{tensorfile}.json").read_text())
    assert (out / "app" / "specs" / "spec.txt").read_bytes() == (site.out / "app" / "specs" / "spec.txt").read_bytes()


def test_read_only_output(site, monkeypatch):
    def refused(path, *arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr(os, "makedirs", refused)
    with pytest.raises(OutputError, match="Read-only file system"):
        site.run()


KILLED = """
import sys, time
from int8cal.engine import work
real, calls = work.read_encoded, []
def stuck(sample):
    calls.append(sample)
    if len(calls) > 3:
        open(sys.argv[1], "w").close()
        time.sleep(1)
    return real(sample)
work.read_encoded = stuck
from int8cal.cli.app import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)], ids=["kill", "term"])
def test_ended_in_the_middle_and_run_again(site, tmp_path, run_cli, number, code):
    site.run(max_batches="-1", output_dir=site.root / "undisturbed")
    options = [part for name, value in site.inputs(max_batches="-1").items() for part in (f"--{name}", value)]
    marker = tmp_path / "in the middle"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(marker), "component", *options],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        end = time.monotonic() + 80
        while not marker.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert marker.exists()
        process.send_signal(number)
        assert process.wait(30) == code
    assert not site.tensorfile.exists()
    done = run_cli("component", *options)
    assert done.code == 0, done.stderr
    undisturbed = site.root / "undisturbed" / "app" / "experiment_dir_final" / "calibration.tensor"
    assert site.tensorfile.read_bytes() == undisturbed.read_bytes()


def test_mlflow_is_told_and_no_picture_leaves(site, monkeypatch):
    told = {}
    monkeypatch.setattr("int8cal.component.mlflow.wanted", lambda: True)
    monkeypatch.setattr("int8cal.component.mlflow.log_run", lambda **facts: told.update(facts))
    site.run(max_batches="2")
    assert told["params"]["max_batches"] == 2
    assert not {"training_data_dir", "training_tf_records_dir", "original_specs"} & set(told["params"])  # random paths
    assert told["metrics"]["images"] == 4
    assert set(told["metrics"]) >= {
        "batches",
        "skipped",
        "spec_edits",
        "seconds_update",
        "seconds_plan",
        "seconds_make",
    }
    assert told["tags"]["int8cal.reused"] == "False"
    assert set(told["files"]) == {"updated_spec.txt", "tensorfile.json"}
    digest = record_of(site)["manifest"]["plan_sha256"][:32]
    assert told["dataset"] == {"name": "app", "digest": digest, "source": str(site.dataset.root / "training")}
    assert site.run(max_batches="2", log_report="true").manifest.reused
    assert told["files"]["report.html"] == f"{site.tensorfile}.html"


def test_report_without_its_extra(site, monkeypatch, caplog):
    def absent(*arguments, **options):
        raise UnavailableError("Jinja2 is not installed")

    monkeypatch.setattr("int8cal.report.build.write_report", absent)
    outcome = site.run(log_report="true")
    assert outcome.page is None
    assert outcome.manifest.batches == 1
    assert "log_report: there is no MLflow to log to" in caplog.text


def test_report_that_fails_does_not_fail_the_run(site, monkeypatch, caplog):
    def failing(*arguments, **options):
        raise OutputError("no space left", hint="Free some.")

    monkeypatch.setattr("int8cal.report.build.write_report", failing)
    assert site.run().manifest.batches == 1
    assert "no report is written: no space left Free some." in caplog.text


def test_page_of_another_file_is_not_taken_for_this_ones(site):
    page = Path(f"{site.tensorfile}.html")
    page.parent.mkdir(parents=True)
    foreign = "<!doctype html>of another file"
    page.write_text(foreign)
    with pytest.raises(OutputExistsError):
        site.run()
    assert page.read_text() == foreign
    assert not site.tensorfile.exists()
    site.run(overwrite=True)
    assert "<html" in page.read_text()
    assert foreign not in page.read_text()


@pytest.mark.parametrize("foreign", ["", "<html>mine", None], ids=["empty", "a page", "a folder"])
def test_what_is_no_page_of_ours_is_not_called_the_report(site, caplog, foreign):
    site.run()
    page = Path(f"{site.tensorfile}.html")
    page.unlink()
    page.mkdir() if foreign is None else page.write_text(foreign)
    outcome = site.run()
    assert outcome.manifest.reused
    assert outcome.page is None
    assert f"no report is written: {page}: already exists" in caplog.text


def test_missing_page_is_made_up_for(site):
    site.run()
    page = Path(f"{site.tensorfile}.html")
    page.unlink()
    assert site.run().manifest.reused
    assert page.is_file()


def test_relative_folders_become_absolute_in_the_spec(site, monkeypatch):
    monkeypatch.chdir(site.dataset.root)
    site.run(training_data_dir="training", training_tf_records_dir="tfrecords")
    assert site.paths()["dataset_config.data_sources[0].image_directory_path"] == str(site.dataset.root / "training")


def test_mlflow_that_fails_does_not_fail_the_run(site, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("int8cal.component.mlflow.find_spec", lambda name: True)
    assert site.run().manifest.batches == 1
    assert "MLflow cannot be used" in caplog.text


def test_finished_result_of_nvidias_command_is_found(site, program_on_path):
    site.run(output_dir=site.root / "native")
    made = site.root / "native" / "app" / "experiment_dir_final" / "calibration.tensor"
    with h5py.File(made, "a") as file:  # as NVIDIA's command makes it
        del file.attrs["int8cal"], file["int8cal_samples"]
    count = site.root / "runs"
    program_on_path("detectnet_v2", f'#!/bin/sh\necho run >> "{count}"\ncp "{made}" "$5"\n')
    assert not site.run(engine="tao").manifest.reused
    assert site.run(engine="tao").manifest.reused
    assert count.read_text() == "run\n"
    with pytest.raises(OutputExistsError, match="not the result of this request"):
        site.run(engine="tao", max_batches="2")
    with pytest.raises(OutputExistsError, match="not the result of this request"):
        site.run(engine="native")
    record = Path(f"{site.tensorfile}.json")
    record.write_text(record.read_text().replace('"images_sha256": "', '"images_sha256": "0'))
    with pytest.raises(OutputExistsError):
        site.run(engine="tao")
