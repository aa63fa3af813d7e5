"""SSD and DSSD: what their spec may ask for, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest
from tests.build import record, write_records
from tests.pictures import encode, pixels
from tests.specs import SSD, changed
from tests.unit.samples.test_embedded import with_image

import int8cal
from int8cal.errors import DataError, MissingDataError, RecordError, SpecError
from int8cal.samples.samples import Sample

SOURCE = r"data_sources \{[^}]*\}"


def with_mean(*keys: str) -> str:
    means = " ".join(f'image_mean {{ key: "{key}" value: {ord(key)} }}' for key in keys)
    return changed(SSD, ("output_channel: 3", f"output_channel: 3 {means}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_mean("r", "b"), "'r', 'g', 'b' should all be present in image_mean for images with 3 channels."),
        (with_mean("l"), "'r', 'g', 'b' should all be present"),
        (changed(SSD, ("output_channel: 3", "output_channel: 2")), "output_channel should in [1, 3]"),
        (changed(SSD, ("output_width: 40", "output_width: 32")), "output_width should > 32"),
        (changed(SSD, ("output_width: 40", "output_width: 99999999")), "too large"),
    ],
)
def test_impossible_specs(here, read, text, said):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert said in caught.value.message
    assert caught.value.where.startswith(f"{here / 'spec.txt'}:")


def test_means_by_channel(here, read):
    arithmetic = int8cal.plan(read(with_mean("r", "g", "b"))).arithmetic
    black = arithmetic(encode(np.zeros((5, 5, 3), np.uint8)), Sample(0, "x", "x"))
    assert (-black[:, 0, 0]).tolist() == [ord(key) for key in "bgr"]


def test_what_is_left_out_is_counted(here, read):
    (here / "labels" / "0.txt").unlink()
    (here / "labels" / "lost.txt").touch()
    (here / "images" / "photo.JPG").touch()
    plan = int8cal.plan(read(SSD))
    assert [sample.frame_id for sample in plan.dataset.samples] == ["1.png", "2.png", "3.png", "4.png"]
    assert plan.to_json()["dataset"] == {
        "sources": [4],
        "images without label": 1,
        "labels without image": 1,
        "files .JPG (in capitals, left out)": 1,
        "files of other kinds": 1,
    }
    assert plan.max_batches == -1
    assert plan.batch_count == 2


def test_counts_of_sources_are_added(here, read):
    (here / "labels" / "0.txt").unlink()
    source = 'data_sources { label_directory_path: "labels" image_directory_path: "images" }'
    plan = int8cal.plan(read(changed(SSD, (SOURCE, f"{source} {source}"))))
    assert plan.dataset.counts["images without label"] == 2
    assert [source.index for source in plan.dataset.sources] == [0, 1]


def test_no_image(here, read):
    for label in (here / "labels").iterdir():
        label.unlink()
    with pytest.raises(
        DataError, match=r"No image of the data_sources can be used: images \(images without label: 5\)"
    ):
        int8cal.plan(read(SSD))
    with pytest.raises(DataError, match="The spec names no validation_data_sources") as caught:
        int8cal.plan(read(SSD), split="validation")
    assert "--use_validation_set" in caught.value.hint
    with pytest.raises(MissingDataError, match="image folder"):
        int8cal.plan(read(changed(SSD, ('"images"', '"lost"'))))


def test_no_source(here, read):
    with pytest.raises(SpecError, match="data_sources should be set") as caught:
        read(changed(SSD, (SOURCE, "")))
    assert caught.value.where.startswith(f"{here / 'spec.txt'}:11:")


def test_empty_records(here, read):
    write_records(here / "enc" / "a", [])
    with pytest.raises(DataError, match=r"can be used: enc/\* \(no records\)") as caught:
        int8cal.plan(read(changed(SSD, (SOURCE, 'data_sources { tfrecords_path: "enc/*" }'))))
    assert "TFRecord" in caught.value.hint
    assert ".jpg" not in str(caught.value)


def test_of_many_sources_without_images_a_few_are_named(here, read):
    (here / "empty").mkdir()
    source = 'data_sources { label_directory_path: "labels" image_directory_path: "empty" }'
    with pytest.raises(DataError, match=r"empty \(labels without image: 5\); .*; and 2 more\.") as caught:
        int8cal.plan(read(changed(SSD, (SOURCE, source * 5))))
    assert caught.value.message.count("empty") == 3


def test_source_without_any_path(here, read):
    with pytest.raises(SpecError, match="or tfrecords_path") as caught:
        int8cal.plan(read(changed(SSD, ('label_directory_path: "labels"', ""))))
    assert caught.value.where.startswith(f"{here / 'spec.txt'}:12:")


def test_records(here, read):
    frames = [with_image(record(f"a/{n}"), encode(pixels(20, 30, seed=n))) for n in range(4)]
    write_records(here / "enc" / "a", frames)
    text = changed(SSD, (SOURCE, 'data_sources { tfrecords_path: "enc/*" }'))
    plan = int8cal.plan(read(text))
    assert plan.dataset.counts == {}
    assert plan.missing_images() == []
    manifest = int8cal.make(plan, here / "out")
    assert {row.record_file for row in manifest.samples} == {b"a"}
    write_records(here / "enc" / "b", [record("b/1")])
    with pytest.raises(RecordError, match="frame/encoded"):
        int8cal.plan(read(text))


def test_dssd_by_its_config(here, read):
    assert int8cal.plan(read(SSD)).origin.name == "ssd"
    plan = int8cal.plan(read(changed(SSD, ("ssd_config", "dssd_config"))))
    assert plan.origin.name == plan.facts()["network"] == "dssd"
    assert plan.arithmetic.name == "dssd.exporter"
