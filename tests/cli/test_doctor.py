"""``int8cal doctor`` judges."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from int8cal.cli import doctor

LOCK = Path(__file__).parents[2] / "requirements"


def test_it_says_what_it_found(run_cli):
    done = run_cli("doctor")
    assert done.code == 0
    assert "GiB are free in ." in done.stdout
    assert "nothing stands in the way" in done.stdout
    levels = {one["level"] for one in json.loads(run_cli("doctor", "--json").stdout)["judgements"]}
    assert levels <= {"note", "warning"}


@pytest.fixture
def versions(monkeypatch):
    """Versions of packages in place of the installed ones."""

    real = metadata.version

    def pretend(**other: str) -> None:
        def version(package: str) -> str:
            said = other.get(package.lower().replace("-", "_"))
            if said == "":
                raise metadata.PackageNotFoundError(package)
            return said or real(package)

        monkeypatch.setattr(doctor.metadata, "version", version)

    return pretend


def test_what_is_missing_is_told_with_what_it_is_for(run_cli, versions):
    versions(onnxruntime="", h5py="")
    done = run_cli("doctor")
    assert done.code == 8
    assert "problem  h5py is missing, and int8cal needs it" in done.stdout
    assert "not installed: onnxruntime, for quantize, compare and verify --model. Install what the extra" in done.stdout
    assert "1 to mend" in done.stdout


def test_versions_that_were_never_tested(run_cli, versions):
    versions(numpy="9.1.0")
    assert "warning  numpy 9.1.0 was never tested with this int8cal: 2.x was" in run_cli("doctor").stdout


@pytest.mark.parametrize("package", [*doctor._required(), *doctor._OPTIONAL])
def test_a_version_of_each_package_is_judged(versions, package):
    versions(**{package.lower().replace("-", "_"): "99.1"})
    assert any(f"{package} 99.1 was never tested" in text for _, text in doctor._of_packages())


def test_a_folder_that_cannot_hold_results(run_cli):
    done = run_cli("doctor", "--output_dir", "nowhere")
    assert done.code == 8
    assert "problem  nowhere cannot hold results: No such file or directory" in done.stdout
    as_json = run_cli("doctor", "--output_dir", "nowhere", "--json")
    assert as_json.code == 8
    assert "problem" in {one["level"] for one in json.loads(as_json.stdout)["judgements"]}


def test_the_tested_versions_are_those_of_the_lock():
    locked: dict[str, set[int]] = {}
    for file in LOCK.glob("*.txt"):
        for name, major in re.findall(r"^([\w-]+)==(\d+)", file.read_text(), re.MULTILINE):
            locked.setdefault(name.lower(), set()).add(int(major))
    for name, majors in doctor.TESTED_MAJORS.items():
        assert locked[name.lower()] == majors, name
