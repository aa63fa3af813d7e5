"""Classification: what its spec may ask for, and resizing as in training."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.pictures import deep_grey, encode, pixels
from tests.specs import CLASSIFICATION, changed

import int8cal
from int8cal.errors import DataError, MissingDataError, SpecError, UsageError
from int8cal.samples.samples import Sample

SAMPLE = Sample(0, "x", "x.png")
ONE_MEAN = 'image_mean { key: "g" value: 1 }'


@pytest.mark.parametrize(
    ("edits", "said", "place"),
    [
        ([("3,24,32", "3,15,32")], "Image height should be greater than 15 pixels.", "2:44"),
        ([("3,24,32", "3,24,15")], "Image width should be greater than 15 pixels.", "2:44"),
        ([("3,24,32", "4,24,32")], "Invalid input image dimension.", "2:44"),
        ([("3,24,32", "3,224")], "not three numbers", "2:44"),
        ([("3,24,32", "3,wide,32")], "not three numbers", "2:44"),
        ([("3,24,32", "3,50000,50000")], "too large", "2:44"),
        ([("caffe", "keras")], "preprocess_mode should in ['tf', 'caffe', 'torch']. Wrong value: keras", "7:"),
        ([("n_workers: 1", f"n_workers: 1 {ONE_MEAN}")], "'r', 'g', 'b' should all be present in image_mean", "7:"),
        (
            [("caffe", "torch"), ("n_workers: 1", f"n_workers: 1 {ONE_MEAN}")],
            "'r', 'g', 'b' should all be present in image_mean",
            "7:",
        ),
        (
            [("3,24", "1,24"), ("n_workers: 1", f"n_workers: 1 {ONE_MEAN}")],
            "'l' should be present in image_mean for images with 1 channel.",
            "7:",
        ),
        ([("batch_size_per_gpu: 2", "batch_size_per_gpu: 0")], "batch_size_per_gpu should > 0", "7:"),
    ],
)
def test_impossible_specs(here, read, edits, said, place):
    with pytest.raises(SpecError) as caught:
        read(changed(CLASSIFICATION, *edits))
    assert said in caught.value.message
    assert caught.value.where.startswith(f"{here / 'spec.txt'}:{place}")


def test_no_images(here, read):
    for picture in (here / "train" / "animals").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="no image is in the 1 class folders"):
        int8cal.plan(read(CLASSIFICATION))
    with pytest.raises(MissingDataError, match="folder of training images"):
        int8cal.plan(read(changed(CLASSIFICATION, ('"train"', '"lost"'))))


def test_defaults(here, read):
    plan = int8cal.plan(read(CLASSIFICATION))
    assert (plan.batch_count, plan.seed, plan.options) == (1, 42, {"resize": "nearest"})
    assert plan.order.tolist() == np.random.RandomState(42).permutation(5).tolist()
    assert plan.dataset.counts["empty class folders"] == 0


def resized(read, picture: np.ndarray, interpolation: str, **options: str) -> np.ndarray:
    text = changed(CLASSIFICATION, ("caffe", "tf"), ("n_layers: 18", f"resize_interpolation_method: {interpolation}"))
    arithmetic = int8cal.plan(read(text), options=options).arithmetic
    return (arithmetic(encode(picture), SAMPLE) + 1) * 127.5


@pytest.mark.parametrize("interpolation", ["BILINEAR", "BICUBIC"])
def test_resize_as_in_training(here, read, interpolation):
    picture = pixels(100, 90)
    filtered = Image.fromarray(picture).resize((32, 24), Image.Resampling[interpolation])
    result = resized(read, picture, interpolation, resize="training")
    np.testing.assert_allclose(result, np.asarray(filtered).transpose(2, 0, 1), atol=1e-4)


def test_the_interpolation_of_the_spec_is_ignored_by_default(here, read):
    picture = pixels(100, 90)
    expected = Image.fromarray(picture).resize((32, 24), Image.Resampling.NEAREST)
    for interpolation in ("BILINEAR", "BICUBIC"):
        result = resized(read, picture, interpolation)
        np.testing.assert_allclose(result, np.asarray(expected).transpose(2, 0, 1), atol=1e-4)


def test_resizing_is_part_of_the_plan(here, read):
    spec = read(CLASSIFICATION)
    nearest, training = (int8cal.plan(spec, options={"resize": value}) for value in ("nearest", "training"))
    assert nearest.sha256 == int8cal.plan(spec).sha256 != training.sha256
    assert nearest.arithmetic.evidence == "bit-exact but for colour JPEGs"
    assert training.arithmetic.evidence == "unverified"
    assert training.facts()["options"] == {"resize": "training"}
    assert training.arithmetic.options["resize"] == "bilinear"


def test_sixteen_bits_are_kept_in_grey(here, read):
    arithmetic = int8cal.plan(read(changed(CLASSIFICATION, ("3,24,32", "1,24,32")))).arithmetic
    deep = deep_grey(24, 32)
    np.testing.assert_array_equal(arithmetic(encode(deep), SAMPLE)[0], deep.astype(np.float32) - np.float32(117.3786))


@pytest.mark.parametrize("options", [{"resize": "cubic"}, {"size": "nearest"}])
def test_unknown_options(here, read, options):
    with pytest.raises(UsageError):
        int8cal.plan(read(CLASSIFICATION), options=options)


def test_splits_that_are_none(here, read):
    with pytest.raises(UsageError, match="there is no split 'test'") as caught:
        int8cal.plan(read(CLASSIFICATION), split="test")
    assert "training or validation" in caught.value.hint
