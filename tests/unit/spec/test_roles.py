"""Path roles: every path field has one or a reason, and clearing paths clears all of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.path_roles import PATH_ROLES

from int8cal.spec.document import ROLES
from int8cal.spec.prototext.document import PrototextSpec, without_fields

Read = Callable[..., PrototextSpec]
DATA = Path(__file__).parents[2] / "data" / "specs"

with (DATA / "path_fields.csv").open(newline="") as file:
    PATH_FIELDS = list(csv.DictReader(file))


@pytest.mark.parametrize(
    "row", PATH_FIELDS, ids=[f"{row['network']}-{row['root']}-{row['path']}" for row in PATH_FIELDS]
)
def test_every_path_field_has_a_role_or_a_reason(row: dict[str, str]) -> None:
    entry = PATH_ROLES[f"int8cal.{row['network']}"][row["path"]]
    role, _, reason = entry.partition(": ")
    assert entry in ROLES or (role == "none" and reason)


@pytest.mark.parametrize("package", PATH_ROLES)
def test_the_tables_name_path_fields_only(package: str) -> None:
    known = {row["path"] for row in PATH_FIELDS if f"int8cal.{row['network']}" == package}
    assert set(PATH_ROLES[package]) == known


TEXT = """
dataset_config {
  data_sources { tfrecords_path: "/r/*" image_directory_path: "/i" source_weight: 2 }
  data_sources: [{ image_directory_path: "/j" }, {}]
  validation_fold: 0
}
model_config { pretrained_model_file: "/m" num_layers: 18 }
postprocessing_config { target_class_config { key: "car" value { confidence_config {
  confidence_model_filename: "/c" confidence_threshold: 0.5 } } } }
"""


def test_paths_are_found_with_role_and_place(read: Read) -> None:
    found = [
        (path.role, path.path, path.content) for path in read(TEXT).path_values(PATH_ROLES["int8cal.detectnet_v2"])
    ]
    assert found == [
        ("training_tfrecords", "dataset_config.data_sources[0].tfrecords_path", "/r/*"),
        ("training_data", "dataset_config.data_sources[0].image_directory_path", "/i"),
        ("training_data", "dataset_config.data_sources[1].image_directory_path", "/j"),
        ("base_model", "model_config.pretrained_model_file", "/m"),
    ]


def test_without_paths_everything_else_is_left(read: Read) -> None:
    spec = read(TEXT)
    cleared = without_fields(spec.message, PATH_ROLES["int8cal.detectnet_v2"])
    expected = read(
        "dataset_config { data_sources { source_weight: 2 } data_sources {} data_sources {} validation_fold: 0 }"
        "model_config { num_layers: 18 } postprocessing_config { target_class_config { key: 'car' value {"
        "confidence_config { confidence_threshold: 0.5 } } } }"
    )
    assert cleared == expected.message
    assert spec.message.model_config.pretrained_model_file == "/m"
