"""Images from a folder."""

from __future__ import annotations

import pytest
from tests.pictures import encode, pixels

from int8cal.errors import DataError, ImageError, MissingDataError
from int8cal.images.pictures import picture_size
from int8cal.samples.encoded import read_encoded
from int8cal.samples.folders import ImageFolder, read_folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("b.png", "a.jpg", "below/c.jpeg", "D.PNG", "notes.txt"):
        (tmp_path / name).write_bytes(encode(pixels(4, 6)))
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return str(tmp_path)


def test_images_by_extension_sorted(folder):
    dataset = read_folder(ImageFolder(folder), "training")
    assert [sample.frame_id for sample in dataset.samples] == ["a.jpg", "b.png", "broken.png"]
    assert dataset.counts == {
        "files .PNG (in capitals, left out)": 1,
        "files of other kinds": 2,
        "folders not entered": 1,
    }
    assert [f"{folder}: 1 picture left out (1 .PNG): NVIDIA's exporters take" in one for one in dataset.warnings] == [
        True
    ]
    assert {(sample.height, sample.width) for sample in dataset.samples} == {(0, 0)}


def test_recursive(folder):
    dataset = read_folder(ImageFolder(folder, recursive=True), "training")
    assert [sample.frame_id for sample in dataset.samples] == ["a.jpg", "b.png", "broken.png", "below/c.jpeg"]


def test_a_folder_named_like_an_image_is_a_bad_image(folder, tmp_path):
    """Names are trusted: nothing asks a mount about each of its files. What lies in it is not lost in silence."""
    (tmp_path / "below" / "x.png").mkdir()
    (tmp_path / "below" / "x.png" / "inside.png").write_bytes(encode(pixels(4, 6)))
    dataset = read_folder(ImageFolder(folder, recursive=True), "training")
    (sample,) = (sample for sample in dataset.samples if "x.png" in sample.frame_id)
    with pytest.raises(ImageError, match=r"x\.png: .* is a folder"):
        read_encoded(sample)


def test_sizes_come_from_the_headers(folder):
    dataset = read_folder(ImageFolder(folder), "training", size_of=picture_size)
    assert [(sample.height, sample.width) for sample in dataset.samples] == [(4, 6), (4, 6), (0, 0)]


def test_nothing_there(tmp_path):
    with pytest.raises(MissingDataError, match="folder of calibration images"):
        read_folder(ImageFolder(str(tmp_path / "gone")), "training")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "below").mkdir()
    with pytest.raises(DataError, match="no image is in the folder, but 1 file") as caught:
        read_folder(ImageFolder(str(tmp_path)), "training")
    assert "--recursive" in caught.value.hint
