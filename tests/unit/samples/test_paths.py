from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.errors import DataError, ImageError, MissingDataError
from int8cal.samples.encoded import read_encoded
from int8cal.samples.folders import ImageFolder, read_class_folders, read_folder, read_labelled_images
from int8cal.samples.nearby import near_by
from int8cal.samples.paths import data_root, matching_files, open_data_file, path_inside, require_folder
from int8cal.samples.samples import Sample


def test_data_root_is_the_environment_s_or_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert data_root({"DATA_BASE_PATH": "/data"}) == "/data"
    assert data_root({}) == data_root({"DATA_BASE_PATH": ""}) == "/home/ada/datasets"


def test_matching_files_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert matching_files(f"{tmp_path}/*") == tuple(f"{tmp_path}/{name}" for name in "abc")


@pytest.mark.parametrize("pattern", ["none*", "no\0thing", ""])
def test_pattern_without_a_match(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(MissingDataError, match="No files match pattern") as caught:
        matching_files(f"{tmp_path}/{pattern}/x")
    assert "\0" not in str(caught.value)
    assert "DATA_BASE_PATH" in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_folder(str(tmp_path), "folder")
    with pytest.raises(MissingDataError, match=r"No image directory found at path: '.*file'"):
        require_folder(f"{tmp_path}/file", "image directory")


@pytest.mark.parametrize(
    ("folder", "joined"), [("/d", "/d/png/a.b.jpg"), ("/d/", "/d/png/a.b.jpg"), ("", "/png/a.b.jpg")]
)
def test_names_are_joined_as_strings(folder: str, joined: str) -> None:
    assert path_inside(folder, "png/a.b", "jpg", "here") == joined


LONG = "x" * 1_000_000


@pytest.mark.parametrize("path", [LONG, f"/{LONG}/y", "no\0thing"])
def test_impossible_paths_are_missing_folders(path: str) -> None:
    with pytest.raises(MissingDataError, match="No image directory found") as caught:
        require_folder(path, "image directory")
    assert len(str(caught.value)) < 500
    with pytest.raises(MissingDataError, match="No files match pattern") as caught:
        matching_files(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("path", [LONG, "no\0thing"])
def test_impossible_paths_cannot_be_opened_or_listed(path: str) -> None:
    for use in (
        lambda: open_data_file(path, "image file", ImageError, hint=""),
        lambda: read_labelled_images(0, path, path),
        lambda: read_class_folders(path, "training"),
        lambda: read_folder(ImageFolder(path), "training"),
        lambda: read_folder(ImageFolder(path, recursive=True), "training"),
        lambda: read_encoded(Sample(0, "x", path)),
    ):
        with pytest.raises(DataError) as caught:
            use()
        assert len(str(caught.value)) < 500
        assert "\0" not in str(caught.value)


def test_a_link_that_leads_nowhere_is_told_as_one(tmp_path):
    (tmp_path / "image.jpg").symlink_to("moved/image.jpg")
    told = near_by(str(tmp_path / "image.jpg"))
    assert told == f"{tmp_path}/image.jpg leads to {tmp_path}/moved/image.jpg, which is not there."
