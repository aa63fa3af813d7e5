"""Output files get their name when they are complete, replace nothing, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from int8cal import files
from int8cal.errors import OutputError, OutputExistsError
from int8cal.files import OutputFile, require_free_space, write_file


def write(path: str, content: bytes, **options: object) -> None:
    with OutputFile(path, **options) as output:
        with open(output.scratch, "wb") as file:
            file.write(content)
        output.commit()


def test_file_has_its_name_only_after_commit(tmp_path):
    path = str(tmp_path / "new" / "folder" / "out")
    with OutputFile(path) as output:
        with open(output.scratch, "wb") as file:
            file.write(b"content")
        assert not os.path.exists(path)
        output.commit()
    assert Path(path).read_bytes() == b"content"
    assert os.listdir(os.path.dirname(path)) == ["out"]


def test_leaving_without_commit_leaves_nothing(tmp_path):
    with OutputFile(str(tmp_path / "out")) as output:
        Path(output.scratch).write_bytes(b"half")
    assert os.listdir(tmp_path) == []


def test_existing_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="already exists") as caught:
        write(str(path), b"new")
    assert caught.value.exit_code == 5
    assert "--overwrite" in caught.value.hint
    assert path.read_bytes() == b"precious"


def test_name_taken_while_the_run_works_is_not_replaced(tmp_path):
    path = tmp_path / "out"
    with OutputFile(str(path)) as output:
        Path(output.scratch).write_bytes(b"mine")
        path.write_bytes(b"somebody else's")
        with pytest.raises(OutputExistsError):
            output.commit()
    assert path.read_bytes() == b"somebody else's"
    assert os.listdir(tmp_path) == ["out"]


def test_overwrite_replaces_in_one_step(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    with OutputFile(str(path), overwrite=True) as output:
        Path(output.scratch).write_bytes(b"new")
        assert path.read_bytes() == b"old"
        output.commit()
    assert path.read_bytes() == b"new"


def test_dangling_link_counts_as_taken(tmp_path):
    path = tmp_path / "out"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        write(str(path), b"new")


def test_second_run_on_the_same_output_stops(tmp_path):
    path = str(tmp_path / "out")
    with OutputFile(path), pytest.raises(OutputError, match="another run is writing"), OutputFile(path):
        pass


def test_leftover_of_a_killed_run_is_taken_over(tmp_path):
    path = str(tmp_path / "out")
    program = (
        "import os, signal\n"
        "from int8cal.files import OutputFile\n"
        f"with OutputFile({path!r}) as output:\n"
        "    open(output.scratch, 'wb').write(b'x' * 1000)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    assert os.listdir(tmp_path) == [".out.part"]
    write(path, b"short")
    assert Path(path).read_bytes() == b"short"
    assert os.listdir(tmp_path) == ["out"]


def test_scratch_folder_is_used_and_emptied(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "target" / "out"
    with OutputFile(str(target), scratch_dir=str(scratch)) as output:
        assert os.path.dirname(output.scratch) == str(scratch)
        Path(output.scratch).write_bytes(b"content")
        output.commit()
    assert target.read_bytes() == b"content"
    assert os.listdir(scratch) == []
    assert os.listdir(target.parent) == ["out"]


@pytest.mark.parametrize("missing", [["link"], ["link", "rename"]])
def test_file_systems_that_cannot_link_or_rename(tmp_path, monkeypatch, missing):
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    for name in missing:
        monkeypatch.setattr(files.os, name, unsupported)
    path = str(tmp_path / "out")
    write(path, b"content")
    assert Path(path).read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(OutputExistsError):
        write(path, b"other")


def test_copy_that_fails_leaves_no_file_under_the_final_name(tmp_path, monkeypatch):
    def unsupported(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "link", unsupported)
    monkeypatch.setattr(files.os, "rename", unsupported)
    monkeypatch.setattr(files.shutil, "copyfileobj", full)
    with pytest.raises(OutputError, match="No space left"):
        write(str(tmp_path / "out"), b"content")
    assert os.listdir(tmp_path) == []


def test_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        write(str(tmp_path), b"content", overwrite=True)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as caught:
        write(str(tmp_path / "file" / "out"), b"content")
    assert "Check free space" in caught.value.hint


def test_longest_possible_name(tmp_path):
    path = str(tmp_path / ("n" * 255))
    write_file(path, b"content")
    assert Path(path).read_bytes() == b"content"


def test_space_that_cannot_be_there_is_refused(tmp_path):
    require_free_space(str(tmp_path / "not" / "yet"), 1)
    with pytest.raises(OutputError, match="MB are needed") as caught:
        require_free_space(str(tmp_path), 1 << 62)
    assert "fewer batches" in caught.value.hint
