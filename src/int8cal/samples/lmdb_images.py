"""Images in an LMDB, the data sets of words that OCRNet's own converter makes (``image-000000001``, ``num-samples``).

LMDB maps its file into memory and trusts what it finds there: a file that is cut off, or that lies, ends the process
with a signal that nothing can catch. So the sizes that the two meta pages state are checked first, and a child process
does the reading; when it dies, that is an error about the file.

The child is this module run on its own: a name a line on its input, a length and so many bytes on its output.
"""

from __future__ import annotations

import atexit
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO

MAX_VALUE = 1 << 28
"""Largest value that is read: as large as an image file may be."""

MAX_IMAGES = 10_000_000
DATA_FILE = "data.mdb"

_LEAST_ENTRY_BYTES = len("image-000000001")
"""What each image takes of the file at least: its key."""

_ABSENT, _TOO_LARGE, _BROKEN = -1, -2, -3
_LACKING = 75
"""Exit status of a child that lacks memory or open files."""

_LACKS = ("cannot allocate memory", "failed to map segment", "too many open files")
"""How the child's errors say so; `int8cal.io.lacks`, which it does not import, knows them, too."""

_MOST_READERS = 8
"""Data sets of which a child is kept for the next question."""

_PATIENCE = 5.0
"""Seconds that a child, which has closed its output, may take to end."""

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META = struct.Struct("<16x I I Q Q I 2x 2x 4Q Q 48x Q Q")
"""Header of a page, then magic, version, address, map size, page size, …, last page, transaction."""


def _serve(folder: str) -> None:
    """The child: answer until there is no more to read."""
    import lmdb

    ask, tell = sys.stdin.buffer, sys.stdout.buffer
    os.chdir(folder)  # errors name the path, whose words say nothing
    with lmdb.open(os.curdir, readonly=True, lock=False, readahead=False, max_spare_txns=1) as database:
        for line in ask:
            with database.begin(buffers=True) as transaction:
                try:
                    value = transaction.get(line.rstrip(b"\n"))
                except lmdb.Error:
                    tell.write(struct.pack("<q", _BROKEN))
                else:
                    if value is None:
                        tell.write(struct.pack("<q", _ABSENT))
                    elif len(value) > MAX_VALUE:
                        tell.write(struct.pack("<q", _TOO_LARGE))
                    else:
                        tell.write(struct.pack("<q", len(value)))
                        tell.write(value)
            tell.flush()


if __name__ == "__main__":
    try:
        _serve(sys.argv[1])
    except Exception as failure:  # noqa: BLE001 - only the cause is told, by the exit status
        lacks = isinstance(failure, MemoryError) or any(words in str(failure).lower() for words in _LACKS)
        sys.exit(_LACKING if lacks else 1)
    sys.exit(0)

from int8cal.errors import DataError, ImageError, ResourceError  # noqa: E402 - the child needs none of it
from int8cal.io.lacks import raise_if_lacking  # noqa: E402
from int8cal.io.safe_text import short_repr  # noqa: E402
from int8cal.samples.paths import open_data_file, path_text  # noqa: E402

_HINT = "Copy the data set again, or convert it anew."
_FIND = "Check the path in the spec; a folder of images needs a list of labels (gt file)."


def image_names(folder: str) -> list[str]:
    """Names of the images of a data set, in order.

    Raises:
        MissingDataError: there is no ``data.mdb`` in the folder.
        DataError: it is not LMDB, is cut off, or does not say how many images it has.
    """
    _check_size(folder)
    value = _reader(folder).get("num-samples")
    try:
        count = int(value or b"")
    except ValueError:
        count = -1
    room = os.path.getsize(os.path.join(folder, DATA_FILE)) // _LEAST_ENTRY_BYTES
    if not 0 <= count <= min(MAX_IMAGES, room):
        told = "it has no num-samples" if value is None else f"its num-samples is {short_repr(value[:40])}"
        raise DataError(told, where=path_text(os.path.join(folder, DATA_FILE)), hint=_HINT)
    return [f"image-{number:09d}" for number in range(1, count + 1)]


def read_image(folder: str, name: str) -> bytes:
    """The encoded image of a name.

    Raises:
        ImageError: it is not there, too large, or cannot be read.
    """
    try:
        value = _reader(folder).get(name)
    except DataError as error:
        raise ImageError(error.message, where=error.where, hint=error.hint) from error
    if value is None:
        raise ImageError(f"{short_repr(name)} is not in it", where=path_text(os.path.join(folder, DATA_FILE)))
    return value


def _check_size(folder: str) -> None:
    """Make sure that the file is as long as its newest meta page says, whichever of the two that is."""
    path = os.path.join(folder, DATA_FILE)
    where = path_text(path)
    with open_data_file(path, "LMDB", DataError, hint=_FIND) as file:
        length = os.fstat(file.fileno()).st_size
        first = file.read(_META.size)
        if len(first) < _META.size or not _is_meta(first):
            raise DataError("this is not LMDB", where=where, hint=_HINT)
        page = _META.unpack(first)[4]
        if not 512 <= page <= 1 << 16 or page & (page - 1):
            raise DataError(f"its pages have {page} bytes, which none of an LMDB have", where=where, hint=_HINT)
        file.seek(page)
        second = file.read(_META.size)
        if len(second) < _META.size or not _is_meta(second):
            raise DataError("its second meta page is missing", where=where, hint=_HINT)
        needed = max(_META.unpack(one)[-2] + 1 for one in (first, second)) * page
    if length < needed:
        raise DataError(f"it is cut off: {length} of {needed} bytes", where=where, hint=_HINT)


def _is_meta(page: bytes) -> bool:
    return _META.unpack(page)[:2] == (_MAGIC, _VERSION)


class _Reader:
    """A child process that reads one data set, begun anew after it died."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._is_kept = True

    def get(self, name: str) -> bytes | None:
        """The value of a name; None when there is none."""
        with self._lock:
            try:
                return self._ask(name)
            except (OSError, EOFError):
                where = path_text(os.path.join(self._folder, DATA_FILE))
                status = self.close(_PATIENCE)
                if status in (_LACKING, -signal.SIGKILL):  # by which the kernel ends processes when memory runs out
                    raise ResourceError(
                        "the process that reads it got too little memory, or too few open files",
                        where=where,
                        hint="Raise the limits (ulimit -v, ulimit -n), or use fewer --workers.",
                    ) from None
                raise DataError(
                    f"the LMDB cannot be read: the process that read {short_repr(name)} of it died",
                    where=where,
                    hint=_HINT,
                ) from None
            except DataError:
                raise
            except BaseException:  # an interrupt or a lack of memory: the next answer would be this one's rest
                self.close()
                raise
            finally:
                if not self._is_kept:
                    self.close()

    def _ask(self, name: str) -> bytes | None:
        if self._child is None:
            self._child = self._begun()
        ask, tell = self._child.stdin, self._child.stdout
        if ask is None or tell is None:
            raise EOFError
        ask.write(name.encode() + b"\n")
        ask.flush()
        (length,) = struct.unpack("<q", self._read(tell, 8))
        if length == _ABSENT:
            return None
        if length < 0:
            problem = f"more than {MAX_VALUE} bytes" if length == _TOO_LARGE else "damaged"
            raise DataError(
                f"{short_repr(name)} is {problem}", where=path_text(os.path.join(self._folder, DATA_FILE)), hint=_HINT
            )
        return self._read(tell, length)

    def _begun(self) -> subprocess.Popen[bytes]:
        where = path_text(os.path.join(self._folder, DATA_FILE))
        try:
            return subprocess.Popen(  # noqa: S603 - this very module
                [sys.executable, "-I", __file__, self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise_if_lacking(error, where)
            raise ResourceError(
                f"the system starts no process to read it: {error.strerror}",
                where=where,
                hint="Raise the limits of this process (ulimit -u and -v, pids of a container).",
            ) from error

    def _read(self, stream: IO[bytes], count: int) -> bytes:
        data = stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def give_up(self) -> None:
        """Keep no child any more, once the questions of other threads are answered."""
        self._is_kept = False
        with self._lock:
            self.close()

    def close(self, patience: float = 0.0) -> int | None:
        """End the child, unless it ends by itself within so many seconds: then, its exit status."""
        child, self._child = self._child, None
        if child is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
        status = child.poll()
        child.kill()
        for stream in (child.stdin, child.stdout):
            with suppress(OSError):  # it died with our question unread
                if stream is not None:
                    stream.close()
        child.wait()
        return status


_readers: dict[str, _Reader] = {}
"""By folder, the one that was asked last at the end."""
_readers_lock = threading.Lock()


def _reader(folder: str) -> _Reader:
    with _readers_lock:
        reader = _readers.pop(folder, None) or _Reader(folder)
        _readers[folder] = reader
        unused = _readers.pop(next(iter(_readers))) if len(_readers) > _MOST_READERS else None
    if unused:
        unused.give_up()
    return reader


@atexit.register
def _close_all() -> None:
    for reader in _readers.values():
        reader.close()
