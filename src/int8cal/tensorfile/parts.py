"""The parts of a tensorfile that is spread over several files, as its head declares them and as they are.

A link to another file is followed only when the manifest declares that file: a plain sibling name, a regular file, with
the number of batches and the SHA-256 that are declared. HDF5 itself never follows one here.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from int8cal.errors import TensorFileError
from int8cal.guard.hdf5_errors import damaged
from int8cal.io.lacks import raise_if_lacking
from int8cal.io.paths import kind_of_file
from int8cal.io.safe_text import printable
from int8cal.tensorfile import layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.guard.hdf5 import Hdf5File
    from int8cal.tensorfile.reader import TensorFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEEP = "Keep all part files beside the head file, as they were made."
_SEPARATORS = re.compile(r"[/\\\0]")


class Parts:
    """The parts of one head file. One of them is open at a time.

    Args:
        head: the head file.
        file: the same, as HDF5.
        declared: see `declared_parts`.
    """

    def __init__(self, head: TensorFile, file: Hdf5File, declared: tuple[layout.Part, ...]) -> None:
        self._head = head
        self._file = file
        self._declared = declared
        self.paths = tuple(_beside(head.path, part.name) for part in declared)
        """The part files, in the order of their batches."""
        self._ends = list(accumulate(part.batches for part in declared))
        self._checked: dict[int, TensorFileError | None] = {}
        self._open: tuple[int, TensorFile] | None = None

    @property
    def file_bytes(self) -> int:
        """Bytes that the part files take on the disk.

        Raises:
            TensorFileError: one is missing.
        """
        return sum(map(_size, self.paths))

    def find(self, batch: int) -> tuple[TensorFile, int]:
        """The open part that holds a batch, and the number that the batch has there.

        Raises:
            TensorFileError: the head does not link to the declared place, or the part is missing or not as declared.
        """
        number = bisect_right(self._ends, batch)
        part = self._declared[number]
        batch_of_part = batch - (self._ends[number] - part.batches)
        self._require_link(batch, part, batch_of_part)
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = number, self._opened(number)
        return self._open[1], batch_of_part

    def close(self) -> None:
        """Close the part that is open."""
        if self._open:
            self._open[1].close()
        self._open = None

    def _require_link(self, batch: int, part: layout.Part, batch_of_part: int) -> None:
        expected = (os.fsencode(part.name), f"/{layout.group_name(batch_of_part)}".encode())
        if self._file.external_link(layout.group_name(batch)) != expected:
            raise damaged(self._head.path, f"batch {batch} does not lie where the manifest says")

    def _opened(self, number: int) -> TensorFile:
        """A part that was found to be as declared, now or earlier."""
        path = self.paths[number]
        if number not in self._checked:
            self._checked[number] = _problem(path, self._declared[number].sha256)
        problem = self._checked[number]
        if problem:
            raise problem
        file = type(self._head)(path)
        declared = (self._declared[number].batches, self._head.shape)
        found = (len(file), file.shape)
        if found != declared or layout.PARTS in (file.manifest or {}):
            file.close()
            raise damaged(
                path, f"holds {found[0]} batches of {found[1]}, the head file declares {declared[0]} of {declared[1]}"
            )
        return file


def declared_parts(manifest: Mapping[str, Any], count: int, path: str) -> tuple[layout.Part, ...]:
    """The parts that a manifest declares; empty for a file without any.

    Args:
        manifest: of the head file.
        count: number of batches of the head file.
        path: the head file, for messages.

    Raises:
        TensorFileError: the declaration makes no sense, or names files elsewhere.
    """
    listed = manifest.get(layout.PARTS, [])
    if not isinstance(listed, list) or len(listed) > layout.MAX_PARTS or not all(map(_is_part, listed)):
        raise damaged(path, "the manifest's list of part files is unsound")
    parts = tuple(layout.Part(**part) for part in listed)
    if parts and sum(part.batches for part in parts) != count:
        raise damaged(path, f"the part files hold another number of batches than {count}")
    return parts


def _beside(head: str, name: str) -> str:
    """Where HDF5 looks for a part: beside the head's name first, then, where that is a link, beside the head itself."""
    given = os.path.join(os.path.dirname(head), name)
    return given if os.path.lexists(given) else os.path.join(os.path.dirname(os.path.realpath(head)), name)


def _is_part(entry: object) -> bool:
    if not isinstance(entry, dict) or entry.keys() != set(layout.Part._fields):
        return False
    name, batches, digest = (entry[field] for field in layout.Part._fields)
    return (
        isinstance(name, str)
        and _is_encodable(name)
        and name not in ("", ".", "..")
        and not _SEPARATORS.search(name)
        and type(batches) is int
        and batches > 0
        and isinstance(digest, str)
        and _SHA256.fullmatch(digest) is not None
    )


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # JSON can hold what no file name can
        return False
    return True


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise _unopened(path, error) from error


def _missing(path: str) -> TensorFileError:
    return damaged(printable(path), "this part file is missing", hint=_KEEP)


def _unopened(path: str, error: OSError) -> TensorFileError:
    raise_if_lacking(error, printable(path))
    return damaged(printable(path), f"this part file cannot be opened: {error.strerror}", hint=None)


def _problem(path: str, sha256: str) -> TensorFileError | None:
    """Why a part cannot be used: missing, no regular file, or other bytes than when the head was written."""
    where = printable(path)
    try:
        kind = kind_of_file(path)
        if kind not in {None, "a file"}:
            return damaged(where, f"this part is not a regular file but {kind}", hint=_KEEP)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return _missing(path)
    except OSError as error:
        return _unopened(path, error)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # put there in between
            return damaged(where, "this part is not a regular file", hint=_KEEP)
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return damaged(where, "this part file is not the one that its head file was made with", hint=_KEEP)
    return None
