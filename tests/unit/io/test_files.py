"""Output files get their name when they are complete, replace nothing, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from int8cal.errors import OutputError, OutputExistsError
from int8cal.io import files
from int8cal.io.file_kinds import FileKind, beginning_with
from int8cal.io.files import OutputFile, write_file
from int8cal.io.space import require_free_space

ANYTHING = FileKind("a file", lambda path: True)
REPLACING = {"overwrite": True, "replaces": ANYTHING}


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


@pytest.mark.parametrize("below", ["out", "new/out"])
def test_the_folder_may_be_reached_by_a_link(tmp_path, below):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(str(tmp_path / "link" / below), b"content")
    assert (tmp_path / "real" / below).read_bytes() == b"content"


def test_leaving_without_commit_leaves_nothing(tmp_path):
    with OutputFile(str(tmp_path / "out")) as output:
        Path(output.scratch).write_bytes(b"half")
    assert os.listdir(tmp_path) == []


def test_leaving_without_commit_leaves_no_folder_that_it_made(tmp_path):
    (tmp_path / "mine").mkdir()
    with OutputFile(str(tmp_path / "mine" / "new" / "er" / "out")) as output:
        Path(output.scratch).write_bytes(b"half")
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []


def test_a_folder_into_which_something_else_has_come_stays(tmp_path):
    with OutputFile(str(tmp_path / "new" / "er" / "out")):
        (tmp_path / "new" / "other").write_bytes(b"precious")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["new", "new/other"]


def test_withdrawn_file_leaves_no_folder(tmp_path):
    with OutputFile(str(tmp_path / "new" / "out")) as output:
        output.write(b"content")
        output.commit()
        output.withdraw()
    assert os.listdir(tmp_path) == []


def test_folder_that_another_run_takes_away_in_between_is_made_again(tmp_path, monkeypatch):
    real, folder = os.makedirs, tmp_path / "new"

    def taken_away_at_once(path, **options):
        monkeypatch.setattr(os, "makedirs", real)
        real(path, **options)
        folder.rmdir()

    monkeypatch.setattr(os, "makedirs", taken_away_at_once)
    write(str(folder / "out"), b"content")
    assert (folder / "out").read_bytes() == b"content"


def test_folders_made_for_an_output_that_cannot_be_claimed_are_removed(tmp_path, monkeypatch):
    def refused(lock):
        raise OSError(errno.EROFS, "Read-only file system", lock.path)

    monkeypatch.setattr(files.Lock, "take", refused)
    with pytest.raises(OutputError, match="Read-only"):
        write(str(tmp_path / "new" / "out"), b"content")
    assert os.listdir(tmp_path) == []


def test_existing_file_is_refused_and_kept(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="already exists") as caught:
        write(str(path), b"new")
    assert caught.value.exit_code == 5
    assert caught.value.hint == "Choose another name for the result."  # no kind of file may be replaced here
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
    with OutputFile(str(path), **REPLACING) as output:
        Path(output.scratch).write_bytes(b"new")
        assert path.read_bytes() == b"old"
        output.commit()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (None, "is not an empty file, and --overwrite replaces nothing else"),
        (FileKind("a letter", beginning_with(b"Dear")), "is not a letter, and --overwrite replaces nothing else"),
    ],
)
def test_only_files_of_the_kind_are_replaced(tmp_path, kind, message):
    path = tmp_path / "out"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match=message) as caught:
        write_file(str(path), b"new", overwrite=True, replaces=kind)
    assert (caught.value.where, caught.value.exit_code) == (str(path), 5)
    assert path.read_bytes() == b"precious"
    path.write_bytes(b"")
    write_file(str(path), b"Dear reader", overwrite=True, replaces=kind)
    assert path.read_bytes() == b"Dear reader"


def test_input_that_is_found_later_is_not_replaced(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"precious")
    with OutputFile(str(path), **REPLACING) as output:
        output.spare([str(tmp_path / "other")])
        with pytest.raises(OutputError, match="made from"):
            output.spare([str(path)])
        output.write(b"new")
        with pytest.raises(OutputError, match="made from"):
            output.commit()
    assert path.read_bytes() == b"precious"


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def _link_to_file(path: Path) -> None:
    _link(path)
    (path.parent / "elsewhere").write_bytes(b"precious")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_inputs_are_never_replaced(tmp_path, link):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    link(precious, tmp_path / "other name")
    with pytest.raises(OutputError, match="made from") as caught:
        write_file(str(precious), b"new", **REPLACING, inputs=["/nowhere", str(tmp_path / "other name")])
    assert caught.value.where == str(precious)
    assert caught.value.hint
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize(("others", "replaced"), [(0, True), (1, False)])
def test_what_another_user_has_in_a_folder_like_tmp_stays(tmp_path, monkeypatch, others, replaced):
    """It could only be written to in place, and would be lost when that fails."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    tmp_path.chmod(0o1777)
    user = path.stat().st_uid + others
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with nullcontext() if replaced else pytest.raises(OutputError, match="belongs to another user"):
        write(str(path), b"after", **REPLACING)
    assert path.read_bytes() == (b"after" if replaced else b"before")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(("make", "kind"), [(_link, "a link"), (_link_to_file, "a link"), (os.mkfifo, "a named pipe")])
def test_only_regular_files_are_replaced(tmp_path, make, kind, overwrite):
    path = tmp_path / "out"
    make(path)
    before = os.lstat(path)
    with pytest.raises(OutputError, match=f"is not a regular file but {kind}"):
        write(str(path), b"new", overwrite=overwrite)
    assert os.path.samestat(os.lstat(path), before)
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"precious"


@pytest.mark.parametrize("overwrite", [False, True])
def test_devices_are_never_replaced(overwrite):
    with pytest.raises(OutputError, match="is not a regular file but a device"):
        write_file("/dev/null", b"new", overwrite=overwrite)
    assert Path("/dev/null").is_char_device()


def test_link_made_while_the_run_works_is_not_replaced(tmp_path):
    path = tmp_path / "out"
    with OutputFile(str(path), overwrite=True) as output:
        output.write(b"mine")
        path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match="a link"):
            output.commit()
    assert path.is_symlink()


@pytest.mark.parametrize("name", ["", "new/", "..", "a\0b", "new/."])
def test_names_that_no_file_has(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is not the name of a file") as caught:
        write_file(name, b"content")
    assert "such as" in caught.value.hint
    assert os.listdir(tmp_path) == []


def test_second_run_on_the_same_output_stops(tmp_path):
    path = str(tmp_path / "out")
    with OutputFile(path), pytest.raises(OutputError, match="another run is writing"), OutputFile(path):
        pass


def killed_while_writing(target: Path, options: str = "", *, committed: bool = False) -> None:
    """Run a process that is killed with a file half written, or with its final name just given."""
    program = (
        "import os, signal\n"
        "from int8cal.io.files import OutputFile\n"
        f"with OutputFile({str(target)!r}, {options}) as output:\n"
        "    open(output.scratch, 'wb').write(b'x' * 1000)\n"
        f"    {committed} and output.commit()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9


def test_leftover_of_a_killed_run_is_taken_over(tmp_path):
    path = tmp_path / "out"
    killed_while_writing(path)
    assert sorted(os.listdir(tmp_path)) == [".out.lock", ".out.part"]
    write(str(path), b"short")
    assert path.read_bytes() == b"short"
    assert os.listdir(tmp_path) == ["out"]


def test_finished_file_of_a_run_killed_right_after_is_not_emptied(tmp_path):
    path = tmp_path / "out"
    killed_while_writing(path, committed=True)
    assert sorted(os.listdir(tmp_path)) == [".out.lock", ".out.part", "out"]  # two names of one file
    with OutputFile(str(path), **REPLACING):
        assert path.read_bytes() == b"x" * 1000
    assert path.read_bytes() == b"x" * 1000
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", [".out.part", ".out.lock"])
@pytest.mark.parametrize("plant", [_link_to_file, os.mkfifo, os.mkdir])
def test_temporary_name_that_is_taken_by_something_else(tmp_path, plant, name):
    plant(tmp_path / name)
    planted = sorted(os.listdir(tmp_path))
    with pytest.raises(OutputError, match="cannot write here"):
        write(str(tmp_path / "out"), b"new")
    assert sorted(os.listdir(tmp_path)) == planted
    elsewhere = tmp_path / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"precious"


def test_file_of_somebody_else_in_the_place_of_the_lock(tmp_path):
    (tmp_path / ".out.lock").write_bytes(b"precious")
    with pytest.raises(OutputError, match="something else") as caught:
        write(str(tmp_path / "out"), b"new")
    assert caught.value.hint == f"Remove {tmp_path / '.out.lock'}, which is in the way."
    assert (tmp_path / ".out.lock").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [".out.lock"]


def test_temporary_file_of_another_user_where_each_may_remove_only_his_own(tmp_path, monkeypatch):
    (tmp_path / ".out.part").write_bytes(b"theirs")

    def not_yours(path: str) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr(os, "unlink", not_yours)
    with pytest.raises(OutputError, match="cannot write here") as caught:
        write(str(tmp_path / "out"), b"new")
    assert caught.value.hint.startswith(f"{tmp_path / '.out.part'}, which another user left, is in the way")


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(files.os, "link", unsupported)


def with_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is."""


@pytest.mark.parametrize("scratch", [False, True])
@pytest.mark.parametrize(("overwrite", "links"), [(True, with_links), (False, with_links), (False, without_links)])
def test_run_that_has_given_the_final_name_still_holds_the_output(tmp_path, monkeypatch, overwrite, links, scratch):
    links(monkeypatch)
    path = str(tmp_path / "target" / "out")
    options = {**REPLACING, "overwrite": overwrite, "scratch_dir": str(tmp_path / "scratch") if scratch else None}
    with OutputFile(path, **options) as first:
        first.write(b"of the first")
        first.commit()
        with pytest.raises(OutputError, match="another run is writing"), OutputFile(path, **REPLACING):
            pass
    with OutputFile(path, **REPLACING) as second:
        second.write(b"of the second")
        second.commit()
    assert Path(path).read_bytes() == b"of the second"
    assert os.listdir(tmp_path / "target") == ["out"]


def test_runs_that_come_while_another_ends_publish_what_they_wrote(tmp_path, monkeypatch):
    path, real = str(tmp_path / "out"), os.rename
    later: list[OutputFile] = []

    def next_run_comes(name, new_name):
        """Let a run begin as soon as the lock of the one before has lost its name."""
        real(name, new_name)
        if str(name).endswith(".lock") and len(later) < 2:
            later.append(OutputFile(path, **REPLACING))
            later[-1].__enter__()

    with OutputFile(path, **REPLACING) as first:
        first.write(b"of the first")
        first.commit()
        monkeypatch.setattr(files.os, "rename", next_run_comes)
    for number in range(2):
        content = f"of later run {number}".encode()
        later[number].write(content)
        later[number].commit()
        assert Path(path).read_bytes() == content
        later[number].__exit__(None, None, None)
    assert Path(path).read_bytes() == b"of later run 1"
    assert os.listdir(tmp_path) == ["out"]


def test_run_whose_lock_was_taken_away_publishes_nothing(tmp_path):
    path = str(tmp_path / "out")
    with OutputFile(path) as first:
        first.write(b"of the first")
        os.unlink(tmp_path / ".out.lock")
        with OutputFile(path) as second:
            second.write(b"of the second")
            with pytest.raises(OutputError, match="temporary file was removed or replaced") as caught:
                first.commit()
            first.__exit__(None, None, None)
            second.commit()
    assert caught.value.where == str(tmp_path / ".out.part")
    assert Path(path).read_bytes() == b"of the second"
    assert os.listdir(tmp_path) == ["out"]


def test_run_ended_between_the_two_looks_at_the_name(tmp_path, monkeypatch):
    path, real = tmp_path / "out", files.Lock.take

    def published_by_another_run(lock):
        path.write_bytes(b"of another run")
        real(lock)

    monkeypatch.setattr(files.Lock, "take", published_by_another_run)
    with pytest.raises(OutputExistsError), OutputFile(str(path)):
        pytest.fail("works for nothing")
    assert os.listdir(tmp_path) == ["out"]


def test_file_whose_name_the_disk_may_not_keep_is_taken_back(tmp_path, monkeypatch):
    real = os.fsync

    def failing_for_folders(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", failing_for_folders)
    with pytest.raises(OutputError, match="cannot finish the file: Input/output error"):
        write_file(str(tmp_path / "out"), b"content")
    assert os.listdir(tmp_path) == []


def test_leftover_in_the_scratch_folder_is_not_published(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    killed_while_writing(target, f"scratch_dir={str(scratch)!r}")
    with OutputFile(str(target), scratch_dir=str(scratch)) as output, pytest.raises(OutputError):
        output.commit()
    assert not target.exists()


def test_scratch_folder_is_used_and_emptied(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "target" / "out"
    with OutputFile(str(target), scratch_dir=str(scratch)) as output:
        private = Path(output.scratch).parent
        assert private.parent == scratch
        assert private.stat().st_mode & 0o777 == 0o700
        Path(output.scratch).write_bytes(b"content")
        output.commit()
    assert target.read_bytes() == b"content"
    assert os.listdir(scratch) == []
    assert os.listdir(target.parent) == ["out"]


def test_what_others_planted_in_the_scratch_folder_is_left_alone(tmp_path):
    scratch, target, victim = tmp_path / "scratch", tmp_path / "out", tmp_path / "victim"
    victim.mkdir()
    (victim / "output").write_bytes(b"precious")
    with OutputFile(str(target), scratch_dir=str(scratch)) as output:
        used = Path(output.scratch).parent
    (scratch / used.name).symlink_to(victim)
    write(str(target), b"new", scratch_dir=str(scratch))
    assert target.read_bytes() == b"new"
    assert (victim / "output").read_bytes() == b"precious"
    assert os.listdir(scratch) == [used.name]


def test_scratch_folder_of_a_living_run_on_another_machine_is_left_alone(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    with OutputFile(str(target), scratch_dir=str(scratch)) as first:
        first.write(b"of the first")
        for name in (".out.lock", ".out.part"):  # another machine has another folder behind the same path
            os.unlink(tmp_path / name)
        write(str(target), b"of the second", scratch_dir=str(scratch))
        assert Path(first.scratch).read_bytes() == b"of the first"


def test_leftover_of_a_killed_run_in_the_scratch_folder_is_taken_over(tmp_path):
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    killed_while_writing(target, f"scratch_dir={str(scratch)!r}")
    assert len(os.listdir(scratch)) == 1
    write(str(target), b"short", scratch_dir=str(scratch))
    assert target.read_bytes() == b"short"
    assert os.listdir(scratch) == []


def test_file_in_the_place_of_the_scratch_folder(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"")
    with pytest.raises(OutputError, match="cannot use the scratch folder") as caught:
        write(str(tmp_path / "out"), b"new", scratch_dir=str(scratch))
    assert caught.value.where == str(scratch)
    assert "is a file, not a folder" in caught.value.hint
    assert os.listdir(tmp_path) == ["scratch"]


@pytest.mark.parametrize("missing", [["link"], ["link", "rename"]])
def test_file_systems_that_cannot_link_or_rename(tmp_path, monkeypatch, missing):
    def unsupported(*arguments: object, **options: object) -> None:
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
    def unsupported(*arguments: object, **options: object) -> None:
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
    assert caught.value.hint == f"{tmp_path / 'file'} is a file, not a folder: choose another place."


def test_name_that_is_too_long(tmp_path):
    with pytest.raises(OutputError, match="File name too long") as caught:
        write_file(str(tmp_path / ("n" * 256)), b"content")
    assert caught.value.hint == "Choose a shorter name."


def test_longest_possible_name(tmp_path):
    path = str(tmp_path / ("n" * 255))
    write_file(path, b"content")
    assert Path(path).read_bytes() == b"content"


def test_space_that_cannot_be_there_is_refused(tmp_path):
    require_free_space(str(tmp_path / "not" / "yet"), 1)
    with pytest.raises(OutputError, match="MB are needed") as caught:
        require_free_space(str(tmp_path), 1 << 62)
    assert "fewer batches" in caught.value.hint


def test_little_space_is_told_in_digits_that_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=9999, free=4096))
    with pytest.raises(OutputError, match=r"about 0\.009 MB are needed and 0\.004 MB are free"):
        require_free_space(str(tmp_path), 9000)


def test_space_is_needed_in_scratch_and_at_the_target(tmp_path, monkeypatch):
    free = {str(tmp_path / "scratch"): 1000, str(tmp_path / "target"): 10}
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(total=9999, free=free[folder]))
    monkeypatch.setattr(files, "_device_of", lambda folder: folder)
    output = OutputFile(str(tmp_path / "target" / "out"), scratch_dir=str(tmp_path / "scratch"))
    with output:
        output.require_space(10)
        with pytest.raises(OutputError, match="are needed") as caught:
            output.require_space(11)
        assert caught.value.where == str(tmp_path / "target")
        monkeypatch.setattr(files, "_device_of", lambda folder: "the same")
        with pytest.raises(OutputError, match="are needed"):
            output.require_space(10)  # for both on one disk


def test_a_folder_that_cannot_be_looked_at_is_an_error_of_the_output(tmp_path, monkeypatch):
    """As on a mount whose server has just gone."""

    def gone(folder):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), folder)

    monkeypatch.setattr(files, "_device_of", gone)
    output = OutputFile(str(tmp_path / "out"))
    with output, pytest.raises(OutputError, match=r"out: cannot write here: Stale"):
        output.require_space(10)
    assert os.listdir(tmp_path) == []
