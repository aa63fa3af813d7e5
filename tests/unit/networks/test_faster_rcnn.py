"""FasterRCNN against its formulas, written here once more, plainly, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.build import record, write_records
from tests.pictures import encode, pixels
from tests.specs import FASTER_RCNN, changed

import int8cal
from int8cal.errors import ImageError, RecordError, SpecError
from int8cal.samples.samples import Sample

single, half = np.float32, np.float16
GREY = (
    ("image_type: RGB", "image_type: GRAY_SCALE"),
    ('"bgr"', '"l"'),
    (r'image_channel_mean \{ key: "b".*123.68 \}', 'image_channel_mean { key: "l" value: 117.4 }'),
)
RGB = (('"bgr"', '"rgb"'),)
MEANS = {"bgr": (103.939, 116.779, 123.68), "rgb": (123.68, 116.779, 103.939), "l": (117.4,)}
SIZE = r"size_height_width \{[^}]*\}"


def rounded(value: single) -> single:
    return single(half(value))


def level(u: int) -> single:
    return rounded(single(u) * single(half(1) / half(255)))


def neighbours(position: int, n_in: int, n_out: int) -> tuple[int, int, single]:
    p = single(position) * (single(n_in) / single(n_out))
    low = math.floor(p)
    return low, min(low + 1, n_in - 1), p - single(low)


def pixel(image: np.ndarray, y: int, x: int, size: tuple[int, int], order: str, factor: float) -> list[single]:
    """The network input at one place, channel by channel; slow, and like nothing in the package."""
    y0, y1, fy = neighbours(y, image.shape[0], size[0])
    x0, x1, fx = neighbours(x, image.shape[1], size[1])
    values = []
    for channel, mean in zip(order, MEANS[order], strict=True):
        plane = image[..., "rgb".index(channel)] if image.ndim == 3 else image
        if plane.shape == size:
            v = level(plane[y, x])
        else:
            tl, tr, bl, br = (level(plane[j, i]) for j, i in ((y0, x0), (y0, x1), (y1, x0), (y1, x1)))
            top, bottom = tl + (tr - tl) * fx, bl + (br - bl) * fx
            v = rounded(top + (bottom - top) * fy)
        values.append((v * single(255) - single(mean)) / single(factor))
    return values


def assert_equal(tensor: np.ndarray, image: np.ndarray, order: str, factor: float) -> None:
    """At every 13th row and column, and at the last ones: enough for a reference in plain Python."""
    height, width = tensor.shape[1:]
    for y in (*range(0, height, 13), height - 1):
        for x in (*range(0, width, 13), width - 1):
            assert tensor[:, y, x].tolist() == pixel(image, y, x, (height, width), order, factor), (y, x)


def planned(read, text: str):
    return int8cal.plan(read(text), max_batches=1)


@pytest.mark.parametrize("factor", [1.0, 58.8, 127.5])
@pytest.mark.parametrize(("order", "edits"), [("bgr", ()), ("rgb", RGB), ("l", GREY)])
@pytest.mark.parametrize("shape", [(200, 230), (160, 176), (90, 400)])
def test_fixed_size(here, read, shape, order, edits, factor):
    plan = planned(read, changed(FASTER_RCNN, *edits, ("58.8", str(factor))))
    image = pixels(*shape, 1 if order == "l" else 3)
    tensor = plan.arithmetic(encode(image), Sample(0, "x", "x.png"))
    assert tensor.shape == (len(order), 160, 176)
    assert_equal(tensor, image, order, factor)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((427, 640), 960, (320, 479)),
        ((640, 427), 960, (479, 320)),
        ((100, 400), 960, (240, 960)),
        ((100, 400), 0, (320, 1280)),
    ],
)
def test_shortest_side(here, read, size, longest, expected):
    write_records(here / "records" / "fold-000-of-001", [record("kitti/0", *size)] * 2)
    limit = f"augmentation_config {{ preprocessing {{ output_image_max: {longest} }} }}" if longest else ""
    text = changed(FASTER_RCNN, (SIZE, "size_min { min: 320 }")) + limit
    plan = planned(read, text)
    assert plan.image_shape == (3, *expected)
    image = pixels(40, 50)
    tensor = plan.arithmetic(encode(image), next(plan.samples()))
    assert tensor.shape == (3, *expected)
    assert_equal(tensor, image, "bgr", 58.8)


def test_shortest_side_needs_recorded_sizes(here, read):
    write_records(here / "records" / "fold-000-of-001", [record("kitti/0", 0, 0)] * 2)
    with pytest.raises(ImageError, match="The record gives no image size"):
        planned(read, changed(FASTER_RCNN, (SIZE, "size_min { min: 320 }")))


def test_order_is_seeded_by_the_spec(here, read):
    plan = int8cal.plan(read(FASTER_RCNN))
    assert plan.seed == 7
    assert plan.order.tolist() == np.random.RandomState(7).permutation(5).tolist()


def test_contradictions_are_warned_of(here, read):
    text = FASTER_RCNN + "augmentation_config { preprocessing { output_image_width: 320 output_image_channel: 3 } }"
    (warning,) = planned(read, text).dataset.warnings
    assert "output_image_width is 320" in warning
    assert "makes it 176" in warning


@pytest.mark.parametrize(
    ("edits", "said", "line"),
    [
        ([('"bgr"', '"brg"')], "image_channel_order is 'brg'", 4),
        ([('"bgr"', '"l"')], "images with 3 channels need 'rgb' or 'bgr'", 4),
        ([("58.8", "0")], "image_scaling_factor should > 0. Wrong value: 0.0", 4),
        ([("58.8", "-1")], "image_scaling_factor should > 0. Wrong value: -1.0", 4),
        ([("58.8", "nan")], "image_scaling_factor should > 0. Wrong value: nan", 4),
        ([("58.8", "1e-40")], "image_scaling_factor should >= 1e-30", 4),
        ([("58.8", "inf")], r"image_scaling_factor should <= 1e\+30. Wrong value: inf", 4),
        ([("image_scaling_factor: 58.8", "")], "image_scaling_factor should > 0. Wrong value: 0.0", 3),
        ([("height: 160", "height: 159")], "height should >= 160. Wrong value: 159", 4),
        ([("width: 176", "")], "width should >= 160. Wrong value: 0", 4),
        ([(r'image_channel_mean \{ key: "g" [^}]*\}', "")], "'r', 'g', 'b' should all be present", 5),
        ([(r'image_channel_mean \{ key: "b".*123.68 \}', "")], "image_channel_mean should be set", 3),
        ([("123.68", "255.0")], "image_channel_mean of 'r' should be > 0 and < 255. Wrong value: 255", 6),
        ([("103.939", "nan")], "image_channel_mean of 'b' is nan, no finite number", 5),
        ([("value: 123.68", "")], "image_channel_mean of 'r' should be > 0 and < 255. Wrong value: 0", 6),
        ([("103.939", "0")], "of 'b' should be > 0", 5),
        ([("123.68 }", '123.68 } image_channel_mean { value: -1 key: "b" }')], "of 'b' .* Wrong value: -1", 6),
        ([("height: 160 width: 176", "height: 160000 width: 176000")], "too large", 4),
        ([(SIZE, "")], "size_height_width or size_min should be set", 3),
        ([(SIZE, "size_min { }")], "min should > 0. Wrong value: 0", 4),
    ],
)
def test_impossible_specs(here, read, edits, said, line):
    with pytest.raises(SpecError, match=said) as caught:
        read(changed(FASTER_RCNN, *edits))
    assert caught.value.where.startswith(f"{here / 'spec.txt'}:{line}:")


def test_specs_of_tlt_1_are_told_what_to_change(here, read):
    text = """random_seed: 42
network_config { input_image_config { image_type: RGB } feature_extractor: "resnet:18" }
training_config { kitti_data_config { image_extension: "png" } num_epochs: 12 }
"""
    with pytest.raises(SpecError, match=r"TLT 1\.0") as caught:
        read(text)
    assert caught.value.where.endswith("spec.txt:2:1")
    assert "Rename network_config to model_config" in caught.value.hint


def test_records_without_labels_get_no_advice_that_does_not_help(here, read):
    write_records(here / "records" / "fold-000-of-001", [record("kitti/0", 200, 230, labels=())] * 2)
    with pytest.raises(
        RecordError, match="no feature 'target/object_class', which the reference's data loader"
    ) as caught:
        planned(read, FASTER_RCNN)
    assert "dataloader_mode" not in str(caught.value)
    assert caught.value.hint


def test_folder_needs_a_fixed_size(here, read):
    with pytest.raises(SpecError, match="size_min gives no fixed size"):
        int8cal.plan(read(changed(FASTER_RCNN, (SIZE, "size_min { min: 320 }"))), cal_image_dir="images")
