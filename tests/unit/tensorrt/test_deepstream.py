"""nvinfer's keys, checked by doing nvinfer's arithmetic with them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from int8cal.errors import UseError
from int8cal.tensorrt.deepstream import configuration, nvinfer_keys, other_padding

SHAPE = (3, 544, 960)


def manifest(name: str, shape: tuple[float, int, int] = SHAPE, **options: Any) -> dict[str, Any]:
    return {"arithmetic": {"name": name, "options": options}, "image_shape": list(shape)}


def value(keys: dict[str, str], pixel: float, channel: int) -> float:
    """What nvinfer feeds the network."""
    offsets = [float(number) for number in keys.get("offsets", "0;0;0").split(";")]
    return float(keys["net-scale-factor"]) * (pixel - offsets[channel])


def test_detectnet_v2_divides_by_255() -> None:
    keys = nvinfer_keys(manifest("detectnet_v2.mode0", channel_order="RGB", value_range=[0.0, 1.0]), SHAPE)

    assert keys == {
        "net-scale-factor": "0.003921568627",
        "model-color-format": "0",
        "infer-dims": "3;544;960",
        "network-mode": "1",
        "int8-calib-file": "cal.bin",
    }
    assert value(keys, 255, 0) == pytest.approx(1.0, rel=1e-9)


def test_caffe_subtracts_means_in_the_order_of_the_channels() -> None:
    mean = [103.939, 116.779, 123.68]
    stated = manifest("classification.caffe", channel_order="BGR", mean=mean, scale=1.0)
    keys = nvinfer_keys(stated, SHAPE)

    assert keys["model-color-format"] == "1"
    assert keys["offsets"] == "103.939;116.779;123.68"
    assert keys["int8-calib-file"] == "cal.bin"
    assert value(keys, 200, 2) == pytest.approx(200 - 123.68)


def test_scale_and_grey_are_passed_on() -> None:
    keys = nvinfer_keys(
        manifest("ssd.exporter", (1, 96, 160), channel_order="grey", mean=[117.3786], scale=0.5), (1, 96, 160)
    )

    assert (keys["model-color-format"], keys["infer-dims"], keys["offsets"]) == ("2", "1;96;160", "117.3786")
    assert value(keys, 200, 0) == pytest.approx((200 - 117.3786) / 2)


def letterboxed(anchor: str, pad: Any) -> dict[str, Any]:
    stated = {"resize": "letterbox", "anchor": anchor, "pad": pad}
    return manifest("images.stated", channel_order="RGB", mean=[0.0], scale=[1 / 255], preprocessing=stated)


PADDED_INSIDE = manifest("rtdetr.aspect", channel_order="RGB", value_range=[0.0, 1.0], fit="inside")


@pytest.mark.parametrize(
    ("facts", "symmetric", "level"),
    [
        (letterboxed("centre", 114), "1", "114"),
        (letterboxed("top_left", 114), "0", "114"),
        (letterboxed("centre", 0), "1", None),
        (PADDED_INSIDE, "0", None),
    ],
)
def test_letterboxes_are_those_of_nvinfer_but_for_their_level(
    facts: dict[str, Any], symmetric: str, level: str | None
) -> None:
    keys = nvinfer_keys(facts, SHAPE)
    assert (keys["maintain-aspect-ratio"], keys["symmetric-padding"]) == ("1", symmetric)
    found = [finding.message for finding in other_padding(facts, SHAPE)]
    assert found == ([f"nvinfer pads with black (0), and the images were padded with {level}"] if level else [])
    text = configuration(facts, SHAPE, model="m.onnx", cache="c.bin", beside="d.txt")
    assert ("\n# nvinfer pads with black (0), and the images were padded with 114.\n" in text) is bool(level)
    assert text.count("maintain-aspect-ratio=1") == 1


def test_an_input_of_channels_last_has_its_order() -> None:
    facts = manifest("x", channel_order="RGB", value_range=[0.0, 1.0])
    assert "network-input-order" not in nvinfer_keys(facts, SHAPE)
    keys = nvinfer_keys(facts, SHAPE, "nhwc")
    assert (keys["network-input-order"], keys["infer-dims"]) == ("1", "3;544;960")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (None, "no manifest"),
        ({}, "other images"),
        ({"image_shape": [3, 544, 960]}, "does not say"),
        ({"image_shape": [3, 544, 960], "arithmetic": None, "network": "ssd"}, "its arithmetic is None"),
        ({"image_shape": [3, 544, 960], "arithmetic": {"options": [1]}}, "not a group of values"),
        (manifest("x", (3, 544, 961), channel_order="RGB", mean=[0, 0, 0], scale=1), "other images"),
        (manifest("x", (math.inf, 544, 960), channel_order="RGB", mean=[0, 0, 0], scale=1), "other images"),
        (manifest("x", channel_order="YUV"), "its channel_order is 'YUV'"),
        (manifest("x", channel_order="grey", mean=[0], scale=1), "its channel_order is 'grey'"),
        (manifest("x", mean=[0], scale=1), "does not say"),
        (manifest("classification.torch", channel_order="RGB"), "does not say"),
        (manifest("x", channel_order="RGB", mean=[0, 0, 0], scale=[1, 2, 3]), "nvinfer cannot do"),
        (manifest("x", channel_order="RGB", mean=["a"], scale=1), "its mean is"),
        (manifest("x", channel_order="RGB", mean=[1, 2], scale=1), "its mean is"),
        (manifest("x", channel_order="RGB", mean=[math.nan, 1, 1], scale=1), "its mean is"),
        *[
            (manifest("x", channel_order="RGB", mean=[0, 0, 0], scale=scale), "its scale is")
            for scale in (math.inf, 0, -1, 10**400, None, True)
        ],
        (manifest("x", channel_order="RGB", value_range=[0, math.nan]), "its value_range is"),
        (manifest("x", channel_order="RGB", value_range=[1, 0]), "its value_range is"),
        *[(letterboxed("centre", pad), "how the images were padded") for pad in ("1\nkey=1", None, -1, 256, 1.5)],
    ],
)
def test_what_nvinfer_cannot_do_or_is_not_known_is_refused(facts: Any, message: str) -> None:
    with pytest.raises(UseError, match=message):
        nvinfer_keys(facts, SHAPE)
