"""One run at a time on one output: the lock beside it, and a private folder below a scratch folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat

from int8cal.errors import OutputError
from int8cal.io.paths import absolute, cannot, refuse_address
from int8cal.io.signals import Stopped, uninterrupted

log = logging.getLogger(__name__)

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP})
_ATTEMPTS = 100
_warned_of: set[int] = set()
"""Devices of which the user knows that they have no locks."""


class KnownFile:
    """A file known by an open descriptor, whatever comes to have its name.

    Args:
        descriptor: of the file.
        path: the name that it was opened by.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self.exact = self.is_at(path)
        """False at once, when it has just been opened: some network mounts give open files another identity."""

    def has_its_name(self) -> bool:
        """Whether the name still is that of this file; where that cannot be told exactly, of a regular file."""
        if self.exact:
            return self.is_at(self._path)
        return os.path.isfile(self._path) and not os.path.islink(self._path)

    def link_as(self, path: str) -> None:
        """Give this very file another name, whatever has its first one by now, and replace nothing.

        Raises:
            FileExistsError: the name is taken.
            FileNotFoundError: the file has no name any more.
            OSError: the file system has no hard links.
        """
        try:
            descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # not Linux
            os.link(self._path, path)
            return
        try:
            os.link(str(self._descriptor), path, src_dir_fd=descriptors)
        finally:
            os.close(descriptors)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def is_at(self, path: str) -> bool:
        """Whether ``path`` is a name of this file."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(path))
        except FileNotFoundError:
            return False


class Lock:
    """A file that one living run at a time holds locked, as long as it works on what the lock is for.

    The file is nothing but the lock: only its holder removes it. Where the file system has no locks (NFS without its
    daemon, Lustre, some FUSE mounts), one warning says so, and every run gets it.

    Args:
        path: the file; a dead run's is taken over.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.exclusive = False
        """Whether no other run has it: always once it is taken, but where the file system has no locks."""
        self._file: KnownFile | None = None

    def take(self) -> None:
        """Take the lock; a signal that comes meanwhile leaves nothing of it.

        Raises:
            BlockingIOError: another run holds it.
            OSError: the file cannot be made, or something else has its name.
        """
        try:
            with uninterrupted():
                self._take()
        except Stopped:
            self.release()
            raise

    def _take(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        for attempt in range(_ATTEMPTS):  # its former holder may remove it between open and lock
            descriptor = os.open(self.path, flags, 0o666)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode) or found.st_size:
                    raise FileExistsError(errno.EEXIST, "something else has the name of the lock", self.path)
                self.exclusive = locked(descriptor)
                file = KnownFile(descriptor, self.path)
                if file.exact or not self.exclusive or attempt == _ATTEMPTS - 1:
                    self._file = file
                    return
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def release(self) -> bool:
        """Remove the lock, if it is held.

        It loses its name while it is still locked, so that no other run takes what is about to go; but it is closed
        before it is removed, for network file systems keep an open file under a hidden name.

        Returns:
            False when something else had come in its place, which is left alone.
        """
        if self._file is None:
            return True
        ours = self._file.has_its_name()
        last_name = self._renamed() if ours else None
        self._file.close()
        self._file = None
        if last_name:
            with contextlib.suppress(OSError):  # what cannot be removed is taken over by the next run
                os.unlink(last_name)
        return ours

    def _renamed(self) -> str:
        """Take the name from the lock, where that can be done; the name that it has then."""
        ended = f"{self.path}-ended"
        with contextlib.suppress(OSError):
            if not os.path.lexists(ended) or not os.lstat(ended).st_size:  # what a run left that was killed here
                os.rename(self.path, ended)
                return ended
        return self.path


class PrivateFolder:
    """A new folder of this user alone below a scratch folder.

    Args:
        scratch_dir: where it is made; it may be open to everybody, as ``/tmp`` is.
        target: the output that it is for. Folders that killed runs made for the same one are removed, so their files do
            not pile up; a run of another machine that has the same scratch folder keeps its own.
    """

    def __init__(self, scratch_dir: str, target: str) -> None:
        refuse_address(scratch_dir)
        self.parent = absolute(scratch_dir)
        key = hashlib.sha256(os.fsencode(os.path.realpath(target))).hexdigest()[:16]
        self._prefix = f".int8cal-{key}-"
        self.path = ""
        self._descriptor = -1

    def make(self) -> None:
        """Make it.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            os.makedirs(self.parent, exist_ok=True)
            for name in os.listdir(self.parent):
                if name.startswith(self._prefix):
                    self._remove_if_dead(os.path.join(self.parent, name))
            import tempfile  # needed by few

            self.path = tempfile.mkdtemp(prefix=self._prefix, dir=self.parent)
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            locked(self._descriptor)
        except OSError as error:
            raise cannot("use the scratch folder", error, self.parent) from error

    def remove(self) -> None:
        """Delete it with what is in it, if it was made."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)

    @staticmethod
    def _remove_if_dead(path: str) -> None:
        """Remove the folder of a run that is no longer there; nothing else that has such a name."""
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                ours = os.fstat(descriptor).st_uid == os.geteuid()
                dead = ours and locked(descriptor)
            finally:
                os.close(descriptor)
            if dead:
                shutil.rmtree(path, ignore_errors=True)


def locked(descriptor: int) -> bool:
    """Lock an open file or folder; False, and a warning, where the file system has no locks.

    Raises:
        BlockingIOError: another run holds the lock.
        OSError: it cannot be locked for another reason.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        device = os.fstat(descriptor).st_dev
        if device not in _warned_of:
            _warned_of.add(device)
            log.warning("this file system has no locks (%s): let no two runs write the same file", error.strerror)
        return False
    return True


def hidden_name(name: str, ending: str) -> str:
    """Temporary name beside the target; hashed when the target's own name leaves no room."""
    if len(os.fsencode(name)) > 240:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.{ending}"


def in_use(path: str) -> OutputError:
    """The error for an output that another run works on."""
    return OutputError("another run is writing this output", where=path, hint="Wait for it, or choose another output.")
