"""A second front end, which knows nothing of TAO: a list of image files, and a table with the value of each level."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import int8cal
from int8cal.errors import UsageError
from int8cal.images.decode import decode_image
from int8cal.network_kit.network import Arithmetic
from int8cal.origins.origin import Choice, Decision, Origin
from int8cal.samples.samples import Dataset, Sample, Source

SIZE = (24, 32)


@dataclass(frozen=True)
class ImageList:
    """The whole front end."""

    files: tuple[str, ...]
    table: tuple[float, ...]
    name, title, path = "image_list", "a list of images and a lookup table", "images"
    warnings, overrides = (), ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(np.array(self.table, "<f4").tobytes()).hexdigest()

    def advice(self, path: str) -> str | None:
        return None

    def checked_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        if options:
            raise UsageError("a list of images has no options", hint="Leave them out.")
        return {}

    def decide(self, choice: Choice) -> Decision:
        samples = tuple(Sample(0, Path(file).name, file, *SIZE) for file in self.files)
        dataset, table = Dataset("training", (Source(0, "list", samples),)), np.array(self.table, np.float32)
        scale = {"channel_order": "RGB", "value_range": [float(table[0]), float(table[255])]}
        arithmetic = Arithmetic(
            "image_list.table",
            "unverified",
            decode=lambda data, sample: decode_image(data, 3, fast_dct=False, where=sample.path),
            to_tensor=lambda image, _: np.ascontiguousarray(table[image].transpose(2, 0, 1)),
            shape=lambda sample: (3, sample.height, sample.width),
            options=scale,
        )
        return Decision(
            split=None,
            seed=0,
            batch_size=choice.batch_size or 2,
            max_batches=choice.max_batches or -1,
            dataset=dataset,
            order=np.arange(len(samples)),
            arithmetic=arithmetic,
        )

    def objects(self, sample: Sample) -> None:
        return None


@pytest.fixture
def origin(tmp_path: Path) -> ImageList:
    random = np.random.default_rng(5)
    files = []
    for number in range(5):
        blocks = random.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(blocks).save(files[-1])
    return ImageList(tuple(files), tuple(np.linspace(-1, 1, 256)))


def model(path: Path) -> Path:
    weights = numpy_helper.from_array(np.random.default_rng(1).standard_normal((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["y"], kernel_shape=[3, 3])],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, *SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, SIZE[0] - 2, SIZE[1] - 2])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_it_is_an_origin(origin: ImageList) -> None:
    assert isinstance(origin, Origin)


def test_it_goes_all_the_way(origin: ImageList, tmp_path: Path) -> None:
    plan = int8cal.plan(origin)
    assert (plan.batch_count, plan.shape) == (2, (2, 3, *SIZE))
    assert plan.to_json()["network"] == "image_list"

    manifest = int8cal.make(plan, tmp_path / "c.tensor")
    assert manifest.facts["arithmetic"]["name"] == "image_list.table"

    expected = [np.asarray(Image.open(file), np.float32) / 127.5 - 1 for file in origin.files[:4]]
    with int8cal.TensorFile(tmp_path / "c.tensor") as file:
        for image, pixels in zip(np.concatenate(list(file)), expected, strict=True):
            np.testing.assert_allclose(image, pixels.transpose(2, 0, 1), atol=1e-6)

    found = int8cal.verify(tmp_path / "c.tensor", spec=origin)
    assert found.sound, found.findings
    assert "rebuilt" in [finding.code for finding in found.findings]
    brighter = ImageList(origin.files, tuple(np.linspace(0, 1, 256)))
    assert not int8cal.verify(tmp_path / "c.tensor", spec=brighter).sound

    page = tmp_path / "report.html"
    assert int8cal.write_report(tmp_path / "c.tensor", page, spec=origin).sound
    assert "image_list.table" in page.read_text()

    float_model = model(tmp_path / "model.onnx")
    report = int8cal.quantize(float_model, tmp_path / "c.tensor", tmp_path / "of_file.onnx")
    int8cal.quantize(float_model, plan.batches(), tmp_path / "of_plan.onnx")
    assert report.images == 4
    assert (tmp_path / "of_file.onnx").read_bytes() == (tmp_path / "of_plan.onnx").read_bytes()


def test_its_record_says_what_was_done_again(origin: ImageList, tmp_path: Path) -> None:
    first, again = (int8cal.make(origin, tmp_path / name) for name in ("a", "b"))
    assert first.facts == again.facts
    other = ImageList(origin.files, tuple(np.linspace(0, 1, 256)))
    facts: list[dict[str, Any]] = [int8cal.plan(one).to_json() for one in (origin, other)]
    assert facts[0]["plan_sha256"] != facts[1]["plan_sha256"]


def test_engines_that_need_a_spec_refuse_it(origin: ImageList, tmp_path: Path) -> None:
    with pytest.raises(int8cal.Int8calError) as caught:
        int8cal.make(origin, tmp_path / "c", engine="tao")
    assert caught.value.exit_code in (2, 8)
