"""A file without the loud images of its split is noticed; a random choice of like images is not blamed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import int8cal
from int8cal.check.rebuild import Claim
from int8cal.check.sense import without_loud
from int8cal.check.statistics import Loudness
from int8cal.check.verify import verify
from int8cal.demo.dataset import make_dataset


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "data", images=12, size=(96, 160), network_size=(96, 160))


def warnings(found):
    return [finding for finding in found.findings if finding.code == "loud-images-missing"]


def test_a_loud_image_that_the_file_lacks_is_named(dataset, tmp_path):
    plan = int8cal.plan(dataset.spec, max_batches=1)
    loud = list(plan.candidates())[-1].frame_id
    for path in dataset.images:
        if path.stem != loud.rpartition("/")[2]:  # a dark camera, and one picture by day
            Image.fromarray(np.asarray(Image.open(path)) // 8).save(path)
    int8cal.make(plan, tmp_path / "made")

    found = verify(tmp_path / "made", claim=Claim(int8cal.read_spec(dataset.spec), any_order=True))
    (warning,) = warnings(found)
    assert (warning.level, found.sound) == ("warning", True)
    assert loud in warning.message
    assert "1 of 9 images of the split are far louder than all 4 in the file" in warning.message

    page = tmp_path / "page.html"
    assert warnings(int8cal.write_report(tmp_path / "made", page, spec=dataset.spec)) == [warning]
    assert "far louder than all 4" in page.read_text()
    once = int8cal.write_report(tmp_path / "made", page, claim=Claim(found.plan.origin, any_order=True), overwrite=True)
    assert warnings(once) == [warning]


@pytest.mark.parametrize("seed", range(5))
def test_a_random_choice_of_like_images_is_not_blamed(tiny_dataset, tmp_path, seed):
    int8cal.make(int8cal.plan(tiny_dataset.spec, max_batches=1, seed=seed), tmp_path / "made")
    assert not warnings(int8cal.write_report(tmp_path / "made", tmp_path / "page.html", spec=tiny_dataset.spec))


def test_the_loudest_hundredth_decides():
    file = [Loudness(0.1, 0.1, 0.1)] * 4
    split = [(f"quiet{number}", Loudness(0.19, 0.1, 0.05)) for number in range(395)]
    loud = [(f"loud{number}", Loudness(0.1, 0.3 + number, 0.1)) for number in range(5)]
    assert not without_loud(file, split)
    assert not without_loud(file, [*split, *loud[:3]])  # of 398 images: fewer than four
    (finding,) = without_loud(file, [*split, *loud])
    assert "5 of 400 images" in finding.message
    assert "loud4 (gradient 4.3, in the file at most 0.1), loud3 (" in finding.message
    assert "loud1" not in finding.message
    assert not without_loud([*file, Loudness(0.1, 4.0, 0.1)], [*split, *loud])
    assert not without_loud([], split)
    assert not without_loud(file, [])


def test_loudness_of_known_pictures():
    halves = np.zeros((3, 64, 64), np.float32)
    halves[:, :, 32:] = 1
    contrast, gradient, magnitude = Loudness.of(halves)
    assert contrast == magnitude == pytest.approx(0.5)
    assert gradient == pytest.approx(1 / 31)
    checks = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
    assert Loudness.of(np.stack([checks] * 3)) == pytest.approx((0, 0, 0.5), abs=1e-7)  # grain is not loud
    assert Loudness.of(np.full((1, 1, 1), -3, np.float32)) == (0, 0, 3)
    assert Loudness.of(np.ones((3, 33, 1), np.float32)) == (0, 0, 1)
