"""The rules that join inputs, and the paths that they make."""

from __future__ import annotations

import pytest

from int8cal.component.inputs import INPUTS, MAPPINGS
from int8cal.component.request import parse
from int8cal.errors import UsageError

BASE = {
    "model_app_name": "app",
    "training_data_dir": "/mnt/t",
    "specfile_reference_training_data_dir": "/ref/t",
    "original_specs": "/mnt/s",
    "output_dir": "/out",
}
OPTIONAL_MAPPINGS = [mapping for mapping in MAPPINGS if mapping.folder != "training_data_dir"]


def test_least_request_has_the_originals_defaults():
    request = parse(BASE)
    assert request.spec_path == "/mnt/s/detectnet_v2_retrain_resnet18_kitti.txt"
    assert request.updated_spec == "/out/app/specs/detectnet_v2_retrain_resnet18_kitti.txt"
    assert request.tensorfile == "/out/app/experiment_dir_final/calibration.tensor"
    assert request.record == "/out/app/experiment_dir_final/calibration.tensor.json"
    assert (request.max_batches, request.split, request.engine) == (10, "training", "native")
    assert [(place.reference, place.path) for place in request.run_paths] == [("/ref/t", "/mnt/t")]
    assert request.not_used == ()


def test_all_mappings():
    texts = dict(BASE)
    for mapping in MAPPINGS:
        texts |= {
            mapping.folder: f"/mnt/{mapping.role}",
            mapping.subfolder: "sub",
            mapping.reference: f"/ref/{mapping.role}",
        }
    paths = {place.mapping.role: place.path for place in parse(texts).run_paths}
    assert paths == {
        "base_model": "/mnt/base_model/app/sub",
        "training_data": "/mnt/training_data/sub",
        "training_tfrecords": "/mnt/training_tfrecords/sub",
        "validation_data": "/mnt/validation_data/sub",
        "validation_tfrecords": "/mnt/validation_tfrecords/sub",
    }


@pytest.mark.parametrize("missing", ["model_app_name", "training_data_dir", "original_specs", "output_dir"])
@pytest.mark.parametrize("text", [None, "", "ND"])
def test_required(missing, text):
    texts = {name: value for name, value in BASE.items() if name != missing}
    with pytest.raises(UsageError, match=f"{missing} is required"):
        parse(texts if text is None else {**texts, missing: text})


@pytest.mark.parametrize("mapping", OPTIONAL_MAPPINGS, ids=lambda mapping: mapping.role)
def test_reference_without_folder_names_both(mapping):
    with pytest.raises(UsageError) as caught:
        parse({**BASE, mapping.reference: "/ref", mapping.folder: "ND"})
    assert mapping.reference in str(caught.value)
    assert mapping.folder in str(caught.value)


@pytest.mark.parametrize("mapping", OPTIONAL_MAPPINGS, ids=lambda mapping: mapping.role)
@pytest.mark.parametrize("reference", ["ND", ""])
def test_folder_without_reference_is_not_used(mapping, reference):
    request = parse({**BASE, mapping.folder: "/dummy", mapping.reference: reference})
    assert [item.name for item in request.not_used] == [mapping.folder]
    assert len(request.run_paths) == 1


@pytest.mark.parametrize("mapping", OPTIONAL_MAPPINGS, ids=lambda mapping: mapping.role)
def test_subfolder_without_folder_is_not_used(mapping):
    assert [item.name for item in parse({**BASE, mapping.subfolder: "x"}).not_used] == [mapping.subfolder]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kitti", "/mnt/t/kitti"),
        ("/kitti/", "/mnt/t/kitti"),
        ("a/./b//c", "/mnt/t/a/b/c"),
        ("ND", "/mnt/t"),
        ("a/ND", "/mnt/t/a"),
        ("ND/a", "/mnt/t/ND/a"),
        ("NDVI", "/mnt/t/NDVI"),
        (".", "/mnt/t"),
        ("...", "/mnt/t/..."),
        ("-rf", "/mnt/t/-rf"),
        ("a'; touch PWNED; '", "/mnt/t/a'; touch PWNED; '"),
    ],
)
def test_subfolders(text, path):
    assert parse({**BASE, "training_data_subdir": text}).run_paths[0].path == path


@pytest.mark.parametrize("text", ["..", "../x", "a/../../x", "a/..", "/.."])
@pytest.mark.parametrize(
    "name",
    [
        *(mapping.subfolder for mapping in MAPPINGS),
        "model_app_name",
        "specs_file",
        "output_subfolder",
        "output_filename",
    ],
)
def test_no_path_leaves_its_folder(name, text):
    folders = {mapping.folder: "/mnt/x" for mapping in MAPPINGS} | {mapping.reference: "/ref" for mapping in MAPPINGS}
    with pytest.raises(UsageError, match=name):
        parse({**BASE, **folders, name: text})


@pytest.mark.parametrize("name", ["model_app_name", "specs_file", "output_subfolder", "output_filename"])
def test_absolute_names_are_refused(name):
    with pytest.raises(UsageError, match=f"{name}.*absolute"):
        parse({**BASE, name: "/etc/x"})


@pytest.mark.parametrize("name", ["model_app_name", "specs_file", "output_filename"])
def test_a_name_is_needed(name):
    with pytest.raises(UsageError, match=name):
        parse({**BASE, name: "./"})


def test_zero_batches():
    with pytest.raises(UsageError, match="max_batches"):
        parse({**BASE, "max_batches": "0.0"})


@pytest.mark.parametrize("filename", ["s.txt", "./s.txt"])
def test_spec_and_tensorfile_in_one_place(filename):
    with pytest.raises(UsageError, match="one file"):
        parse({**BASE, "specs_file": "s.txt", "output_subfolder": "specs", "output_filename": filename})


def test_spec_and_record_in_one_place():
    with pytest.raises(UsageError, match="one file"):
        parse({**BASE, "specs_file": "x.json", "output_subfolder": "specs", "output_filename": "x"})


def test_every_input_is_in_the_record():
    assert set(parse(BASE).values) == {item.name for item in INPUTS}
