"""Class folders as Keras lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.errors import DataError, MissingDataError
from int8cal.samples.folders import read_class_folders


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path) -> list[str]:
    return [sample.frame_id for sample in read_class_folders(str(root), "training").samples]


def test_order(tmp_path):
    write(tmp_path, "b/2.png", "b/10.png", "b/z/1.jpg", "b/a/9.jpg", "a/x.bmp", "B/u.PNG", "b/a-b/8.jpg")
    # Folders by their whole path: "b", "b/a", "b/a-b", "b/z"; upper case before lower case; 10 before 2.
    assert listed(tmp_path) == ["B/u.PNG", "a/x.bmp", "b/10.png", "b/2.png", "b/a/9.jpg", "b/a-b/8.jpg", "b/z/1.jpg"]


def test_images_are_known_by_the_end_of_their_name(tmp_path):
    write(tmp_path, "c/nodot_jpg", "c/x.TIFF", "c/y.tif", "c/z.ppm", "c/no.webp", "c/no.txt", "c/no.png.gz")
    assert listed(tmp_path) == ["c/nodot_jpg", "c/x.TIFF", "c/y.tif", "c/z.ppm"]


def test_what_is_left_out_is_counted(tmp_path):
    write(tmp_path, "a/1.png", "a/readme.md", "empty/notes.txt", "in_root.png")
    (tmp_path / "hollow").mkdir()
    assert read_class_folders(str(tmp_path), "training").counts == {
        "classes": 3,
        "empty class folders": 2,
        "files outside class folders": 1,
        "files of other kinds": 2,
    }


def test_links_to_class_folders_are_followed_those_inside_are_not(tmp_path):
    write(tmp_path / "elsewhere", "1.png", "deep/2.png")
    root = write(tmp_path / "root", "own/3.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "own" / "loop").symlink_to(root)
    assert listed(root) == ["linked/1.png", "linked/deep/2.png", "own/3.png"]


def test_name_that_is_no_text(tmp_path):
    (tmp_path / "a").mkdir()
    (Path(tmp_path) / "a").joinpath(b"\xff.png".decode(errors="surrogateescape")).touch()
    assert listed(tmp_path) == ["a/\udcff.png"]


def test_nothing_there(tmp_path):
    with pytest.raises(MissingDataError, match="folder of training images") as caught:
        read_class_folders(str(tmp_path / "nowhere"), "training")
    assert caught.value.where == str(tmp_path / "nowhere")
    write(tmp_path, "a/notes.txt", "b/other.webp")
    with pytest.raises(DataError, match="no image is in the 2 class folders"):
        read_class_folders(str(tmp_path), "training")


def test_a_file_is_no_folder(tmp_path):
    write(tmp_path, "file")
    with pytest.raises(DataError, match="cannot be read: Not a directory"):
        read_class_folders(str(tmp_path / "file"), "training")
