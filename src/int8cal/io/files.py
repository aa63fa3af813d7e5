"""Output files that get their final name only when they are complete.

A file is written under a temporary name beside the target (or in a private folder below a scratch folder, then streamed
beside the target), flushed to the disk, and renamed without replacing anything. A lock beside it is held while a run
lives, until the last of its temporary files is gone: a second run on the same output stops, and what a dead run left
behind is taken over by the next one. The temporary file cannot be the lock itself, for the final name takes it away.

What has the final name already is looked at here, and here alone (`OutputFile`): with ``overwrite`` a file is replaced
that is of the kind which is written, or empty, and that is not an input; nothing else ever is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING, Self

from int8cal.errors import OutputError, OutputExistsError
from int8cal.io.locks import KnownFile, Lock, PrivateFolder, hidden_name, in_use
from int8cal.io.paths import (
    NOT_SUPPORTED,
    absolute,
    cannot,
    flush,
    kind_of_mode,
    output_errors,
    refuse_address,
)
from int8cal.io.signals import CLEAN_UPS, uninterrupted
from int8cal.io.space import require_free_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from int8cal.io.file_kinds import FileKind

_COPY_BYTES = 8 << 20
_TO_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TO_WATCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC  # an O_PATH descriptor opens nothing
_NAME_A_FILE = "Give the name of a file, such as out/calibration.tensor."
_ANOTHER_NAME = "Choose another name for the result."


class OutputFile:
    """The one way in which this package makes an output file. Use it in a ``with`` statement.

        with OutputFile(path, overwrite=False) as output:
            write_somehow(output.scratch)
            output.commit()

    Leaving the block without `commit` removes everything that was written, and the folders made for it that are empty.

    Args:
        path: the final name; missing folders are made.
        overwrite: replace an existing file of the kind ``replaces``, or an empty one, in one step, at `commit`. The new
            file gets its permissions.
        scratch_dir: write there, and copy beside the target at `commit`: for targets that are slow or cannot seek.
        inputs: files that the result is made from, which are never replaced.
        replaces: what ``overwrite`` replaces, besides an empty file; None: nothing. A file of another kind is kept, for
            a slip of the pen must not cost an image, a spec or a model.

    Raises:
        OutputExistsError: the final name is taken.
        OutputError: another run is writing this output, it is something else than a regular file, or one of the folders
            cannot be written to.
        UsageError: the name is the address of a remote file; or a path is relative, and the working directory is gone.
    """

    def __init__(
        self,
        path: str,
        *,
        overwrite: bool = False,
        scratch_dir: str | None = None,
        inputs: Iterable[str] = (),
        replaces: FileKind | None = None,
    ) -> None:
        refuse_address(path)
        self.path = path
        self._overwrite = overwrite
        self._inputs = list(inputs)
        self._replaces = replaces
        folder, name = os.path.split(absolute(path))
        self._folder = folder
        self._part = os.path.join(folder, hidden_name(name, "part"))
        self._lock = Lock(os.path.join(folder, hidden_name(name, "lock")))
        self._private = PrivateFolder(scratch_dir, path) if scratch_dir else None
        self.scratch = self._part
        """The file to write to, from entering the block until `commit`."""
        self._temporary: KnownFile | None = None
        self._may_go: tuple[int, ...] | None = None
        """The file with the final name that was found to be one that may be replaced."""
        self._prepared = False
        self._published = False
        self._copied = False
        """Whether the final name was given to a copy, where the file system has neither links nor renaming."""
        self._made_folders: set[str] = set()

    def __enter__(self) -> Self:
        self._refuse_bad_name()
        self._refuse_taken_name()
        CLEAN_UPS[self] = self._clean_up
        try:
            self._claim()
            self._refuse_taken_name()  # by a run that ended just before the lock was taken
        except BaseException:
            with uninterrupted():
                self._clean_up()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with uninterrupted():
            self._clean_up()

    def _claim(self) -> None:
        try:
            try:
                self._take_lock()
            except FileNotFoundError:  # a run that failed has just taken away an empty folder that it had made
                self._take_lock()
            with uninterrupted():  # a signal counts when the file is known for ours, and goes with us
                self._begin_anew()
        except BlockingIOError as error:
            raise in_use(self.path) from error
        except OSError as error:
            raise self._cannot("write here", error) from error
        if self._private:
            self._private.make()
            self.scratch = os.path.join(self._private.path, "output")  # not made: some programs want to make it

    def _take_lock(self) -> None:
        try:
            self._lock.take()
        except FileNotFoundError:
            self._made_folders |= set(_missing_folders(self._folder))
            os.makedirs(self._folder, exist_ok=True)
            self._lock.take()

    def _begin_anew(self) -> None:
        """Make the temporary file, empty, in the place of what a dead run left there.

        What was left may have the final name too, when the run died just then: it is let go, and not emptied.
        """
        try:
            self._make_part()
        except FileExistsError:
            if not stat.S_ISREG(os.lstat(self._part).st_mode):
                raise FileExistsError(
                    errno.EEXIST, "something else has the name of the temporary file", self._part
                ) from None
            os.unlink(self._part)
            self._make_part()
        self._temporary = KnownFile(os.open(self._part, _TO_WATCH), self._part)

    def _make_part(self) -> None:
        os.close(os.open(self._part, _TO_WRITE | os.O_CREAT | os.O_EXCL, 0o666))

    def _clean_up(self) -> None:
        """Remove all that is temporary, the lock as the last: without it, files of these names are another run's."""
        CLEAN_UPS.pop(self, None)
        if self._private:
            self._private.remove()
        temporary, self._temporary = self._temporary, None  # at once: another thread may end the process
        if temporary:
            ours = temporary.has_its_name()  # not after the rename, or when the next run has taken it over
            temporary.close()  # before it is removed: network file systems keep what somebody holds
            if ours:
                with contextlib.suppress(OSError):
                    os.unlink(self._part)
        in_place = self._lock.release()
        if in_place and not self._published:  # else a folder of this name may be somebody else's
            for folder in sorted(self._made_folders, key=len, reverse=True):
                with contextlib.suppress(OSError):  # something else has come into it
                    os.rmdir(folder)

    def require_space(self, needed: int) -> None:
        """Refuse work whose result will not fit where it is written, or where it goes.

        Args:
            needed: expected size in bytes.

        Raises:
            OutputError: too little is free, or a folder cannot be looked at.
        """
        folders = [self._folder, self._private.parent] if self._private else [self._folder]
        try:
            devices = [_device_of(folder) for folder in folders]
        except OSError as error:
            raise self._cannot("write here", error) from error
        for folder, device in zip(folders, devices, strict=True):
            require_free_space(folder, needed * devices.count(device))

    def spare(self, inputs: Iterable[str]) -> None:
        """Never replace these either: files that turn out to be inputs when others have been read.

        Raises:
            OutputError: one of them has the final name.
        """
        self._inputs += inputs
        self._refuse_taken_name()

    def write(self, content: bytes) -> None:
        """Make ``content`` all that the file holds, for results that are in memory.

        Raises:
            OutputError: it cannot be written.
        """
        how = _TO_WRITE | os.O_TRUNC | (os.O_CREAT if self._private else 0)
        try:
            with open(os.open(self.scratch, how, 0o666), "wb") as file:
                file.write(content)
        except OSError as error:
            raise self._cannot("write", error) from error

    def reclaim(self) -> None:
        """Begin anew where a run that shares no locks has taken the temporary file over; for what is not written yet.

        Raises:
            OutputError: it cannot be made.
        """
        if self._temporary and self._temporary.has_its_name():
            return
        if self._temporary:
            self._temporary.close()
            self._temporary = None
        try:
            self._begin_anew()
        except OSError as error:
            raise self._cannot("write here", error) from error

    def prepare(self) -> None:
        """Do of `commit` what can take long or fail: every byte is on the disk of the target then.

        Raises:
            OutputError: copying or flushing failed, or the temporary file is no longer the one that was made.
        """
        if self._prepared:
            return
        self.require_unchanged_part()
        try:
            if self.scratch != self._part:
                _copy(self.scratch, self._part, os.O_TRUNC, check=self.require_unchanged_part)
            else:
                _flush(self._part, os.O_NOFOLLOW)
        except OSError as error:
            raise self._cannot("finish the file", error) from error
        self._prepared = True

    def commit(self) -> None:
        """Give the file its final name, once every byte of it is on the disk.

        Raises:
            OutputExistsError: the name was taken in the meantime.
            OutputError: copying, flushing or renaming failed.
        """
        self.prepare()
        self.require_unchanged_part()
        try:
            with uninterrupted():
                self._rename()
                self._published = True
                self._flush_name()
        except FileExistsError as error:
            raise self._taken() from error
        except OSError as error:
            raise self._cannot("finish the file", error) from error

    def withdraw(self) -> None:
        """Take back a `commit`, for a file that is of no use without another one that failed."""
        if self._copied or self._has_final_name():  # else another run has replaced it
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self._published = False

    def require_unchanged_part(self) -> None:
        """Refuse to go on where another run, with which no locks are shared, has taken the temporary file over.

        Raises:
            OutputError: it has; what is in its place now must not be written to.
        """
        if not (self._temporary and self._temporary.has_its_name()):
            raise OutputError(
                "this run's temporary file was removed or replaced while it worked",
                where=self._part,
                hint="Run it again, and leave the hidden files beside an output alone until its run ends.",
            )

    def _flush_name(self) -> None:
        """Make sure that the disk keeps the name; what failed must not be there, complete or not."""
        try:
            _flush(self._folder, os.O_DIRECTORY)  # which may well be reached by a link
        except OSError:
            self.withdraw()
            raise

    def _rename(self) -> None:
        if self._overwrite:
            self._refuse_taken_name()
            with contextlib.suppress(OSError):  # nothing to replace, or a file system without permissions
                os.chmod(self._part, stat.S_IMODE(os.lstat(self.path).st_mode) & 0o777)
            _or_else(lambda: os.replace(self._part, self.path), lambda: self._copy_to_name(os.O_TRUNC))
        else:  # a hard link, unlike a rename, never replaces
            _or_else(self._link, self._rename_unlinkable)

    def _link(self) -> None:
        """By the open file, not its name: a run that shares no locks may have taken that over just now."""
        if self._temporary:
            self._temporary.link_as(self.path)

    def _rename_unlinkable(self) -> None:
        """For file systems without hard links (FAT, some network and FUSE mounts)."""
        self._refuse_taken_name()
        _or_else(self._rename_unseen, lambda: self._copy_to_name(os.O_EXCL))

    def _rename_unseen(self) -> None:
        os.rename(self._part, self.path)
        if not self._has_final_name():  # a run that shares no locks had just begun its own under the temporary name
            os.rename(self.path, self._part)
            self.require_unchanged_part()

    def _has_final_name(self) -> bool:
        known = self._temporary
        return known is None or not known.exact or known.is_at(self.path)

    def _copy_to_name(self, how: int) -> None:
        _copy(self._part, self.path, os.O_CREAT | how)
        self._copied = True

    def _refuse_bad_name(self) -> None:
        name = os.path.basename(self.path)
        if not name or name in {".", ".."} or self.path == "-" or "\0" in self.path:
            raise OutputError("is not the name of a file", where=self.path or "the output", hint=_NAME_A_FILE)

    def _refuse_taken_name(self) -> None:
        """Keep what has the final name, if it must not be replaced.

        Raises:
            OutputExistsError: something has it, and nothing is to be replaced.
            OutputError: it is not a regular file, an input, or of another kind.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._cannot("write here", error) from error
        kind = kind_of_mode(found.st_mode)
        if kind == "a folder":
            raise OutputError("is a folder", where=self.path, hint=_NAME_A_FILE)
        if kind != "a file":
            raise OutputError(f"is not a regular file but {kind}", where=self.path, hint="Choose another name.")
        if not self._overwrite:
            raise self._taken()
        if self._is_kept_by_another_user(found):
            raise OutputError(
                "belongs to another user, who alone may replace it in this folder",
                where=self.path,
                hint=_ANOTHER_NAME,
            )
        for path in self._inputs:
            with contextlib.suppress(OSError):  # an input that is not there is not this file
                if os.path.samestat(os.stat(path), found):
                    raise OutputError(
                        "is a file that the result is made from, and is not replaced",
                        where=self.path,
                        hint=_ANOTHER_NAME,
                    )
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if state != self._may_go:
            with output_errors(self.path, "cannot be replaced", hint="Choose another name."):
                self._refuse_other_kind(found.st_size)
            self._may_go = state

    def _is_kept_by_another_user(self, found: os.stat_result) -> bool:
        """Whether a file lies in a folder like /tmp, where it may be written to, but not be replaced in one step."""
        folder, user = os.stat(self._folder), os.geteuid()
        return bool(folder.st_mode & stat.S_ISVTX) and user not in (0, found.st_uid, folder.st_uid)

    def _taken(self) -> OutputExistsError:
        """The error for a name that a file has; only what may be replaced is said to be replaceable."""
        hint = _ANOTHER_NAME
        with contextlib.suppress(OSError):
            if self._replaces and (not os.path.getsize(self.path) or self._replaces.recognises(self.path)):
                hint = "Choose another name, or add --overwrite to replace it."
            elif self._replaces:
                hint = f"It is not {self._replaces.name}, and is never replaced by one: choose another name."
        return OutputExistsError("already exists", where=self.path, hint=hint)

    def _refuse_other_kind(self, size: int) -> None:
        if size and not (self._replaces and self._replaces.recognises(self.path)):
            name = self._replaces.name if self._replaces else "an empty file"
            raise OutputError(
                f"is not {name}, and --overwrite replaces nothing else",
                where=self.path,
                hint=f"Move it away, or {_ANOTHER_NAME[0].lower()}{_ANOTHER_NAME[1:]}",
            )

    def _cannot(self, what: str, error: OSError) -> OutputError:
        return cannot(what, error, self.path, self._folder)


def write_file(
    path: str,
    content: bytes,
    *,
    overwrite: bool = False,
    inputs: Iterable[str] = (),
    replaces: FileKind | None = None,
) -> None:
    """Write a small file whole, or not at all. Arguments and errors as `OutputFile`."""
    with OutputFile(path, overwrite=overwrite, inputs=inputs, replaces=replaces) as output:
        output.write(content)
        output.commit()


def commit_together(*files: OutputFile, then: Callable[[], None] = lambda: None) -> None:
    """Give files their names, of which each is of no use without the last.

    All that takes long is done before any has its name. When the process dies in between, the first ones alone are
    there.

    Args:
        files: written, but not committed.
        then: done when all have their names, before a signal is obeyed.

    Raises:
        OutputError: one of them cannot be finished; none has its name then (with ``overwrite``, what had the names of
            those before it may be gone).
    """
    for file in files:
        file.prepare()
    with uninterrupted(), contextlib.ExitStack() as undo:
        for file in files:
            file.commit()
            undo.callback(file.withdraw)
        undo.pop_all()
        then()


def _device_of(folder: str) -> int:
    return os.stat(folder).st_dev


def _missing_folders(folder: str) -> Iterator[str]:
    """The folder and those above it, as far as they are not there."""
    while not os.path.lexists(folder):
        yield folder
        folder = os.path.dirname(folder)


def _or_else(operation: Callable[[], None], substitute: Callable[[], None]) -> None:
    """Do ``operation``; where the file system does not know it, ``substitute``."""
    try:
        operation()
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        substitute()


def _copy(source: str, target: str, how: int, check: Callable[[], None] = lambda: None) -> None:
    """Copy by writing forwards only; a target that could not be completed is removed.

    Args:
        source: what to copy.
        target: where to.
        how: flags to open it with, besides those for writing.
        check: called when the target is open and nothing is written; the target is not removed if it fails.
    """
    descriptor = os.open(target, _TO_WRITE | how, 0o666)
    try:
        check()
    except BaseException:
        os.close(descriptor)
        raise
    try:
        with open(source, "rb") as reader, open(descriptor, "wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY_BYTES)
            writer.flush()
            flush(writer.fileno())
    except BaseException:
        os.unlink(target)
        raise


def _flush(path: str, kind: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | kind)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)
