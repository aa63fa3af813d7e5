"""File systems as they are: what cannot be done is done without, what fails is reported, and no wrong file comes of it.

Each fault is made by patching the calls of the operating system.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from int8cal.errors import OutputError, OutputExistsError, UsageError
from int8cal.io import locks
from int8cal.io.file_kinds import FileKind
from int8cal.io.files import OutputFile, write_file
from int8cal.io.folders import new_folder
from int8cal.io.paths import refuse_missing_address
from int8cal.io.space import require_free_space

REPLACING = {"overwrite": True, "replaces": FileKind("a file", lambda path: True)}


def failing(number: int) -> Callable[..., None]:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture(autouse=True)
def _nothing_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_warned_of", set())


def fuse_rules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have `os.unlink` note the files that somebody holds open, which libfuse would keep as ``.fuse_hidden…``."""
    real, kept = os.unlink, []

    def unlink(path, **options):
        found = os.stat(path, follow_symlinks=False)
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                same = os.path.samestat(os.stat(f"/proc/self/fd/{descriptor}"), found)
            except OSError:
                continue
            if same and stat.S_ISREG(found.st_mode):
                kept.append(str(path))
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    return kept


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_run_warns_once_and_goes_on(tmp_path, monkeypatch, caplog, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    for name in ("one", "two"):
        with OutputFile(str(tmp_path / name), scratch_dir=str(tmp_path / "scratch")) as output:
            output.write(b"content")
            output.commit()
    assert sorted(os.listdir(tmp_path)) == ["one", "scratch", "two"]
    assert os.listdir(tmp_path / "scratch") == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "has no locks" in caplog.text


def test_without_locks_the_later_of_two_runs_wins_and_the_other_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    path = str(tmp_path / "out")
    with OutputFile(path) as first, OutputFile(path) as second:
        first.write(b"of both")
        second.write(b"of the second")
        with pytest.raises(OutputError, match="removed or replaced"):
            first.commit()
        second.commit()
    assert Path(path).read_bytes() == b"of the second"
    assert os.listdir(tmp_path) == ["out"]


def test_without_locks_no_scratch_folder_is_taken_for_a_dead_one(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    target, scratch = str(tmp_path / "out"), str(tmp_path / "scratch")
    with OutputFile(target, scratch_dir=scratch) as first:
        first.write(b"of the first")
        with OutputFile(target, scratch_dir=scratch):
            assert Path(first.scratch).read_bytes() == b"of the first"


def test_a_lock_that_fails_for_another_reason_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OutputError, match="cannot write here: Input/output error"):
        write_file(str(tmp_path / "out"), b"content")
    assert os.listdir(tmp_path) == [".out.lock"]  # not known to be ours; the next run takes it over


def test_a_mount_that_gives_open_files_another_identity_works(tmp_path, monkeypatch):
    real = os.fstat

    def another(descriptor):
        found = real(descriptor)
        return SimpleNamespace(
            st_mode=found.st_mode,
            st_size=found.st_size,
            st_dev=found.st_dev,
            st_ino=found.st_ino + 1,
            st_uid=found.st_uid,
        )

    monkeypatch.setattr(os, "fstat", another)
    for content in (b"first", b"second"):
        write_file(str(tmp_path / "out"), content, **REPLACING)
    assert (tmp_path / "out").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_file_is_removed_while_it_is_open(tmp_path, monkeypatch, overwrite, committed):
    kept = fuse_rules(monkeypatch)
    with OutputFile(str(tmp_path / "new" / "out"), **{**REPLACING, "overwrite": overwrite}) as output:
        output.write(b"content")
        if committed:
            output.commit()
    assert kept == []
    assert os.listdir(tmp_path) == (["new"] if committed else [])


def test_lock_goes_where_it_cannot_be_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "rename", failing(errno.EPERM))
    write_file(str(tmp_path / "out"), b"content")
    assert os.listdir(tmp_path) == ["out"]


def test_file_of_somebody_else_with_the_last_name_of_the_lock_stays(tmp_path):
    (tmp_path / ".out.lock-ended").write_bytes(b"precious")
    write_file(str(tmp_path / "out"), b"content")
    assert sorted(os.listdir(tmp_path)) == [".out.lock-ended", "out"]
    assert (tmp_path / ".out.lock-ended").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "disk", [lambda folder: SimpleNamespace(total=0, used=0, free=0), failing(errno.ENOSYS), failing(errno.EIO)]
)
def test_a_mount_that_does_not_tell_its_size_has_room(tmp_path, monkeypatch, disk):
    monkeypatch.setattr(shutil, "disk_usage", disk)
    require_free_space(str(tmp_path), 1 << 50)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
@pytest.mark.parametrize("scratch", [False, True])
@pytest.mark.parametrize("missing", [[], ["link", "rename"]])
def test_without_fsync(tmp_path, monkeypatch, number, scratch, missing):
    monkeypatch.setattr(os, "fsync", failing(number))
    for name in missing:
        monkeypatch.setattr(os, name, failing(errno.EPERM))
    with OutputFile(str(tmp_path / "out"), scratch_dir=str(tmp_path / "scratch") if scratch else None) as output:
        output.write(b"content")
        output.commit()
    assert (tmp_path / "out").read_bytes() == b"content"


@pytest.mark.parametrize("missing", [["link"], ["link", "rename"]])
def test_without_links_and_renames(tmp_path, monkeypatch, missing):
    for name in missing:
        monkeypatch.setattr(os, name, failing(errno.EPERM))
    write_file(str(tmp_path / "out"), b"content")
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(OutputExistsError):
        write_file(str(tmp_path / "out"), b"other")


def test_without_replace_an_overwritten_file_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", failing(errno.ENOSYS))
    (tmp_path / "out").write_bytes(b"longer than the new one")
    write_file(str(tmp_path / "out"), b"new", **REPLACING)
    assert (tmp_path / "out").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("module", "name", "scratch"),
    [(os, "fsync", False), (shutil, "copyfileobj", True), (os, "link", False), (os, "replace", False)],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_the_disk_refuses_is_reported_and_nothing_wrong_is_left(
    tmp_path, monkeypatch, number, module, name, scratch, overwrite
):
    if overwrite:
        (tmp_path / "out").write_bytes(b"earlier")
    monkeypatch.setattr(module, name, failing(number))
    options = {**REPLACING, "overwrite": overwrite, "scratch_dir": str(tmp_path / "scratch") if scratch else None}
    used = name not in {"link", "replace"} or (name == "replace") == overwrite
    with OutputFile(str(tmp_path / "out"), **options) as output:
        output.write(b"new")
        if used:
            with pytest.raises(OutputError, match=f"cannot finish the file: {os.strerror(number)}") as caught:
                output.commit()
            assert caught.value.exit_code == 5
            assert caught.value.hint == "Check free space, quota and permissions of the folder."
        else:
            output.commit()
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert left == ({"out": b"earlier"} if overwrite and used else {} if used else {"out": b"new"})


def _link(part: Path) -> None:
    victim = part.parent / "victim"
    victim.write_bytes(b"precious")
    part.symlink_to(victim)


@pytest.mark.parametrize(
    "replacement", [_link, Path.mkdir, os.mkfifo, lambda part: part.write_bytes(b"another"), lambda part: None]
)
@pytest.mark.parametrize("moment", ["written", "prepared"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_replaced_temporary_file_never_gets_the_final_name(tmp_path, replacement, moment, overwrite):
    part = tmp_path / ".out.part"
    with OutputFile(str(tmp_path / "out"), **{**REPLACING, "overwrite": overwrite}) as output:
        output.write(b"content")
        if moment == "prepared":
            output.prepare()
        part.unlink()
        replacement(part)
        with pytest.raises(OutputError, match="temporary file was removed or replaced") as caught:
            output.commit()
    assert caught.value.where == str(part)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "victim").exists() or (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("scratch", [False, True])
def test_nothing_comes_into_a_folder_that_took_the_place_of_the_output_folder(tmp_path, scratch):
    folder = tmp_path / "folder"
    options = {"scratch_dir": str(tmp_path / "scratch")} if scratch else {}
    with OutputFile(str(folder / "out"), **options) as output:
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        if scratch:
            output.write(b"content")
        with pytest.raises(OutputError, match=r"No such file|removed or replaced"):
            output.commit() if scratch else output.write(b"content")
    assert os.listdir(folder) == []


def test_output_folder_that_is_gone(tmp_path):
    folder = tmp_path / "folder"
    with OutputFile(str(folder / "out")) as output:
        shutil.rmtree(folder)
        with pytest.raises(OutputError) as caught:
            output.write(b"content")
    assert caught.value.exit_code == 5
    assert not folder.exists()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o664])
def test_overwrite_keeps_the_permissions(tmp_path, mode):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_file(str(path), b"new", **REPLACING)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_overwrite_where_there_are_no_permissions(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", failing(errno.EPERM))
    (tmp_path / "out").write_bytes(b"old")
    write_file(str(tmp_path / "out"), b"new", **REPLACING)
    assert (tmp_path / "out").read_bytes() == b"new"


def test_what_may_be_replaced_is_looked_into_once(tmp_path):
    looked: list[str] = []

    def recognises(path: str) -> bool:
        looked.append(path)
        return True

    path = tmp_path / "out"
    path.write_bytes(b"old")
    with OutputFile(str(path), overwrite=True, replaces=FileKind("a file", recognises)) as output:
        output.spare([str(tmp_path / "input")])
        output.write(b"new")
        output.commit()
    assert looked == [str(path)]


def test_what_took_the_name_meanwhile_is_looked_into_again(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    kind = FileKind("an old file", lambda path: Path(path).read_bytes() == b"old")
    with OutputFile(str(path), overwrite=True, replaces=kind) as output:
        output.write(b"new")
        path.write_bytes(b"precious")
        with pytest.raises(OutputError, match="is not an old file"):
            output.commit()
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("path", ["s3://bucket/out", "azureml://datastores/x/paths/y", "s3:/bucket/out", "https://h/f"])
def test_addresses_of_remote_files(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"address \(.*:\), and int8cal writes local files only") as caught:
        write_file(path, b"content")
    assert (caught.value.where, caught.value.exit_code) == (path, 2)
    with pytest.raises(UsageError, match=r"address \(.*:\), and int8cal reads local files only"):
        refuse_missing_address(path)
    assert os.listdir(tmp_path) == []


def test_local_files_with_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_file("run:1", b"content")
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "spec.txt").touch()
    refuse_missing_address("s3://spec.txt")
    assert (tmp_path / "run:1").exists()


NAMES = re.compile(r"\d+\.raw")


def test_folder_has_its_name_only_when_it_is_complete(tmp_path):
    with new_folder(str(tmp_path / "new" / "out"), holding=NAMES) as part:
        (Path(part) / "0.raw").write_bytes(b"content")
        assert not (tmp_path / "new" / "out").exists()
    assert os.listdir(tmp_path / "new") == ["out"]
    assert os.listdir(tmp_path / "new" / "out") == ["0.raw"]


def test_folder_that_a_killed_run_left_is_taken_over(tmp_path):
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "0.raw").write_bytes(b"half")
    with new_folder(str(tmp_path / "out"), holding=NAMES):
        pass
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == []


def test_folder_of_a_living_run_or_of_somebody_else_is_not(tmp_path, monkeypatch):
    with new_folder(str(tmp_path / "out"), holding=NAMES) as part:
        (Path(part) / "0.raw").write_bytes(b"of the first")
        for _ in range(2):
            with pytest.raises(OutputError), new_folder(str(tmp_path / "out"), holding=NAMES):
                pytest.fail("both at once")
            monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))  # whoever is alive cannot be told there
        assert os.listdir(part) == ["0.raw"]
    (tmp_path / ".other.part").mkdir()
    (tmp_path / ".other.part" / "precious").touch()
    monkeypatch.undo()
    with pytest.raises(OutputError, match="File exists"), new_folder(str(tmp_path / "other"), holding=NAMES):
        pass
    assert sorted(os.listdir(tmp_path)) == [".other.part", "out"]
    assert os.listdir(tmp_path / ".other.part") == ["precious"]
