"""Temporary files that one run at a time may write: the lock over them, and a private folder below a scratch folder.

Scratch folders may be open to everybody (``/tmp``), so nothing there is opened by a name that others could have made:
the private folder must be new, or a folder of this user that nobody else can enter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat

from int8cal.errors import OutputError
from int8cal.io.current_folder import absolute


class Lock:
    """A file that one living run at a time holds locked, as long as it works on what the lock is for.

    The file is nothing but the lock: it is never renamed or written to, and only its holder removes it. So who holds
    it may do with the files that it stands for what no other run can see half done, to the very end.

    Args:
        path: the file; a dead run's is taken over.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock.

        Raises:
            BlockingIOError: another run holds it.
            OSError: the file cannot be made, or something else has its name.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        while not self.held:  # not so when its former holder removed it between open and lock: once more
            self._close()
            self._descriptor = os.open(self.path, flags, 0o666)
            try:
                found = os.fstat(self._descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size:
                    raise FileExistsError(errno.EEXIST, "something else has the name of the lock", self.path)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                self._close()
                raise

    @property
    def held(self) -> bool:
        """Whether this run holds the lock, and the name still is that of the file which it locked."""
        if self._descriptor < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the lock, if it is held."""
        if self.held:
            with contextlib.suppress(OSError):  # what cannot be removed is taken over by the next run
                os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


class PrivateFolder:
    """A folder of this user alone below a scratch folder, the same for every run on the same output.

    Args:
        scratch_dir: where it lies.
        target: the output.
    """

    def __init__(self, scratch_dir: str, target: str) -> None:
        self.parent = absolute(scratch_dir)
        key = f"{os.geteuid()}:".encode() + os.fsencode(os.path.realpath(target))
        self.path = os.path.join(self.parent, f".int8cal-{hashlib.sha256(key).hexdigest()[:16]}")
        self._lock = Lock(os.path.join(self.path, "lock"))

    def claim(self, content: str) -> None:
        """Make it, or take over what a dead run left.

        Args:
            content: path of the one file that is going to be made in it. It does not exist: some programs refuse an
                existing file, and nobody else can make it here.

        Raises:
            OutputError: it cannot be made, something else has its name, or a living run uses it.
        """
        try:
            os.makedirs(self.parent, exist_ok=True)
            try:
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                self._refuse_foreign()
            self._lock.take()
            clear(content)
        except OSError as error:
            raise in_use(self.path, error) or cannot("use the scratch folder", error, self.parent) from error

    def _refuse_foreign(self) -> None:
        found = os.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OutputError(
                "is in the way: no private folder of this user",
                where=self.path,
                hint="Remove it, or choose another --scratch_dir.",
            )

    def remove(self, content: str) -> None:
        """Delete it with the one file that was made in it, if it was claimed."""
        if not self._lock.held:
            return
        with contextlib.suppress(OSError):
            os.unlink(content)
        self._lock.release()
        with contextlib.suppress(OSError):  # somebody put something into it
            os.rmdir(self.path)


def make_anew(path: str) -> None:
    """Make an empty file, in the place of what a dead run left there. For the holder of the lock.

    Raises:
        OSError: it cannot be made, or something else than a file has its name.
    """
    clear(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))


def clear(path: str) -> None:
    """Remove what a dead run left there. For the holder of the lock.

    What was left may have the final name too, when the run died just then: it is let go, and not emptied.

    Raises:
        OSError: it cannot be removed, or something else than a file has its name.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "something else has the name of the temporary file", path)
        os.unlink(path)


def in_use(path: str, error: OSError) -> OutputError | None:
    """The error for a lock that another run holds; None for other errors."""
    if not isinstance(error, BlockingIOError):
        return None
    return OutputError("another run is writing this file", where=path, hint="Wait for it, or choose another output.")


def cannot(what: str, error: OSError, where: str, folder: str | None = None) -> OutputError:
    """The error for what the system refused, with what can be done about it.

    Args:
        what: was tried.
        error: came of it.
        where: the place that the user gave.
        folder: that ``where`` goes into; None: ``where`` is a folder itself.
    """
    blocking = _file_among_folders(folder or where)
    if blocking:
        hint = f"{blocking} is a file, not a folder: choose another place."
    elif error.errno in {errno.EEXIST, errno.ELOOP, errno.EISDIR} and error.filename:
        hint = f"Remove {error.filename}, which is in the way."
    elif error.errno == errno.ENAMETOOLONG:
        hint = "Choose a shorter name."
    else:
        hint = "Check free space, quota and permissions of the folder."
    return OutputError(f"cannot {what}: {error.strerror or error}", where=where, hint=hint)


def _file_among_folders(folder: str) -> str | None:
    """The part of a folder's path that is there and is no folder."""
    folder = absolute(folder)
    while not os.path.lexists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return None if os.path.isdir(folder) else folder
