"""What lies in a request's output is its finished result only if file, record and request say the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.lib import recfunctions as rfn
from tests.tensorfiles import edit

import int8cal
from int8cal.cli.tables import run_table
from int8cal.component.finished import finished
from int8cal.engine.tao import file_sha256, images_sha256
from int8cal.errors import OutputExistsError
from int8cal.manifest import reference_facts

MANIFEST, SAMPLES = "int8cal", "int8cal_samples"
ABSENT = object()


@pytest.fixture(scope="module")
def plan(tiny_dataset):
    return int8cal.plan(tiny_dataset.spec, max_batches=1)


@pytest.fixture(scope="module")
def result(plan, tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "calibration.tensor"
    int8cal.make(plan, path)
    return path


@pytest.fixture
def made(result, tmp_path):
    return shutil.copy(result, tmp_path / "calibration.tensor")


@pytest.fixture
def made_by_nvidia(made, plan):
    """The file, and what writes its record: a manifest → ``<file>.json``."""
    with h5py.File(made, "a") as file:
        del file.attrs[MANIFEST], file[SAMPLES]
    run = {"tensorfile_sha256": file_sha256(made), "images_sha256": images_sha256(plan)}

    def record(facts):
        Path(f"{made}.json").write_text(json.dumps({"schema": 1, "tensorfile": "x", "manifest": facts, "run": run}))

    return made, record


def change(facts, changes):
    """Set values by name, or by dotted names; take out what is to be absent."""
    for name, value in changes.items():
        *groups, last = name.split(".")
        place = facts
        for group in groups:
            place = place[group]
        if value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return facts


def without_mending(path, changes):
    with h5py.File(path, "a") as file:
        facts = change(json.loads(bytes(file.attrs[MANIFEST])), changes)
        file.attrs[MANIFEST] = np.bytes_(json.dumps(facts, sort_keys=True, separators=(",", ":")))


def of_version_1(path, changes):
    def manifest(facts):
        del facts["record_xxh3_128"]
        return change(facts, {"schema": 1, **changes})

    def table(rows):
        columns = [name for name in rows.dtype.names if name != "xxh3_128"]
        return rfn.repack_fields(rows[columns])

    edit(path, manifest=manifest, table=table)


def look(plan, path, engine="native"):
    return finished(plan, str(path), engine=engine, max_skipped=0)


def test_the_result_is_found_and_shown(plan, made):
    found = look(plan, made)
    assert found.reused
    assert ("batches", "1 of 4 images, 3 x 96 x 160 float32") in run_table(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": 99},
        {"batches": ABSENT},
        {"seed": 12345},
        {"record_xxh3_128": ABSENT, "batches": 7},
        {"record_xxh3_128": ABSENT},
        {"dataset.sources": [1]},
        {"packages.numpy": "0"},
    ],
)
def test_a_manifest_that_was_edited_is_unsound(plan, made, changes):
    without_mending(made, changes)
    with pytest.raises(OutputExistsError, match="already exists, and is unsound"):
        look(plan, made)


def test_damage_that_every_reader_reads_over_is_unsound(plan, made):
    with h5py.File(made, "a") as file:
        file[SAMPLES].attrs["note"] = 1
    with pytest.raises(OutputExistsError, match="is unsound: the attributes of the file"):
        look(plan, made)


def test_values_that_are_not_finite_are_unsound(plan, made):
    def values(file):
        file["_tensorfile_array_key__0/_tensorfile_array_key_"][1, 0, 0, 0] = np.nan

    edit(made, values=values)
    with pytest.raises(OutputExistsError, match="NaN"):
        look(plan, made)


def test_an_old_file_is_found(plan, made):
    of_version_1(made, {})
    assert look(plan, made).batches == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": ABSENT},
        {"batches": "x"},
        {"batches": float("nan")},
        {"batches": 99},
        {"batches": True},
        {"batch_size": 4.0},
        {"images": ABSENT},
        {"images": "folder"},
        {"dataset": ABSENT},
        {"dataset": 3},
        {"int8cal": ABSENT},
        {"int8cal": ["0"]},
        {"arithmetic": None},
        {"arithmetic.options": [1]},
        {"arithmetic.name": "another"},
        {"split": "\x1b]0;owned\x07"},
        {"seed": 12345},
        {"seed": "\x1b[31m"},
        {"options": 7},
        {"skipped": None},
        {"image_shape": [1, 2, 3]},
        {"max_batches": -1},
    ],
)
def test_an_old_file_without_checksums_must_say_what_the_request_says(plan, made, changes):
    of_version_1(made, changes)
    with pytest.raises(OutputExistsError, match=r"is unsound|is not the result of this request"):
        look(plan, made)


def test_the_counts_that_are_shown_are_those_of_today(plan, made):
    of_version_1(made, {"dataset": {"sources": "x", "\x1b[31m": [1]}})
    assert look(plan, made).facts["dataset"] == plan.dataset.facts()


def test_a_file_with_too_few_batches_is_of_another_request(tiny_dataset, made):
    longer = int8cal.plan(tiny_dataset.spec, max_batches=2)
    edit(made, manifest=lambda facts: {**facts, "max_batches": 2, "plan_sha256": longer.sha256})
    with pytest.raises(OutputExistsError, match="is the result of another request"):
        look(longer, made)


def test_nvidias_result_is_found_by_its_record(plan, made_by_nvidia):
    made, record = made_by_nvidia
    record({**reference_facts(plan), "int8cal": "0.0"})  # of another version
    found = look(plan, made, "tao")
    assert ("batches", "1 of 4 images, 3 x 96 x 160 float32") in run_table(found)


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"batches": "many"},
        {"batches": 10**30},
        {"batches": 99},
        {"batches": ABSENT},
        {"image_shape": 7},
        {"skipped": None},
        {"skipped": 1},
        {"network": "\x1b[31mred"},
        {"arithmetic": [1]},
        {"arithmetic.evidence": "proved"},
        {"dataset": 3},
        {"split": {"a": [1]}},
        {"seed": {"x": 1}},
        {"int8cal": {}},
        {"plan_sha256": [1]},
        {"schema": "1"},
    ],
)
def test_a_record_of_nvidias_file_must_say_what_the_request_says(plan, made_by_nvidia, changes):
    made, record = made_by_nvidia
    facts = reference_facts(plan)
    record({"plan_sha256": plan.sha256} if changes is None else change(facts, changes))
    with pytest.raises(OutputExistsError, match="is not the result of this request"):
        look(plan, made, "tao")


def test_nvidias_file_must_have_the_size_of_the_request(tiny_dataset, made_by_nvidia):
    made, record = made_by_nvidia
    longer = int8cal.plan(tiny_dataset.spec, max_batches=2)
    record(reference_facts(longer))
    with pytest.raises(OutputExistsError, match="is not the result of this request"):
        look(longer, made, "tao")
