"""Output files that get their final name only when they are complete.

A file is written under a temporary name beside the target (or in a scratch folder, then streamed beside it), flushed
to the disk, and renamed without replacing anything. The temporary file is locked while a run lives: a second run on
the same output stops, and what a dead run left behind is taken over by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Self

from int8cal.errors import OutputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Callable

_COPY_BYTES = 8 << 20
_NO_SUCH_OPERATION = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV}
)


class OutputFile:
    """The one way in which this package makes an output file. Use it in a ``with`` statement.

        with OutputFile(path, overwrite=False) as output:
            write_somehow(output.scratch)
            output.commit()

    Leaving the block without `commit` removes everything that was written.

    Args:
        path: the final name; missing folders are made.
        overwrite: replace an existing file, in one step, at `commit`.
        scratch_dir: write there, and copy beside the target at `commit`: for targets that are slow or cannot seek.

    Raises:
        OutputExistsError: the final name is taken.
        OutputError: another run is writing this output, or the folder cannot be written to.
    """

    def __init__(self, path: str, *, overwrite: bool = False, scratch_dir: str | None = None) -> None:
        self.path = path
        self._overwrite = overwrite
        folder, name = os.path.split(os.path.abspath(path))
        self._folder = folder
        self._part = os.path.join(folder, _part_name(name))
        key = hashlib.sha256(os.path.realpath(path).encode(errors="surrogateescape")).hexdigest()[:16]
        self.scratch = os.path.join(scratch_dir, f".int8cal-{key}.part") if scratch_dir else self._part
        """The file to write to, until `commit`."""
        self._lock = -1

    def __enter__(self) -> Self:
        self._refuse_taken_name()
        try:
            os.makedirs(self._folder, exist_ok=True)
            os.makedirs(os.path.dirname(self.scratch), exist_ok=True)
            self._lock = _locked(self._part)
        except BlockingIOError as error:
            raise OutputError(
                "another run is writing this file", where=self.path, hint="Wait for it, or choose another output."
            ) from error
        except OSError as error:
            raise self._cannot("write here", error) from error
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for leftover in {self.scratch, self._part}:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)
        os.close(self._lock)

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

    def commit(self) -> None:
        """Give the file its final name, once every byte of it is on the disk.

        Raises:
            OutputExistsError: the name was taken in the meantime.
            OutputError: copying, flushing or renaming failed.
        """
        try:
            if self.scratch != self._part:
                _copy(self.scratch, self._part, os.O_TRUNC)
            _flush(self._part)
            self._rename()
            _flush(self._folder)
        except FileExistsError as error:
            raise _taken(self.path) from error
        except OSError as error:
            raise self._cannot("finish the file", error) from error

    def _rename(self) -> None:
        if self._overwrite:
            _or_else(lambda: os.replace(self._part, self.path), lambda: _copy(self._part, self.path, os.O_TRUNC))
        else:  # a hard link, unlike a rename, never replaces
            _or_else(lambda: os.link(self._part, self.path), self._rename_unlinkable)

    def _rename_unlinkable(self) -> None:
        """For file systems without hard links (FAT, some network and FUSE mounts)."""
        self._refuse_taken_name()
        _or_else(lambda: os.rename(self._part, self.path), lambda: _copy(self._part, self.path, os.O_EXCL))

    def _refuse_taken_name(self) -> None:
        if os.path.isdir(self.path):
            raise OutputError("is a folder", where=self.path, hint="Give the name of a file.")
        if os.path.lexists(self.path) and not self._overwrite:
            raise _taken(self.path)

    def _cannot(self, what: str, error: OSError) -> OutputError:
        return OutputError(
            f"cannot {what}: {error.strerror or error}",
            where=self.path,
            hint="Check free space, quota and permissions of the folder.",
        )


def write_file(path: str, content: bytes, *, overwrite: bool = False) -> None:
    """Write a small file whole, or not at all. Errors as `OutputFile`."""
    with OutputFile(path, overwrite=overwrite) as output:
        output.write(content)
        output.commit()


def require_free_space(folder: str, needed: int) -> None:
    """Refuse work whose result will not fit.

    Args:
        folder: where the result goes; it or a parent of it exists.
        needed: expected size in bytes.

    Raises:
        OutputError: less than ``needed`` bytes are free.
    """
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"about {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free",
            where=folder,
            hint="Free some space, choose another folder, or ask for fewer batches.",
        )


def _taken(path: str) -> OutputExistsError:
    return OutputExistsError("already exists", where=path, hint="Delete it, choose another name, or add --overwrite.")


def _part_name(name: str) -> str:
    """Temporary name beside the target; hashed when the target's own name leaves no room."""
    if len(os.fsencode(name)) > 240:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.part"


def _locked(path: str) -> int:
    """Descriptor of an empty file at ``path`` that this process alone holds locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its former owner removed it between open and lock: once more


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
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o666)
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
