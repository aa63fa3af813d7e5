"""Every golden case of the PyTorch networks through the whole program: the same bits in the same order, or an error."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import int8cal
from int8cal.cli.app import run
from int8cal.errors import Int8calError

HERE = Path(__file__).parent / "yaml"
DATA = HERE / "data"
CASES: list[dict[str, Any]] = [json.loads(line) for line in (HERE / "cases.jsonl").read_text().splitlines()]

EVALUATED = "eval_interpolation"
"""Its spec has code in it, which is never run."""

EXIT_CODES = {"spec": {3}, "values": {3, 4}, "files": {3, 4}, "unreadable image": {4}}

NEEDS_NO_LABELS = {
    "categories_key_missing",
    "characters_absent",
    "gt_blank_line",
    "gt_no_label",
    "gt_three_words",
    "ids_above_num_classes",
    "json_categories_key_missing",
    "json_no_area",
    "json_string_ids",
    "no_palette",
    "nomask",
    "remap_bad_category",
    "train_serialized_no_width",
    "uneven",
}
"""Cases in which only labels are wrong: they run."""


def cases(*expect: str) -> list[Any]:
    chosen = (case for case in CASES if case["expect"] in expect)
    return [pytest.param(case, id=f"{case['network']}/{case['name']}") for case in chosen]


@pytest.fixture
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The spec of the case, in a folder of its own; the working directory is that of the data."""
    case = request.node.callspec.params["case"]
    monkeypatch.chdir(DATA)
    for name, value in case["env"].items():
        monkeypatch.setenv(name, value.replace("{data}", str(DATA)))
    path = tmp_path / "spec.yaml"
    path.write_text(case["spec"], newline="")
    return path


def command(case: dict[str, Any], spec: Path, out: Path) -> list[str]:
    chosen = ["--split", case["split"], "--order", "listing"]
    chosen += ["--form", case["form"]] if "form" in case else []
    return [case["network"], "calibration_tensorfile", "-e", str(spec), "-o", str(out), "-m", "-1", *chosen]


def digest(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


@pytest.mark.parametrize("case", cases("ok"))
def test_equal_in_every_bit(case: dict[str, Any], spec: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out"
    code = run(command(case, spec, out))
    if case["name"] == EVALUATED:
        assert code == 3
        assert "Python code" in capfd.readouterr().err
        assert not out.exists()
        return
    if case["shape"] == "varies":
        said = capfd.readouterr().err
        assert code == 3, said
        assert not out.exists()
        assert len(said.splitlines()) <= 3
        assert "becomes" in said
        assert "input_height" in said or "eval_spatial_size" in said
        assert_images_are_equal(case, spec)
        return
    assert code == 0, capfd.readouterr().err
    with int8cal.TensorFile(out) as file:
        images = np.concatenate(list(file))
        assert file.manifest["arithmetic"]["evidence"] == "bit-exact (TAO 7.0.1)"
        names = [os.fsdecode(row["frame_id"]) for row in file.samples]
    assert images.dtype == np.float32
    assert [list(image.shape) for image in images] == [sample["shape"] for sample in case["samples"]]
    assert [digest(image) for image in images] == [sample["sha256"] for sample in case["samples"]]
    for name, sample in zip(names, case["samples"], strict=True):
        assert sample["file"].endswith(name)


def assert_images_are_equal(case: dict[str, Any], spec: Path) -> None:
    """Image by image: a tensorfile holds one shape, the arithmetic does not care."""
    from int8cal.origins.experiment import read_spec
    from int8cal.origins.origin import Choice
    from int8cal.samples.encoded import read_encoded

    options = {"order": "listing"} | ({"form": case["form"]} if "form" in case else {})
    decision = read_spec(spec, case["network"]).decide(Choice(split=case["split"], options=options))
    arrays = []
    for index in decision.order:
        sample = decision.dataset.samples[index]
        arrays.append(decision.arithmetic(read_encoded(sample), sample))
        assert decision.arithmetic.shape(sample) == arrays[-1].shape
    assert [digest(array) for array in arrays] == [sample["sha256"] for sample in case["samples"]]


@pytest.mark.parametrize("case", cases("error"))
def test_what_the_reference_refuses(case: dict[str, Any], spec: Path, tmp_path: Path, capfd: Any) -> None:
    out = tmp_path / "out"
    code = run(command(case, spec, out))
    said = capfd.readouterr().err
    if case["name"] in NEEDS_NO_LABELS:
        assert code == 0, said
        return
    allowed = {4} if case["name"] == "infer_no_folder" else EXIT_CODES.get(case["cause"], {3, 4})
    assert code in allowed, said
    assert len([line for line in said.splitlines() if not line.startswith("int8cal: warning")]) <= 3
    assert not out.exists()
    assert os.listdir(tmp_path) == ["spec.yaml"]


@pytest.mark.parametrize("case", cases("empty", "lenient"))
def test_what_the_reference_passes_over(case: dict[str, Any], spec: Path, tmp_path: Path, capfd: Any) -> None:
    code = run(command(case, spec, tmp_path / "out"))
    assert code == 4, capfd.readouterr().err
    assert os.listdir(tmp_path) == ["spec.yaml"]


@pytest.mark.parametrize("case", cases("ok")[::9])
def test_the_default_order_is_one_of_the_same_images(case: dict[str, Any], spec: Path) -> None:
    try:
        plan = int8cal.plan(spec, split=case["split"], max_batches=-1, batch_size=1)
    except Int8calError:
        return
    assert len(list(plan.samples())) == len(case["samples"])
