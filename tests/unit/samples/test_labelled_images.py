"""The sequence format: images with a label file each."""

from __future__ import annotations

import pytest

from int8cal.errors import MissingDataError
from int8cal.samples.folders import read_labelled_images


@pytest.fixture
def folders(tmp_path):
    for folder, names in (
        ("images", "b.png a.jpg c.jpeg upper.JPG d.bmp alone.png notes.txt two.dots.png"),
        ("labels", "a.txt b.txt c.txt upper.txt d.txt lost.txt two.dots.txt readme.md"),
    ):
        (tmp_path / folder / "below").mkdir(parents=True)
        for name in names.split():
            (tmp_path / folder / name).touch()
    return str(tmp_path / "images"), str(tmp_path / "labels")


def test_only_images_with_label_sorted(folders):
    source, counts = read_labelled_images(2, *folders)
    assert [sample.frame_id for sample in source.samples] == ["a.jpg", "b.png", "c.jpeg", "two.dots.png"]
    assert source.samples[0].path == f"{folders[0]}/a.jpg"
    assert {sample.source for sample in source.samples} == {2}
    assert counts.pop("files .JPG (in capitals, left out)") == 1
    assert counts == {"images without label": 1, "labels without image": 3, "files of other kinds": 3}


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_folder(folders, missing):
    paths = list(folders)
    paths[missing] += "-gone"
    with pytest.raises(MissingDataError, match=("image folder", "label folder")[missing]):
        read_labelled_images(0, *paths)
