"""Golden cases in which the reference fails or writes nothing, as far as reading and decoding decide them."""

from __future__ import annotations

import pytest

from int8cal import networks
from int8cal.errors import DataError, ImageError, Int8calError, MissingDataError, SpecError
from int8cal.origins.experiment import read_document
from int8cal.samples.encoded import read_encoded
from int8cal.samples.paths import data_root

from .cases import DATA, GoldenCase, load_cases

EXPECTED: dict[str, tuple[type[Int8calError], list[str]]] = {
    "m0_bad_fold": (DataError, ["validation", "fold-007-of-"]),
    "m0_broken_png": (ImageError, ["broken/png/000001.png", "Invalid PNG data, size 8546"]),
    "m0_channels_unset": (SpecError, ["spec.txt:10:3", "output_image_channel", "1 or 3"]),
    "m0_cmyk_gray": (ImageError, ["Invalid JPEG data or crop window, data size 6939"]),
    "m0_crop_no_bottom": (SpecError, ["Crop.bottom (0) should be greater than Crop.top (0)"]),
    "m0_crop_null": (SpecError, ["Crop.right (50) should be greater than Crop.left (50)"]),
    "m0_fp16": (ImageError, [r"(JPEG, PNG, or GIF), got unknown format starting with 'B;T;B;\341:\200:\211:T:B:'"]),
    "m0_minmax_nomax": (SpecError, ["output dimensions must be positive", "output_image_max"]),
    "m0_missing_image": (MissingDataError, [f"{DATA}/gap/png/000001.png", "No such file or directory"]),
    "m0_missing_image_dir": (MissingDataError, [f"No dataset image directory found at path: '{DATA}/nowhere'"]),
    "m0_missing_tfrecords": (MissingDataError, [f"No files match pattern {DATA}/small/tfrecords_png/nothing*."]),
    "m0_no_split_val": (DataError, ["no validation split", "validation_fold", "validation_data_source"]),
    "m0_spatial_unset": (SpecError, ["spec.txt:", "zoom_min must be > 0.0"]),
    "m0_unknown_field": (SpecError, ["spec.txt:1:1", "random_sead"]),
    "m0_wrong_sizes": (ImageError, ["Paddings must be non-negative: 0 -32"]),
    "m1_fold_val": (DataError, ["LEGACY", "validation_fold"]),
    "m2_bad_fold": (DataError, ["validation", "fold-007-of-"]),
    "m2_broken_jpg": (ImageError, ["broken/jpg/000002.jpg", "Invalid JPEG data or crop window, data size 620"]),
    "m2_ext_bmp": (SpecError, ["Encoding not supported, must be one of ['fp16', 'jpg', 'jpeg', 'png'], given 'bmp'"]),
    "m2_missing_image": (MissingDataError, [f"{DATA}/gap/png/000001.png", "No such file or directory"]),
    "m2_no_split_val": (DataError, ["no validation split"]),
}

DECIDED_LATER = {
    "m0_no_data_sources": "the tables of required fields",
    "m0_not16": "the tables of field values",
    "m0_minmax_mixed": "the shapes of the samples taken together",
    "m0_batch_too_big": "the number of batches",
    "m0_too_many": "the number of batches",
    "m0_zero_batches": "the number of batches",
    "m2_batch_too_big": "the number of batches",
    "m2_too_many": "the number of batches",
    "m0_exists": "the output path",
}


def make_all(case: GoldenCase) -> set[tuple[int, int, int]]:
    network = networks.get(case.network)
    spec = read_document(str(case.spec), case.network)
    network.check(spec)
    dataset = network.dataset(spec, case.split, data_root(case.environment))
    arithmetic = network.arithmetic(spec, dataset, {})
    order = network.order(spec.message, dataset, network.seed(spec.message))
    return {arithmetic(read_encoded(sample), sample).shape for sample in (dataset.samples[index] for index in order)}


def test_every_failing_case_has_its_place() -> None:
    assert {
        case.name for case in load_cases("detectnet_v2", "error", "empty")
    } == EXPECTED.keys() | DECIDED_LATER.keys()


@pytest.mark.parametrize("case", [case for case in load_cases("detectnet_v2") if case.name in EXPECTED], ids=str)
def test_failure_names_the_facts(case: GoldenCase) -> None:
    kind, facts = EXPECTED[case.name]
    with pytest.raises(Int8calError) as caught:
        make_all(case)
    assert type(caught.value) is kind
    for fact in facts:
        assert fact in str(caught.value)


def test_mixed_shapes_are_known_before_an_image_is_read() -> None:
    (case,) = (case for case in load_cases("detectnet_v2", "error") if case.name == "m0_minmax_mixed")
    network = networks.get(case.network)
    spec = read_document(str(case.spec), case.network)
    dataset = network.dataset(spec, case.split, data_root(case.environment))
    shapes = {network.arithmetic(spec, dataset, {}).shape(sample) for sample in dataset.samples}
    assert {(3, 64, 106), (3, 64, 96)} < shapes == make_all(case)
