"""Boxes of the records lie where the arithmetic put the objects."""

from __future__ import annotations

import numpy as np
import pytest
from tests.golden.cases import DATA, load_cases

import int8cal
from int8cal.check.presets import stated
from int8cal.check.rebuild import MadeFrom
from int8cal.report.objects import PixelMaps
from int8cal.samples.encoded import read_encoded
from int8cal.types import Size

CASES = {case.name: case for network in ("detectnet_v2", "classification", "ssd") for case in load_cases(network, "ok")}


def planned(name, monkeypatch):
    case = CASES[name]
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir(DATA)
    return int8cal.plan(case.spec, split=case.split, max_batches=case.max_batches)


def placed(plan):
    """(size of the first image, its placement)."""
    sample = next(plan.samples())
    image = plan.arithmetic.decode(read_encoded(sample), sample)
    size = Size(*plan.arithmetic.size(image))
    normalisation = stated(plan.facts(), plan.image_shape[0])
    return size, PixelMaps(plan, normalisation).of(MadeFrom(sample, size))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # x scale, x offset, y scale, y offset, from the formulas of the networks' docstrings
        ("m0_png_val", lambda height, width: (1, 0, 1, 0)),
        ("m0_crop", lambda height, width: (1, -10, 1, -5)),
        ("m0_auto", lambda height, width: (96 / width, 0, 64 / height, 0)),
        ("m2_png_val", lambda height, width: (1, 0, 1, 0)),
        ("m2_scale_both", None),
        ("ssd3", lambda height, width: (96 / width, 0, 64 / height, 0)),
        ("caffe3", lambda height, width: (96 / width, 0, 64 / height, 0)),
    ],
)
def test_placement(name, expected, monkeypatch):
    plan = planned(name, monkeypatch)
    size, placement = placed(plan)
    assert placement is not None
    if expected is None:
        options = plan.arithmetic.options
        matrix = np.linalg.inv(np.array(options["sampling_matrix"]))
        wanted = (matrix[0, 0], matrix[2, 0], matrix[1, 1], matrix[2, 1])
    else:
        wanted = expected(*size)
    found = (placement.scale_x, placement.offset_x, placement.scale_y, placement.offset_y)
    assert found == pytest.approx(wanted, rel=0.02, abs=0.5)


def test_classes_and_boxes_of_a_record(tiny_dataset):
    plan = int8cal.plan(tiny_dataset.spec)
    sample = next(plan.samples())
    label = tiny_dataset.root / "training" / "label_2" / f"{sample.frame_id.rpartition('/')[2]}.txt"
    lines = [line.split() for line in label.read_text().splitlines()]
    objects = plan.origin.objects(sample)
    assert [thing.name for thing in objects] == [line[0].lower() for line in lines]
    for thing, line in zip(objects, lines, strict=True):
        assert thing.box == pytest.approx([float(number) for number in line[4:8]], abs=0.01)


def test_class_folders(monkeypatch):
    plan = planned("caffe3", monkeypatch)
    sample = next(plan.samples())
    (labelled,) = plan.origin.objects(sample)
    assert labelled.name in {"animals", "people", "scenes"}
    assert labelled.box is None
