from __future__ import annotations

import errno
import glob
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import int8cal.samples.glob as ours
from int8cal.errors import DataError, ResourceError
from int8cal.samples.paths import matching_files

NAMES = ["a", "ab", "b", ".h", "fold-000-of-002", "[x]"]
PARTS = [*NAMES, "*", "**", "?", "a*", ".*", "[ab]*", "[!a]", "*-000-of-*", "[[]x]", ".", "", "none"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for outer in NAMES:
        for inner in NAMES:
            (root / outer / inner).mkdir(parents=True)
            (root / outer / inner / "file").touch()
    (root / "to_a").symlink_to("a")
    (root / "to_nothing").symlink_to("nowhere")
    (root / "file").touch()
    return root


@pytest.mark.parametrize("pattern", ["/*" * 17, "/a" * 300 + "/*", "/*/x" * 3000])
def test_patterns_that_would_walk_the_machine(pattern: str) -> None:
    with pytest.raises(DataError, match="has more than 256 parts, or wildcards in more than 16 of them"):
        list(ours.expand(pattern))


def test_a_folder_is_not_empty_because_too_many_files_are_open(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> object:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(ResourceError):
        list(ours.expand(str(tree / "*")))


@pytest.mark.parametrize(("function", "pattern"), [("scandir", "a/*"), ("scandir", "*/*/file"), ("lstat", "a/file")])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_read_is_not_empty(
    tree: Path, monkeypatch: pytest.MonkeyPatch, function: str, pattern: str, number: int
) -> None:
    real = getattr(os, function)

    def refused(path: str) -> object:
        if path.startswith(str(tree / "a")):
            raise OSError(number, os.strerror(number))
        return real(path)

    monkeypatch.setattr(os, function, refused)
    with pytest.raises(DataError, match="cannot be read") as caught:
        list(ours.expand(str(tree / pattern)))
    assert str(caught.value.where).startswith(str(tree / "a"))
    assert pattern in str(caught.value.hint)


def test_folders_that_are_listed_are_counted(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_MAX_FOLDERS", 5)
    with pytest.raises(DataError, match="more than 5 folders to be listed"):
        list(ours.expand(f"{tree}/*/*/file"))


@given(parts=st.lists(st.sampled_from([*PARTS, "file", "to_*", ".."]), min_size=1, max_size=4))
def test_matches_are_those_of_the_standard_library(tree: Path, parts: list[str]) -> None:
    pattern = f"{tree}/{'/'.join(parts)}"
    try:
        found = sorted(ours.expand(pattern))
    except DataError:
        assert ".." in parts[1:]
        return
    assert found == sorted(glob.glob(pattern))


def test_relative_patterns(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    for pattern in ("*", "a/*/file", "*/ab", "file", "none", "*/"):
        assert sorted(ours.expand(pattern)) == sorted(glob.glob(pattern))


def test_going_up_after_a_wildcard_is_refused() -> None:
    with pytest.raises(DataError, match=r"goes up \('\.\.'\) after a wildcard") as caught:
        matching_files("/usr/*/../*/../*/../*/../*/../*/nope")
    assert caught.value.hint


def test_work_has_an_end(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "MAX_NAMES", 60)
    assert len(matching_files(f"{tree}/*")) == len([name for name in os.listdir(tree) if name[0] != "."])
    (tree / "a" / "again").symlink_to("..")
    try:
        with pytest.raises(DataError, match="more than 60 file names") as caught:
            matching_files(f"{tree}/*/*/*/*/*/*/*/nope")
    finally:
        (tree / "a" / "again").unlink()
    assert "wildcards in the last part" in str(caught.value)
