"""Every golden case of classification, SSD and DSSD through the whole program: equal arrays in order, or our error."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from tests.golden.cases import DATA, GoldenCase, load_cases

import int8cal

NETWORKS = ("classification", "ssd", "dssd")

JPEG_DIFFERENCE = {"caffe3_color_jpeg": (23.0, 0.6)}
"""Largest and mean difference in levels that another JPEG library may make: turbo here, IJG 9d there."""

REFUSED: dict[str, tuple[int, list[str]]] = {
    "exists": (5, ["already exists"]),
    "mean_incomplete": (3, ["'r', 'g', 'b' should all be present in image_mean for images with 3 channels."]),
    "missing_folder": (4, ["cls/nowhere"]),
    "no_preprocess_mode": (3, ["preprocess_mode should in ['tf', 'caffe', 'torch']. Wrong value: "]),
    "too_many": (4, ["4 minibatches", "requested amount is 5"]),
    "zero_batches": (2, ["0 batches"]),
    "ssd_too_many": (4, ["3 minibatches", "requested amount is 4", "12 training images"]),
    "dssd_exists": (5, ["already exists"]),
}


def cases(*expect: str) -> list[GoldenCase]:
    return [case for network in NETWORKS for case in load_cases(network, *expect)]


@pytest.mark.parametrize("case", cases("ok"), ids=str)
def test_equal_in_every_bit(case, tmp_path, monkeypatch):
    monkeypatch.chdir(DATA)
    plan = int8cal.plan(case.spec, split=case.split, max_batches=case.max_batches, seed=case.facts["seed"])
    manifest = int8cal.make(plan, tmp_path / "out")
    with int8cal.TensorFile(tmp_path / "out") as file:
        batches = np.stack(list(file))
    assert batches.shape == case.shape
    assert batches.dtype == np.float32
    assert manifest.facts["network"] == case.network
    level = "bit-exact" if case.network == "classification" else "exporter-equal"
    assert manifest.facts["arithmetic"]["evidence"] == f"{level} but for colour JPEGs"
    assert len(plan.dataset.samples) == case.facts["n_images"]
    chosen = list(plan.samples())
    assert len(chosen) == len(case.samples)
    for sample, golden in zip(chosen, case.samples, strict=True):
        assert golden["file"].split("#")[0].endswith(sample.path.removeprefix(f"{DATA}/"))
    if case.name in JPEG_DIFFERENCE:
        largest, mean = JPEG_DIFFERENCE[case.name]
        difference = np.abs(batches - case.expected)
        assert difference.max() <= largest
        assert difference.mean(axis=(2, 3, 4)).max() <= mean
        return
    images = batches.reshape(-1, *batches.shape[2:])
    assert [hashlib.sha256(image.tobytes()).hexdigest() for image in images] == [s["sha256"] for s in case.samples]


@pytest.mark.parametrize("case", cases("error", "empty"), ids=str)
def test_refused_with_the_same_facts(case, tmp_path, run_cli):
    out = tmp_path / "new" / "out"
    if case.facts.get("pre_existing_output"):
        out.parent.mkdir()
        out.write_bytes(b"precious")
    done = run_cli(
        case.network, "calibration_tensorfile", "-e", case.spec, "-m", str(case.max_batches), "-o", out, cwd=DATA
    )
    code, facts = REFUSED[case.name]
    assert done.code == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 2
    for fact in facts:
        assert fact in done.stderr
    if case.facts.get("pre_existing_output"):
        assert out.read_bytes() == b"precious"
    else:
        assert not list(tmp_path.rglob("out*"))


def test_every_refused_case_is_in_the_table():
    assert set(REFUSED) == {case.name for case in cases("error", "empty")}
