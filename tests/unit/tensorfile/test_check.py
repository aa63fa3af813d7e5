"""What is not whole is found, each under its name; what is whole has no findings."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tests.tensorfiles import edit

import int8cal
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.check import ValueCheck, check_structure

OLD_FILES = Path(__file__).parents[2] / "data" / "tensorfiles_8e82fdb"
GROUP, DATASET, SAMPLES = "_tensorfile_array_key__", "_tensorfile_array_key_", "int8cal_samples"


@pytest.fixture
def made(tiny_dataset, tmp_path):
    """A file of 2 batches of 4 images."""
    int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "made")
    return tmp_path / "made"


def findings(path):
    """Code → (level, message), those of reading every batch included."""
    with TensorFile(path) as file:
        values = ValueCheck(file)
        found = check_structure(file)
        for _ in values.images():
            pass
        found += values.findings
    return {finding.code: (finding.level, finding.message) for finding in found}


def change_manifest(path, **values):
    def change(manifest):
        manifest.update(values)
        for name in [name for name, value in manifest.items() if value is ...]:
            del manifest[name]

    edit(path, manifest=change)


def test_a_whole_file_has_no_findings(made):
    assert findings(made) == {}


def test_without_manifest_is_a_note(made):
    with h5py.File(made, "a") as file:
        del file.attrs["int8cal"], file[SAMPLES]
    assert {code: level for code, (level, _) in findings(made).items()} == {"no-manifest": "note"}


def test_missing_and_uncounted_batches(made):
    with h5py.File(made, "a") as file:
        file.move(f"{GROUP}1", f"{GROUP}7")
    found = findings(made)
    assert found["batch-missing"] == ("error", f"batches are missing: {GROUP}1")
    assert found["batch-uncounted"][0] == "error"
    assert f"{GROUP}7" in found["batch-uncounted"][1]
    assert found["batch-unreadable"][0] == "error"


def test_foreign_objects_are_an_error_where_checksums_say_that_nothing_was_changed(made):
    with h5py.File(made, "a") as file:
        file.create_group("notes")
    assert findings(made)["foreign-object"] == ("error", "objects that no tensorfile has: notes")


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.update(note=1),
        lambda file: file.attrs.create("count", np.int32(2)),
        lambda file: file[f"{GROUP}1"].attrs.update(note=1),
        lambda file: file[f"{GROUP}1/{DATASET}"].attrs.update(note=1),
        lambda file: file[SAMPLES].attrs.update(note=1),
    ],
)
def test_attributes_that_were_added_or_changed(made, change):
    with h5py.File(made, "a") as file:
        change(file)
    assert findings(made)["record-changed"][0] == "error"


def written_again(path, **options):
    """Write batch 1 again: the same values, stored in another way."""
    with h5py.File(path, "a") as file:
        group = file[f"{GROUP}1"]
        values = group[DATASET][()]
        del group[DATASET]
        group.create_dataset(DATASET, data=values, **options)
    return values


AS_WRITTEN = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


@pytest.mark.parametrize(
    "options",
    [
        {"fillvalue": 7},
        {"rows": 2},
        {"shuffle": False},
        {"compression": "lzf", "compression_opts": None},
        {"rows": None, "compression": None, "compression_opts": None, "shuffle": None},
    ],
    ids=str,
)
def test_a_batch_that_is_stored_in_another_way(made, options):
    """It has the values of before, and no reader gets others, but what describes it is not what was written."""
    options = {**AS_WRITTEN, "rows": 1, **options}
    rows = options.pop("rows")
    with TensorFile(made) as file:
        shape = file.shape
    values = written_again(made, chunks=rows and (rows, *shape[1:]), **options)
    assert findings(made)["record-changed"] == ("error", "the description of batch 1 was changed")
    with TensorFile(made) as file:
        np.testing.assert_array_equal(file[1], values)


def test_what_describes_a_batch_and_changes_nothing_that_anybody_gets(made):
    """How hard was compressed, and when HDF5 takes room in the file: neither is an array, a shape or a type."""
    with TensorFile(made) as file:
        chunks = (1, *file.shape[1:])
    values = written_again(made, chunks=chunks, track_times=True, **{**AS_WRITTEN, "compression_opts": 9})
    assert findings(made) == {}
    with h5py.File(made) as file:
        np.testing.assert_array_equal(file[f"{GROUP}1/{DATASET}"][()], values)


def test_a_fill_value_never_becomes_an_image(tmp_path):
    """In a file without checksums as well: a chunk that is not there is an error, whatever HDF5 gives for it."""
    for fill in (None, 7.0):
        with h5py.File(tmp_path / f"{fill}", "w") as file:
            file.attrs["count"], file.attrs["shape"] = 1, (2, 1, 4, 4)
            options = {"chunks": (1, 1, 4, 4), "fillvalue": fill}
            file.create_group(f"{GROUP}0").create_dataset(DATASET, (2, 1, 4, 4), "<f4", **options)[0] = 1
            assert file[f"{GROUP}0/{DATASET}"][1].max() == (fill or 0)
        assert "not allocated" in findings(tmp_path / f"{fill}")["batch-unreadable"][1]


def test_foreign_objects_of_an_older_file_are_a_warning(tmp_path):
    made = tmp_path / "made"
    shutil.copy(OLD_FILES / "fast.tensor", made)
    with h5py.File(made, "a") as file:
        file.create_group("notes")
    assert findings(made)["foreign-object"] == ("warning", "objects that no tensorfile has: notes")
    with h5py.File(made, "a") as file:
        del file["notes"]
        file[f"{GROUP}1"].create_group("notes")
    assert findings(made)["foreign-object"][1].startswith("batch 1 holds")


@pytest.mark.parametrize("dtype", ["<f8", ">f4"])
def test_values_of_another_type_are_a_note_unless_the_file_was_written_otherwise(made, dtype):
    with h5py.File(made, "a") as file:
        group = file[f"{GROUP}0"]
        values = group[DATASET][()]
        del group[DATASET]
        group[DATASET] = values.astype(dtype)
    assert findings(made)["record-changed"] == (
        "error",
        f"values are stored as {' and '.join(sorted([str(np.dtype(dtype)), 'float32']))}, and were written as float32",
    )
    with h5py.File(made, "a") as file:
        del file.attrs["int8cal"], file[SAMPLES]
    level, message = findings(made)["not-float32"]
    assert level == "note"
    assert "float32" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(made, value):
    def change(file):
        file[f"{GROUP}1/{DATASET}"][2, 0, 0, 0] = value

    edit(made, values=change)
    level, message = findings(made)["not-finite"]
    assert level == "error"
    assert message.endswith("1 images hold NaN or infinite values: batch 1 image 2")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("batches", 3, "3 batches, the file has 2"),
        ("batches", "2", "batches is '2', not a number"),
        ("batch_size", 5, "batches of shape [5, 3, 96, 160]"),
        ("image_shape", [3, 96, 96], "batches of shape [4, 3, 96, 96]"),
        ("image_shape", None, "batches of shape [4]"),
        ("plan_sha256", "x", "plan_sha256 is 'x', not a SHA-256"),
        ("spec_sha256", "F" * 64, "not a SHA-256"),
        ("skipped", 1, "0 rows of the sample table are of skipped images, it says 1"),
        ("seed", True, "seed is True, not a number"),
        ("seed", -1, "seed is -1, not a number from 0 to 4294967295"),
        ("seed", 2**70, "seed is 1180591620717411303424, not a number from 0 to 4294967295"),
        ("network", ..., "network is None, not a name"),
        ("split", ..., "split is None, not a name"),
        ("split", 3, "split is 3, not a name"),
        ("images", "folder", "split is 'training', but images of a folder belong to none"),
        ("schema", -1, "schema is -1"),
        ("arithmetic", None, "arithmetic is None, not a group"),
        ("arithmetic", {"options": [1]}, "arithmetic.options is [1], not a group"),
        ("arithmetic", {"options": {"mean": [0, 0], "scale": 1}}, "mean is [0, 0], not one number, or 3"),
        ("arithmetic", {"options": {"mean": [np.nan], "scale": 1}}, "mean is [nan]"),
        ("arithmetic", {"options": {"mean": [0], "scale": 0}}, "scale is 0, not one number above 0"),
        ("arithmetic", {"options": {"mean": [0], "scale": np.inf}}, "scale is inf"),
        ("arithmetic", {"options": {"mean": [0], "scale": 10**400}}, "scale is 1000"),
        ("arithmetic", {"options": {"mean": [0, 0, 1e30], "scale": 1}}, "mean is 1e+30, not one of pixels"),
        (
            "arithmetic",
            {"options": {"mean": [0], "scale": 1e308}},
            "mean is 0.0, not one of pixels, for the scale 1e+308",
        ),
        ("arithmetic", {"options": {"value_range": [-1e308, 1e308]}}, "value_range is [-1e+308, 1e+308], not two"),
        ("arithmetic", {"options": {"channel_order": "grey", "value_range": [0, 1]}}, "an order of 3 channels"),
    ],
)
def test_a_manifest_that_does_not_fit(made, name, value, said):
    change_manifest(made, **{name: value})
    level, message = findings(made)["manifest-wrong"]
    assert level == "error"
    assert said in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: None, "no sample table"),
        (lambda table: table[:-1], "names 7 images, the file has 8"),
        (lambda table: table[::-1], "each image once, in order"),
        (lambda table: _with(table, "height", 0), "height is not positive"),
        (lambda table: _with(table, "sha256", np.void(bytes(32))), "without a SHA-256"),
        (lambda table: _with(table, "record_file", b""), "records without a file"),
    ],
)
def test_a_sample_table_that_does_not_fit(made, change, said):
    edit(made, table=change)
    level, message = findings(made)["manifest-wrong"]
    assert level == "error"
    assert said in message


def _with(table, column, value):
    table[column][3] = value
    return table


def test_other_columns(made):
    edit(made, table=lambda table: table[["batch", "position"]])
    assert findings(made)["samples-unreadable"][0] == "error"


def test_a_table_without_manifest(made):
    with h5py.File(made, "a") as file:
        del file.attrs["int8cal"]
    assert findings(made)["manifest-missing"][0] == "error"


def test_many_bad_batches_are_counted(tmp_path):
    with h5py.File(tmp_path / "f", "w") as file:
        file.attrs["count"], file.attrs["shape"] = 9, (1, 1, 2, 2)
        for number in range(9):
            file.create_group(f"{GROUP}{number}")
    with TensorFile(tmp_path / "f") as file:
        values = ValueCheck(file)
        assert list(values.images()) == []
    assert len(values.findings) == 6
    assert values.findings[-1].message == "and 4 more batches cannot be read"


def test_rebatched_files_are_whole(made, tmp_path, run_cli):
    """With the manifest of the run; made from a file without one, it has none either, and nothing is invented."""
    out = tmp_path / "rebatched"
    assert run_cli("export", made, "--to", "tensorfile", "--rebatch", "2", "-o", out).code == 0
    assert findings(out) == {}
    with h5py.File(made, "a") as file:
        del file.attrs["int8cal"], file[SAMPLES]
    assert run_cli("export", made, "--to", "tensorfile", "--rebatch", "2", "-o", tmp_path / "plain").code == 0
    assert list(findings(tmp_path / "plain")) == ["no-manifest"]
