"""What every network promises, whatever its arithmetic: pure, of the declared shape, finite, and it refuses rubbish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from tests.pictures import encode, pixels
from tests.specs import CLASSIFICATION, FASTER_RCNN, SSD, YAML_SPECS, changed

import int8cal
from int8cal import networks
from int8cal.errors import ImageError, UsageError
from int8cal.network_kit.network import Arithmetic, Evidence
from int8cal.samples.samples import Sample

GREY_FASTER_RCNN = changed(
    FASTER_RCNN,
    ("image_type: RGB", "image_type: GRAY_SCALE"),
    ('"bgr"', '"l"'),
    (r'image_channel_mean \{ key: "b".*123.68 \}', 'image_channel_mean { key: "l" value: 117.4 }'),
)
DSSD = changed(SSD, ("ssd_config", "dssd_config"))

SPECS = {
    "classification.caffe": CLASSIFICATION,
    "classification.torch": changed(CLASSIFICATION, ("caffe", "torch")),
    "classification.tf": changed(CLASSIFICATION, ("caffe", "tf")),
    "classification.grey": changed(CLASSIFICATION, ("3,24,32", "1,24,32")),
    "ssd.colour": SSD,
    "ssd.grey": changed(SSD, ("output_channel: 3", "output_channel: 1")),
    "dssd.colour": DSSD,
    "faster_rcnn.colour": FASTER_RCNN,
    "faster_rcnn.grey": GREY_FASTER_RCNN,
    **YAML_SPECS,
}
FOLDER = {"faster_rcnn.colour", "faster_rcnn.grey"}
PILLOW_BASED = ("classification", "ssd", "dssd", *YAML_SPECS)


@dataclass(frozen=True)
class Subject:
    """An arithmetic, with a sample to give it."""

    name: str
    arithmetic: Arithmetic
    sample: Sample

    def __call__(self, encoded: bytes):
        return self.arithmetic(encoded, self.sample)


@pytest.fixture(params=[*SPECS, *(f"{name} from a folder" for name in sorted(FOLDER)), "detectnet_v2"])
def subject(request, here, read, tiny_dataset) -> Subject:
    if request.param == "detectnet_v2":
        plan = int8cal.plan(tiny_dataset.spec, data_root=str(tiny_dataset.root), max_batches=1)
        size = {"height": 11, "width": 13}
    else:
        name, _, folder = request.param.partition(" from a ")
        plan = int8cal.plan(read(SPECS[name]), max_batches=1, cal_image_dir="images" if folder else None)
        size = {}
    sample = next(plan.samples())
    return Subject(request.param, plan.arithmetic, Sample(0, sample.frame_id, sample.path, **size))


def accepted(subject: Subject, kinds: dict[str, bytes]) -> list[bytes]:
    """The kinds of pictures that a network takes: all by Pillow, those of TensorFlow otherwise."""
    if subject.name.startswith(PILLOW_BASED) or "folder" in subject.name:
        return list(kinds.values())
    return [kinds[kind] for kind in ("rgb.png", "grey.png", "rgba.png", "palette.png", "colour.jpg", "grey.jpg")]


def test_shape_type_and_memory(subject, kinds):
    for encoded in accepted(subject, kinds):
        tensor = subject(encoded)
        assert tensor.shape == subject.arithmetic.shape(subject.sample)
        assert tensor.dtype == np.float32
        assert tensor.flags.c_contiguous
        assert np.isfinite(tensor).all()


def test_pure(subject, kinds):
    encoded = kinds["rgb.png"]
    image = subject.arithmetic.decode(encoded, subject.sample)
    size = subject.arithmetic.size(image)
    first = subject.arithmetic.to_tensor(image, subject.sample)
    kept = first.copy()
    second = subject.arithmetic.to_tensor(image, subject.sample)
    assert size == subject.arithmetic.size(image) == (11, 13)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, kept)
    np.testing.assert_array_equal(subject(encoded), kept)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 3), (36, 40)])
def test_odd_sizes(subject, size):
    assert subject(encode(pixels(*size))).shape == subject.arithmetic.shape(subject.sample)


@pytest.mark.parametrize("rubbish", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9"])
def test_refuses_what_is_no_image(subject, rubbish):
    with pytest.raises(ImageError) as caught:
        subject(rubbish)
    assert subject.sample.path in caught.value.where


def test_facts_for_the_manifest(subject):
    arithmetic = subject.arithmetic
    assert arithmetic.name.split(".")[0] == subject.name.split(" ")[0].split(".")[0]
    assert arithmetic.evidence in get_args(Evidence)
    assert (arithmetic.evidence == "unverified") == subject.name.startswith("faster_rcnn")
    assert arithmetic.options["channels"] == arithmetic.shape(subject.sample)[0]


def test_every_network_is_a_subject():
    tested = {name.split(".")[0] for name in SPECS} | {"detectnet_v2"}
    assert tested == {network.name for network in networks.all_networks()}


@pytest.mark.extended
def test_travels_to_other_processes(subject, kinds):
    """As Ray sends it to the nodes of a cluster."""
    import ray.cloudpickle

    sent = ray.cloudpickle.dumps(subject.arithmetic)
    assert len(sent) < 20_000, "nothing of the data set goes along"
    arrived = ray.cloudpickle.loads(sent)
    encoded = kinds["rgb.png"]
    np.testing.assert_array_equal(arrived(encoded, subject.sample), subject(encoded))


def test_an_empty_path_names_no_folder_of_images(here, read):
    with pytest.raises(UsageError, match="an empty path names no folder of images"):
        int8cal.plan(read(SSD), cal_image_dir="")
