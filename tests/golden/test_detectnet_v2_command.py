"""Every golden case of DetectNet_v2 through the whole program: equal arrays, or our error with the same facts."""

from __future__ import annotations

import hashlib
import json

import h5py
import numpy as np
import pytest
from tests.golden.cases import DATA, GoldenCase, load_cases

import int8cal

COMMAND = ("detectnet_v2", "calibration_tensorfile")

# Exit code and facts of every case in which the reference fails, or silently writes an empty file.
REFUSED: dict[str, tuple[int, list[str]]] = {
    "m0_bad_fold": (4, ["validation", "fold"]),
    "m0_batch_too_big": (4, ["do not fill one batch"]),
    "m0_broken_png": (4, ["Invalid PNG data, size 8546", ".png"]),
    "m0_channels_unset": (3, ["output_image_channel", "1 or 3"]),
    "m0_cmyk_gray": (4, ["Invalid JPEG data or crop window, data size 6939"]),
    "m0_crop_no_bottom": (3, ["Crop.bottom (0) should be greater than Crop.top (0)."]),
    "m0_crop_null": (3, ["Crop.right (50) should be greater than Crop.left (50)."]),
    "m0_exists": (5, ["already exists"]),
    "m0_fp16": (4, ["Expected image (JPEG, PNG, or GIF), got unknown format"]),
    "m0_minmax_mixed": (4, ["(3, 64, 106)", "(3, 64, 96)"]),
    "m0_minmax_nomax": (3, ["output_image_max"]),
    "m0_missing_image": (4, ["gap/png/000001.png", "No such file or directory"]),
    "m0_missing_image_dir": (4, ["No dataset image directory found at path", "nowhere"]),
    "m0_missing_tfrecords": (4, ["No files match pattern", "small/tfrecords_png/nothing*"]),
    "m0_no_data_sources": (3, ["data_sources should be set in experiment spec file."]),
    "m0_no_split_val": (4, ["validation"]),
    "m0_not16": (3, ["output_image_width should % 16. Wrong value: 95"]),
    "m0_spatial_unset": (3, ["zoom_min must be > 0.0"]),
    "m0_too_many": (4, ["The dataset contains 2 minibatches, while the requested amount is 9"]),
    "m0_unknown_field": (3, ["random_sead", "random_seed"]),
    "m0_wrong_sizes": (4, ["Paddings must be non-negative: 0 -32"]),
    "m0_zero_batches": (2, ["0 batches"]),
    "m1_fold_val": (4, ["validation"]),
    "m2_bad_fold": (4, ["fold"]),
    "m2_batch_too_big": (4, ["do not fill one batch"]),
    "m2_broken_jpg": (4, ["Invalid JPEG data or crop window, data size 620"]),
    "m2_ext_bmp": (3, ["Encoding not supported, must be one of ['fp16', 'jpg', 'jpeg', 'png'], given 'bmp'"]),
    "m2_missing_image": (4, ["gap/png/000001.png", "No such file or directory"]),
    "m2_no_split_val": (4, ["validation"]),
    "m2_too_many": (4, ["The dataset contains 2 minibatches, while the requested amount is 9"]),
}


def arguments(case: GoldenCase) -> list[str]:
    flags = ["--use_validation_set"] if case.split == "validation" else []
    return ["-e", str(case.spec), "-m", str(case.max_batches), *flags]


@pytest.mark.parametrize("case", load_cases("detectnet_v2", "ok"), ids=str)
def test_equal_in_every_bit(case, tmp_path, monkeypatch):
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    plan = int8cal.plan(case.spec, split=case.split, max_batches=case.max_batches)
    manifest = int8cal.make(plan, tmp_path / "out")
    with h5py.File(tmp_path / "out") as file:
        assert int(file.attrs["count"]) == case.shape[0]
        assert tuple(file.attrs["shape"]) == case.shape[1:]
        batches = [
            file[f"_tensorfile_array_key__{number}/_tensorfile_array_key_"][()] for number in range(case.shape[0])
        ]
    images = np.concatenate(batches)
    assert images.dtype == np.dtype("<f4")
    if case.expected is not None:
        np.testing.assert_array_equal(np.stack(batches).view(np.uint32), case.expected.view(np.uint32))
    assert [hashlib.sha256(image.tobytes()).hexdigest() for image in images] == [s["sha256"] for s in case.samples]
    assert [row.frame_id.decode() for row in manifest.samples] == [sample["frame_id"] for sample in case.samples]
    assert [row.source for row in manifest.samples] == [sample["source"] for sample in case.samples]
    files = [hashlib.sha256((DATA / sample["file"]).read_bytes()).digest() for sample in case.samples]
    assert [row.sha256 for row in manifest.samples] == files


@pytest.mark.parametrize("case", load_cases("detectnet_v2", "error", "empty"), ids=str)
def test_refused_with_the_same_facts(case, tmp_path, run_cli):
    out = tmp_path / "new" / "out"
    if case.facts.get("pre_existing_output"):
        out.parent.mkdir()
        out.write_bytes(b"precious")
    done = run_cli(*COMMAND, *arguments(case), "-o", out, env=case.environment)
    code, facts = REFUSED[case.name]
    assert done.code == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 2
    for fact in facts:
        assert fact in done.stderr
    if case.facts.get("pre_existing_output"):
        assert out.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["new"], ["new", "out"])
    assert out.exists() == bool(case.facts.get("pre_existing_output"))


def test_every_refused_case_is_in_the_table():
    assert set(REFUSED) == {case.name for case in load_cases("detectnet_v2", "error", "empty")}


def test_errors_as_json(run_cli, tmp_path):
    case = next(case for case in load_cases("detectnet_v2", "error") if case.name == "m0_not16")
    done = run_cli(*COMMAND, *arguments(case), "-o", tmp_path / "out", "--json", env=case.environment)
    error = json.loads(done.stdout)["error"]
    assert (done.code, error["exit_code"], error["type"]) == (3, 3, "SpecError")
    assert error["where"].startswith(str(case.spec) + ":")
    assert done.stderr == ""
