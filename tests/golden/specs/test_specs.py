"""Specs as people have them: told apart, read, checked, shown and written back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.path_roles import PATH_ROLES

from int8cal import networks
from int8cal.origins.experiment import read_document
from int8cal.spec.document import ROLES
from int8cal.spec.prototext.check import check
from int8cal.spec.prototext.find import root_of_text
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText
from int8cal.spec.reading import read_bytes
from int8cal.spec.update import Substitution, update_spec

HERE = Path(__file__).parent


class Case(NamedTuple):
    path: Path
    root: str
    warns: bool


with (HERE / "index.csv").open(newline="") as index:
    CASES = [Case(HERE / row["file"], row["root"], bool(row["warnings"])) for row in csv.DictReader(index)]

each_spec = pytest.mark.parametrize("case", CASES, ids=[str(case.path.relative_to(HERE)) for case in CASES])


def test_every_file_is_in_the_index() -> None:
    assert {case.path for case in CASES} == set(HERE.glob("*/*.txt"))


@each_spec
def test_the_message_is_found_from_the_fields(case: Case) -> None:
    assert root_of_text(SpecText.from_bytes(read_bytes(str(case.path))), str(case.path)) == case.root


@each_spec
def test_the_text_comes_back_byte_for_byte(case: Case) -> None:
    data = case.path.read_bytes()
    assert SpecText.from_bytes(data).to_bytes() == data


@each_spec
def test_it_loads_and_warns_only_of_legacy_fields(case: Case) -> None:
    spec = read_document(str(case.path))
    assert bool(spec.warnings) is case.warns
    assert all(warning.startswith(f"{case.path}:") and "legacy" in warning for warning in spec.warnings)


@each_spec
def test_only_the_missing_preprocess_mode_is_found_wrong(case: Case) -> None:
    """NVIDIA's older classification specs leave preprocess_mode out, which its own validator refuses."""
    expected = {"train_config.preprocess_mode"} if b"preprocess_mode" not in case.path.read_bytes() else set()
    findings = check(read_document(str(case.path)))
    assert {finding.field for finding in findings} == (expected if "classification" in case.root else set())


@each_spec
def test_the_normal_form_says_the_same(case: Case) -> None:
    spec = read_document(str(case.path))
    assert parse(SpecText.from_str(spec.as_text()), "normal form", case.root).message == spec.message
    assert json.loads(json.dumps(spec.as_dict()))["message"] == case.root.rpartition(".")[2]


def leading_runs(path: str) -> list[str]:
    """Every reference that fits a path: its first component, its first two, …, itself."""
    components = path.removesuffix("/*").rstrip("/").split("/")
    return [run for count in range(1, len(components) + 1) if (run := "/".join(components[:count]))]


def test_every_role_is_in_some_spec_and_every_experiment_has_one() -> None:
    roles = {}
    for case in CASES:
        table = PATH_ROLES[case.root.rpartition(".")[0]]
        roles[case] = {path.role for path in read_document(str(case.path)).path_values(table)}
    assert set().union(*roles.values()) == set(ROLES)
    assert [case.path.name for case in CASES if case.root.endswith(".Experiment") and not roles[case]] == []


@each_spec
def test_an_update_changes_the_paths_of_the_role_and_nothing_else(case: Case) -> None:
    spec = read_document(str(case.path))
    table = PATH_ROLES[case.root.rpartition(".")[0]]
    paths = list(spec.path_values(table))
    for role, reference in {(path.role, run) for path in paths for run in leading_runs(path.content)}:
        updated = update_spec(spec, table, [Substitution(role, reference, "/mnt/new place")]).document
        before, after = spec.text.text.split("\n"), updated.text.text.split("\n")
        changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new]
        hit = [path for path in paths if path.role == role and f"{path.content}/".startswith(f"{reference}/")]
        assert changed == sorted({spec.line_of(path.start) for path in hit})
        by_field = {path.path: path.content for path in updated.path_values(table)}
        expected = {path.path: path.content for path in paths}
        expected |= {path.path: f"/mnt/new place{path.content.removeprefix(reference)}" for path in hit}
        assert by_field == expected


def test_every_network_goes_by_the_table_of_its_package() -> None:
    for network in networks.all_networks():
        if network.root.rpartition(".")[0] not in PATH_ROLES:  # its specs are in YAML
            continue
        assert network.path_roles == PATH_ROLES[network.root.rpartition(".")[0]], network.name
