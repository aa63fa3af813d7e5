"""The journal of a run: finished images on the disk, so that an interrupted run can go on.

A file that only grows: a header that says which plan, encoded by which versions, and one entry per image, each with its
own checksums. A run that is killed leaves at worst a torn last entry, which the next one cuts off. An entry of a sample
that was made again counts in place of the earlier one.

    header  magic, uint32 length, JSON
    entry   head (`_HEAD`), uint32 CRC-32 of the head, chunk
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import struct
import zlib
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from int8cal.engine.work import EncodedSample
from int8cal.errors import OutputError
from int8cal.files import output_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from int8cal.dataset.samples import Sample

log = logging.getLogger(__name__)

_HINT = "Check free space, quota and permissions of the folder, or leave out --resume."
_MAGIC = b"int8cal journal 1\n"
_LENGTH = struct.Struct("<I")
_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<QIIQ32sQI")
_MAX_HEADER_BYTES = 1 << 20
_LONGEST_NAME = 255


class _Head(NamedTuple):
    """What an entry says before its chunk, in the order of `_HEAD`."""

    number: int
    height: int
    width: int
    encoded_bytes: int
    sha256: bytes
    chunk_bytes: int
    chunk_crc: int


def journal_path(out: str, plan_sha256: str) -> str:
    """Where the journal of a plan lies: beside the output, and under another name for every other plan."""
    folder, name = os.path.split(os.path.abspath(out))
    ending = f".{plan_sha256[:16]}.resume"
    if len(os.fsencode(name + ending)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return os.path.join(folder, name + ending)


class Journal:
    """Finished images of one plan. Use it in a ``with`` statement, by the holder of the output's lock alone.

    Leaving the block keeps what was finished; `remove` is for when the output is complete.

    Args:
        path: see `journal_path`; made when it is not there.
        identity: everything on which chunks depend beside the images (JSON types). A journal of another identity is
            begun anew.
        samples: number of samples of the plan.
        batch_size: after so many new images they are flushed to the disk.

    Raises:
        OutputError: the journal cannot be read or written, or something else has its name.
    """

    def __init__(self, path: str, identity: Mapping[str, Any], samples: int, batch_size: int) -> None:
        self.path = path
        self.reused = 0
        """Images that were not made again."""
        self.changed: list[str] = []
        """Images that were made again because their files had changed."""
        self._header = _header(identity)
        self._offsets = array("Q", bytes(8 * samples))  # of the entry of each sample; 0: none
        self._batch_size = batch_size
        self._unflushed = 0
        self._end = 0
        self._file = -1

    def __enter__(self) -> Self:
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            try:
                self._read_or_begin()
            except BaseException:
                os.close(self._file)
                raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        os.close(self._file)
        if self._end == len(self._header):  # nothing worth keeping
            self.remove()

    def remove(self) -> None:
        """Delete the journal: the output is complete."""
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def sha256(self, index: int) -> bytes | None:
        """SHA-256 of the source image that the kept chunk of a sample was made from; None: no chunk is kept."""
        if index >= len(self._offsets) or not self._offsets[index]:
            return None
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            head = self._head(self._offsets[index])
        return head.sha256 if head else None

    def read(self, index: int, sample: Sample) -> EncodedSample | None:
        """The kept result of a sample that has one; None when the disk did not keep it well."""
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            offset = self._offsets[index]
            head = self._head(offset)
            chunk = os.pread(self._file, head.chunk_bytes, offset + _HEAD.size + _CRC.size) if head else b""
        if head is None or len(chunk) != head.chunk_bytes or zlib.crc32(chunk) != head.chunk_crc:
            return None
        return EncodedSample(sample, chunk, head.height, head.width, head.encoded_bytes, head.sha256)

    def append(self, index: int, result: EncodedSample) -> None:
        """Keep a result; an earlier one of the same sample no longer counts."""
        head = _HEAD.pack(
            index,
            result.height,
            result.width,
            result.encoded_bytes,
            result.sha256,
            len(result.chunk),
            zlib.crc32(result.chunk),
        )
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            start = self._end
            self._write(head + _CRC.pack(zlib.crc32(head)))
            self._write(result.chunk)
            self._offsets[index] = start
            self._unflushed += 1
            if self._unflushed == self._batch_size:
                os.fsync(self._file)
                self._unflushed = 0

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file, view, self._end)
            self._end += written
            view = view[written:]

    def _read_or_begin(self) -> None:
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise OutputError("is no regular file", where=self.path, hint="Move it away, or leave out --resume.")
        begins = os.pread(self._file, _MAX_HEADER_BYTES, 0)
        if not _MAGIC.startswith(begins[: len(_MAGIC)]):
            raise OutputError("is no journal of int8cal", where=self.path, hint="Move it away, or leave out --resume.")
        if begins.startswith(self._header):
            self._read_entries(status.st_size)
        else:
            if len(begins) > len(_MAGIC):
                log.warning("%s was made by other versions of int8cal or its packages: begun anew", self.path)
            os.ftruncate(self._file, 0)
            self._write(self._header)
        os.ftruncate(self._file, self._end)

    def _read_entries(self, size: int) -> None:
        """Find the entries up to the first that is torn."""
        self._end = len(self._header)
        while head := self._head(self._end):
            after = self._end + _HEAD.size + _CRC.size + head.chunk_bytes
            if after > size or head.number >= len(self._offsets):
                break
            self._offsets[head.number] = self._end
            self._end = after

    def _head(self, offset: int) -> _Head | None:
        content = os.pread(self._file, _HEAD.size + _CRC.size, offset)
        if len(content) != _HEAD.size + _CRC.size:
            return None
        packed, (crc,) = content[: _HEAD.size], _CRC.unpack_from(content, _HEAD.size)
        return _Head(*_HEAD.unpack(packed)) if zlib.crc32(packed) == crc else None


def _header(identity: Mapping[str, Any]) -> bytes:
    text = json.dumps(identity, sort_keys=True).encode()
    return _MAGIC + _LENGTH.pack(len(text)) + text
