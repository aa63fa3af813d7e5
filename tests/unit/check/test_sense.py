"""Gross mistakes in calibration data are found, each under its name; right data raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tests.unit.check.files import replace_batches, write_like_tao

import int8cal
from int8cal.check.verify import verify
from int8cal.origins.images.stated import PRESETS

CAFFE = np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)
TORCH = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
NOISE = np.random.default_rng(0)


@pytest.fixture(scope="module")
def pixels(tiny_dataset):
    """Pictures of the demo as 3 batches of 4, RGB, 0..255 float32."""
    pictures = [
        np.asarray(Image.open(path).convert("RGB"), np.float32).transpose(2, 0, 1) for path in tiny_dataset.images
    ]
    return np.stack(pictures).reshape(3, 4, *pictures[0].shape)


def codes(found, level=None):
    return {finding.code for finding in found.findings if level in (None, finding.level)}


RIGHT = {
    "DetectNet_v2": lambda x: x / 255,
    "caffe": lambda x: x[:, :, ::-1] - CAFFE,
    "torch": lambda x: (x / 255 - TORCH) / 0.224,
    "(tf)": lambda x: x / 127.5 - 1,
    "minus a mean": lambda x: x - 100,
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_files_are_recognised(pixels, tmp_path, name):
    found = verify(write_like_tao(tmp_path / "f", RIGHT[name](pixels).astype(np.float32)))
    assert codes(found, "error") | codes(found, "warning") == set()
    (preset,) = [finding for finding in found.findings if finding.code == "preset"]
    assert name in preset.message


WRONG = {
    "unscaled": ("unscaled", lambda x: x),
    "unscaled and resized": ("unscaled", lambda x: x * 0.99),
    "unscaled, without a dark pixel": ("unscaled", lambda x: x * (237.3 / 255) + 17.2),
    "half of it noise": ("noise", lambda x: np.concatenate([x[:, :2] / 255, NOISE.random(x[:, :2].shape)], axis=1)),
    "a channel lost": ("constant-channel", lambda x: np.concatenate([x[:, :, :2] / 255, x[:, :, 2:] * 0], axis=2)),
    "a few values far out": ("outliers", lambda x: np.where(np.arange(x.size).reshape(x.shape) % 50021, x / 255, 1e6)),
    "divided by 255 twice": ("tiny-values", lambda x: x / 255 / 255),
    "tf after / 255": ("tiny-values", lambda x: x / 255 / 127.5 - 1),
    "uniform noise": ("noise", lambda x: NOISE.random(x.shape)),
    "normal noise": ("noise", lambda x: NOISE.normal(size=x.shape)),
    "black": ("blank", lambda x: x * 0),
    "black, mean subtracted": ("blank", lambda x: x * 0 - CAFFE),
    "images of one colour": ("blank", lambda x: np.broadcast_to(x.mean(axis=(2, 3, 4), keepdims=True) / 255, x.shape)),
    "one image repeated": ("one-image", lambda x: np.broadcast_to(x[:1, :1], x.shape) / 255),
    "not finite": ("not-finite", lambda x: np.where(x == x.max(), np.nan, x / 255)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_without_manifest(pixels, tmp_path, name):
    code, change = WRONG[name]
    found = verify(write_like_tao(tmp_path / "f", change(pixels).astype(np.float32)))
    assert code in codes(found, "error")
    with pytest.raises(int8cal.TensorFileError):
        found.require_sound()


@pytest.mark.parametrize("change", [lambda x: x / 255 - 123, lambda x: x / 127.5 + 100])
def test_a_mean_in_another_unit_is_warned_of(pixels, tmp_path, change):
    found = verify(write_like_tao(tmp_path / "f", change(pixels).astype(np.float32)))
    assert codes(found, "error") == set()
    assert codes(found, "warning") == {"far-from-zero"}


def test_thermal_grey_lies_far_from_zero(pixels, tmp_path):
    grey = pixels[:, :, :1] * 0.5 + 7500 - 117.3
    assert "far-from-zero" not in codes(verify(write_like_tao(tmp_path / "f", grey.astype(np.float32))))


@pytest.fixture
def made(tiny_dataset, tmp_path):
    int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "made")
    return tmp_path / "made"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("values-outside", lambda x: x * 255),
        ("values-outside", lambda x: x * 255 - CAFFE),
        ("values-outside", lambda x: x * 2 - 1),
        ("tiny-values", lambda x: x / 255),
        ("noise", lambda x: NOISE.random(x.shape)),
        ("blank", lambda x: x * 0),
        ("one-image", lambda x: np.broadcast_to(x[:1] * 0 + np.linspace(0, 1, x.shape[-1]), x.shape)),
    ],
)
def test_values_that_belie_the_manifest(made, code, change):
    assert code in codes(verify(replace_batches(made, change)), "error")


@pytest.mark.parametrize("change", [lambda x: x * 3 - 50, lambda x: x / -255, lambda x: x / 127.5])
def test_a_range_that_nothing_explains_is_a_warning(pixels, tmp_path, change):
    found = verify(write_like_tao(tmp_path / "f", change(pixels).astype(np.float32)))
    assert codes(found, "warning") == {"unknown-range"}
    assert found.sound


def test_few_blank_or_noisy_images_are_notes(pixels, tmp_path):
    images = pixels / 255
    images[0, 0], images[0, 1] = 0.5, NOISE.random(images[0, 1].shape)
    found = verify(write_like_tao(tmp_path / "f", images.astype(np.float32)))
    assert {"blank-images", "noise-images"} <= codes(found, "note")
    assert codes(found, "error") | codes(found, "warning") == set()


def test_copies_are_a_warning_when_they_are_many(pixels, tmp_path):
    images = (pixels / 255).astype(np.float32)
    images[2] = images[1]
    assert "repeated-images" in codes(verify(write_like_tao(tmp_path / "few", images)), "note")
    images[1] = images[0]
    images[2] = images[0]
    assert "repeated-images" in codes(verify(write_like_tao(tmp_path / "many", images)), "warning")


def test_copies_that_the_manifest_explains(made, tiny_dataset, tmp_path):
    """The data set itself holds the same image under every name."""
    root = tiny_dataset.root
    copy = tmp_path / "copy"
    (copy / "training" / "image_2").mkdir(parents=True)
    for picture in tiny_dataset.images:
        (copy / "training" / "image_2" / picture.name).write_bytes(tiny_dataset.images[0].read_bytes())
    text = tiny_dataset.spec.read_text()
    (copy / "spec.txt").write_text(text.replace(str(root / "training"), str(copy / "training")))
    int8cal.make(int8cal.plan(copy / "spec.txt"), copy / "made")
    found = verify(copy / "made")
    (repeated,) = [finding for finding in found.findings if finding.code == "one-image"]
    assert repeated.level == "warning"
    assert "their image files are equal, too" in repeated.message
    assert found.sound


def test_a_channel_that_the_data_set_itself_lacks_is_no_error(made):
    found = verify(replace_batches(made, lambda batch: batch * np.array([1, 1, 0], np.float32).reshape(3, 1, 1)))
    assert "constant-channel" in codes(found, "warning")


def test_what_cannot_be_seen_is_said(made):
    (said,) = [finding for finding in verify(made).findings if finding.code == "cannot-see"]
    assert "RGB or BGR" in said.message


def test_swapped_channels_are_not_seen(pixels, tmp_path):
    """If they ever are, the note about what cannot be seen must change."""
    found = verify(write_like_tao(tmp_path / "f", (pixels[:, :, ::-1] / 255).astype(np.float32)))
    assert codes(found, "error") | codes(found, "warning") == set()


def test_no_preset_has_its_mean_in_another_unit():
    assert [preset.preprocessing.doubt() for preset in PRESETS.values()] == [None] * len(PRESETS)
