"""Output files that get their final name only when they are complete.

A file is written under a temporary name beside the target (or in a private folder below a scratch folder, then streamed
beside the target), flushed to the disk, and renamed without replacing anything. A lock beside it is held while a run
lives, until the last of its temporary files is gone: a second run on the same output stops, and what a dead run left
behind is taken over by the next one. The temporary file cannot be the lock itself, for the final name takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Self

from int8cal.errors import OutputError, OutputExistsError
from int8cal.io.current_folder import absolute
from int8cal.io.scratch import Lock, PrivateFolder, cannot, in_use, make_anew
from int8cal.io.signals import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from int8cal.io.file_kinds import FileKind

_COPY_BYTES = 8 << 20
_NO_SUCH_OPERATION = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NAME_A_FILE = "Give the name of a file, such as out/calibration.tensor."


class OutputFile:
    """The one way in which this package makes an output file. Use it in a ``with`` statement.

        with OutputFile(path, overwrite=False) as output:
            write_somehow(output.scratch)
            output.commit()

    Leaving the block without `commit` removes everything that was written, and the folders made for it that are empty.

    Args:
        path: the final name; missing folders are made.
        overwrite: replace an existing file of the kind ``replaces``, or an empty one, in one step, at `commit`.
        scratch_dir: write there, and copy beside the target at `commit`: for targets that are slow or cannot seek.
        inputs: files that the result is made from, which are never replaced.
        replaces: what ``overwrite`` replaces, besides an empty file; None: nothing. A file of another kind is kept, for
            a slip of the pen must not cost an image, a spec or a model.

    Raises:
        OutputExistsError: the final name is taken.
        OutputError: another run is writing this output, it is something else than a regular file, or one of the folders
            cannot be written to.
        UsageError: a path is relative, and the working directory is gone.
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
        self.path = path
        self._overwrite = overwrite
        self._inputs = list(inputs)
        self._replaces = replaces
        folder, name = os.path.split(absolute(path))
        self._folder = folder
        self._part = os.path.join(folder, _hidden_name(name, "part"))
        self._lock = Lock(os.path.join(folder, _hidden_name(name, "lock")))
        self._private = PrivateFolder(scratch_dir, path) if scratch_dir else None
        self.scratch = os.path.join(self._private.path, "output") if self._private else self._part
        """The file to write to, until `commit`."""
        self._begun = False
        self._prepared = False
        self._published = False
        self._made_folders: set[str] = set()

    def __enter__(self) -> Self:
        self._refuse_bad_name()
        self._refuse_taken_name()
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
            make_anew(self._part)
            self._begun = True
        except OSError as error:
            raise in_use(self.path, error) or self._cannot("write here", error) from error
        if self._private:
            self._private.claim(self.scratch)

    def _take_lock(self) -> None:
        self._made_folders |= set(_missing_folders(self._folder))
        os.makedirs(self._folder, exist_ok=True)
        self._lock.take()

    def _remove_made_folders(self) -> None:
        for folder in sorted(self._made_folders, key=len, reverse=True):
            with contextlib.suppress(OSError):  # something else has come into it
                os.rmdir(folder)

    def _clean_up(self) -> None:
        """Remove all that is temporary, the lock as the last: without it, files of these names are another run's."""
        if self._private:
            self._private.remove(self.scratch)
        if self._begun and self._lock.held:
            with contextlib.suppress(OSError):  # gone with the rename; or taken over by the next run
                os.unlink(self._part)
        self._lock.release()
        if not self._published:
            self._remove_made_folders()

    def require_space(self, needed: int) -> None:
        """Refuse work whose result will not fit where it is written, or where it goes.

        Args:
            needed: expected size in bytes.

        Raises:
            OutputError: too little is free.
        """
        folders = [self._folder, self._private.parent] if self._private else [self._folder]
        for folder in folders:
            on_same_disk = sum(_device_of(folder) == _device_of(other) for other in folders)
            require_free_space(folder, needed * on_same_disk)

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
        try:
            with open(self.scratch, "wb") as file:
                file.write(content)
        except OSError as error:
            raise self._cannot("write", error) from error

    def prepare(self) -> None:
        """Do of `commit` what can take long or fail: every byte is on the disk of the target then.

        Raises:
            OutputError: copying or flushing failed.
        """
        if self._prepared:
            return
        self._require_lock()
        try:
            if self.scratch != self._part:
                _copy(self.scratch, self._part, os.O_TRUNC)
            _flush(self._part)
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
        self._require_lock()
        try:
            with uninterrupted():
                self._rename()
                self._published = True
                self._flush_name()
        except FileExistsError as error:
            raise _taken(self.path) from error
        except OSError as error:
            raise self._cannot("finish the file", error) from error

    def withdraw(self) -> None:
        """Take back a `commit`, for a file that is of no use without another one that failed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._published = False

    def _require_lock(self) -> None:
        if not self._lock.held:
            raise OutputError(
                "this run's lock was removed while it worked, and another run may have written here",
                where=self._lock.path,
                hint="Run it again, and leave the hidden files beside an output alone until its run ends.",
            )

    def _flush_name(self) -> None:
        """Make sure that the disk keeps the name; what failed must not be there, complete or not."""
        try:
            _flush(self._folder)
        except OSError:
            self.withdraw()
            raise

    def _rename(self) -> None:
        if self._overwrite:
            self._refuse_taken_name()
            _or_else(lambda: os.replace(self._part, self.path), lambda: _copy(self._part, self.path, os.O_TRUNC))
        else:  # a hard link, unlike a rename, never replaces
            _or_else(lambda: os.link(self._part, self.path), self._rename_unlinkable)

    def _rename_unlinkable(self) -> None:
        """For file systems without hard links (FAT, some network and FUSE mounts)."""
        self._refuse_taken_name()
        _or_else(lambda: os.rename(self._part, self.path), lambda: _copy(self._part, self.path, os.O_EXCL))

    def _refuse_bad_name(self) -> None:
        name = os.path.basename(self.path)
        if not name or name in {".", ".."} or self.path == "-" or "\0" in self.path:
            raise OutputError("is not the name of a file", where=self.path or "the output", hint=_NAME_A_FILE)

    def _refuse_taken_name(self) -> None:
        try:
            kind = kind_of_file(self.path)
        except OSError as error:
            raise self._cannot("write here", error) from error
        if kind == "a folder":
            raise OutputError("is a folder", where=self.path, hint=_NAME_A_FILE)
        if kind and kind != "a file":
            raise OutputError(f"is no regular file but {kind}", where=self.path, hint="Choose another name.")
        if kind and not self._overwrite:
            raise _taken(self.path)
        if kind:
            with output_errors(self.path, "cannot be replaced", hint="Choose another name."):
                self._refuse_replacement()

    def _refuse_replacement(self) -> None:
        """Keep the file that has the name if it must not be replaced, ``overwrite`` or not.

        Raises:
            OutputError: it must not.
        """
        for path in self._inputs:
            with contextlib.suppress(OSError):  # an input that is not there is not this file
                if os.path.samefile(path, self.path):
                    raise OutputError(
                        "is a file that the result is made from, and is not replaced",
                        where=self.path,
                        hint="Choose another name for the result.",
                    )
        if os.path.getsize(self.path) and not (self._replaces and self._replaces.recognises(self.path)):
            name = self._replaces.name if self._replaces else "empty file"
            raise OutputError(
                f"is no {name}, and --overwrite replaces nothing else",
                where=self.path,
                hint="Move it away, or choose another name for the result.",
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


def commit_together(first: OutputFile, last: OutputFile, *, then: Callable[[], None] = lambda: None) -> None:
    """Give two files their names, of which the first is of no use without the last.

    All that takes long is done before either has its name. When the process dies between the two, the first alone is
    there.

    Args:
        first: written, but not committed.
        last: likewise.
        then: done when both have their names, before a signal is obeyed.

    Raises:
        OutputError: one of them cannot be finished; neither has its name then (with ``overwrite``, what had the name of
            the first may be gone).
    """
    first.prepare()
    last.prepare()
    with uninterrupted():
        first.commit()
        try:
            last.commit()
        except OutputError:
            first.withdraw()
            raise
        then()


@contextlib.contextmanager
def output_errors(path: str, message: str, *, hint: str) -> Iterator[None]:
    """Turn what the operating system refuses in the block into an `OutputError` with its reason.

    Args:
        path: the file that the error is about.
        message: what could not be done.
        hint: what to do about it.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{message}: {error.strerror or error}", where=path, hint=hint) from error


def require_free_space(folder: str, needed: int) -> None:
    """Refuse work whose result will not fit.

    Args:
        folder: where the result goes; it or a parent of it exists.
        needed: expected size in bytes.

    Raises:
        OutputError: less than ``needed`` bytes are free.
    """
    folder = absolute(folder)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"about {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free",
            where=folder,
            hint="Free some space, choose another folder, or ask for fewer batches.",
        )


def _device_of(folder: str) -> int:
    return os.stat(folder).st_dev


def kind_of_file(path: str, *, follow_links: bool = False) -> str | None:
    """What has this name: ``a file`` for a regular one, ``a folder``, ``a link``, …; None when nothing has it.

    Raises:
        OSError: it cannot be found out.
    """
    try:
        mode = os.stat(path, follow_symlinks=follow_links).st_mode
    except FileNotFoundError:
        return None
    return _KINDS.get(stat.S_IFMT(mode), "a file")


def _taken(path: str) -> OutputExistsError:
    return OutputExistsError("already exists", where=path, hint="Delete it, choose another name, or add --overwrite.")


def _missing_folders(folder: str) -> Iterator[str]:
    """The folder and those above it, as far as they are not there."""
    while not os.path.lexists(folder):
        yield folder
        folder = os.path.dirname(folder)


def _hidden_name(name: str, ending: str) -> str:
    """Temporary name beside the target; hashed when the target's own name leaves no room."""
    if len(os.fsencode(name)) > 240:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.{ending}"


def _or_else(operation: Callable[[], None], substitute: Callable[[], None]) -> None:
    """Do ``operation``; where the file system does not know it, ``substitute``."""
    try:
        operation()
    except OSError as error:
        if error.errno not in _NO_SUCH_OPERATION:
            raise
        substitute()


def _copy(source: str, target: str, how: int) -> None:
    """Copy by writing forwards only; a target that could not be completed is removed."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | how, 0o666)
    try:
        with open(source, "rb") as reader, open(descriptor, "wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
    except BaseException:
        os.unlink(target)
        raise


def _flush(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_OPERATION:  # some mounts cannot flush a folder
            raise
    finally:
        os.close(descriptor)
