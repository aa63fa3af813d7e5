"""``int8cal demo`` as a user runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import int8cal
from int8cal.demo import subjects


def test_it_makes_a_data_set_and_a_tensorfile(run_cli: Callable[..., object], tmp_path: Path) -> None:
    finished = run_cli("demo", "--output_dir", "streets", "--images", "8", "--seed", "3", "--data_only", "--json")
    assert finished.code == 0, finished.stderr
    result = json.loads(finished.stdout)
    assert result["dataset"]["pictures"] == 8
    assert result["int8"] is None
    assert result["shape"] == [4, 3, 544, 960]
    with int8cal.TensorFile(tmp_path / "streets" / "calibration.tensorfile") as file:
        assert len(file) == 1  # 6 training pictures, batches of 4
        assert file[0].max() == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["streets"]


def test_what_it_prints_can_be_typed(run_cli: Callable[..., object], tmp_path: Path) -> None:
    finished = run_cli("demo", "-o", "a b", "--images", "8", "--data_only")
    assert finished.code == 0, finished.stderr
    (typed,) = (line for line in finished.stdout.splitlines() if "calibration_tensorfile -e" in line)
    assert "'a b/experiment_spec.txt'" in typed


@pytest.fixture
def few_calibration_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "CALIBRATION_IMAGES", 16)


@pytest.mark.usefixtures("few_calibration_images")
def test_it_goes_on_to_int8_accuracy(run_cli: Callable[..., object], tmp_path: Path) -> None:
    finished = run_cli("demo", "-o", "streets", "--images", "8", "--test_items", "20", "--json")
    assert finished.code == 0, finished.stderr
    networks = json.loads(finished.stdout)["int8"]
    assert [network["network"] for network in networks] == ["detector", "classifier"]
    for network in networks:
        assert network["verify"].startswith("0 errors, 0 warnings")
        assert network["judged"]["items"] >= 20
        floating, right = network["judged"]["rows"]
        assert (right["verify"], right["verify_model"]) == ("nothing", "nothing")
        assert floating["scores"]["auto"] > 0.85
        assert right["scores"]["auto"] > floating["scores"]["auto"] - 0.05
        assert (tmp_path / network["tensorfile"]).with_name("int8.onnx").exists()


@pytest.mark.usefixtures("few_calibration_images")
def test_without_the_extra_it_stops_after_the_tensorfiles(
    run_cli: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # to import it fails
    finished = run_cli("demo", "-o", "streets", "--images", "8", "--json")
    assert finished.code == 0, finished.stderr
    assert "the extra [quantize] stands for" in finished.stderr
    for network in json.loads(finished.stdout)["int8"]:
        assert network["judged"] is None
        assert (tmp_path / network["tensorfile"]).exists()


def test_it_never_replaces_a_folder_that_is_not_its_own(run_cli: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("mine")
    finished = run_cli("demo", "-o", "mine", "--images", "8", "--overwrite")
    assert finished.code == 5
    assert len(finished.stderr.splitlines()) <= 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["work.txt"]
    assert "--overwrite" not in run_cli("demo", "-o", "mine").stderr


def test_it_can_be_repeated_with_overwrite(run_cli: Callable[..., object]) -> None:
    arguments = ("demo", "-o", "streets", "--images", "8", "--data_only")
    assert run_cli(*arguments).code == 0
    again = run_cli(*arguments)
    assert again.code == 5
    assert "add --overwrite to replace what an earlier demo made" in again.stderr
    assert run_cli(*arguments, "--overwrite").code == 0


def test_senseless_numbers_are_usage_errors(run_cli: Callable[..., object], tmp_path: Path) -> None:
    for arguments in (("--images", "7"), ("--seed", "-1"), ("--seed", "4294967296")):
        finished = run_cli("demo", "-o", "x", *arguments)
        assert finished.code == 2, finished.stderr
    assert not (tmp_path / "x").exists()


def test_a_table_of_nothing_is_refused_before_the_work(run_cli, tmp_path):
    done = run_cli("demo", "-o", "streets", "--table", "--data_only")
    assert done.code == 2
    assert "--data_only makes none" in done.stderr
    assert not (tmp_path / "streets").exists()
