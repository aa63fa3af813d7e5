"""Going on after an interruption: the journal of a run keeps finished images on the disk.

A kept result may stand in for new work only while its source image has the bytes that it was made from, so the engine
reads and hashes that image again. The ordered writer never notices where a chunk came from.

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
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar

from int8cal.engine.work import ChunkWork, EncodedSample, FailedSample, ImageFacts
from int8cal.errors import DataError, OutputError
from int8cal.io.paths import absolute, flush, kind_of_file, output_errors, remove_remains
from int8cal.samples.encoded import read_encoded, sample_place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from int8cal.samples.samples import Sample

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOVE = "Move it away, or leave out --resume."
_HINT = "Check free space, quota and permissions of the folder, or leave out --resume."
_MAGIC = b"int8cal journal 2\n"
_LENGTH = struct.Struct("<I")
_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<QIIQ32s16sQI")
_LONGEST_NAME = 255
_CHUNK_SLACK = 1 << 16
"""Bytes by which compression may fail, beyond twice the size of the image."""


class _Head(NamedTuple):
    """What an entry says before its chunk, in the order of `_HEAD`."""

    number: int
    facts: ImageFacts
    checksum: bytes
    chunk_bytes: int
    chunk_crc: int

    @classmethod
    def unpacked(cls, packed: bytes) -> _Head:
        number, *facts, checksum, size, crc = _HEAD.unpack(packed)
        return cls(number, ImageFacts(*facts), checksum, size, crc)


def journal_path(out: str, identity: Mapping[str, Any]) -> str:
    """Where a journal lies: beside the output, and under another name for every other identity (see `Journal`)."""
    folder, name = os.path.split(absolute(out))
    ending = f".{hashlib.sha256(_header(identity)).hexdigest()[:16]}.resume"
    if len(os.fsencode(name + ending)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return os.path.join(folder, name + ending)


class Journal:
    """Finished images of one plan. Use it in a ``with`` statement, by the holder of the output's lock alone.

    Leaving the block keeps what was finished; `remove` is for when the output is complete.

    Args:
        path: see `journal_path`; made when it is not there.
        identity: everything on which chunks depend beside the images (JSON types).
        samples: number of samples of the plan.
        batch_size: after so many new images they are flushed to the disk.
        image_bytes: size of an image whose chunk is not compressed.

    Raises:
        OutputError: the journal cannot be read or written, something else has its name, or others could have written
            what it holds.
    """

    def __init__(
        self, path: str, identity: Mapping[str, Any], *, samples: int, batch_size: int, image_bytes: int
    ) -> None:
        self.path = path
        self.reused = 0
        """Images that were not made again."""
        self.changed: list[str] = []
        """Images that were made again because their files had changed."""
        self._header = _header(identity)
        self._offsets = array("Q", bytes(8 * samples))  # of the entry of each sample; 0: none
        self._batch_size = batch_size
        self._max_chunk_bytes = 2 * image_bytes + _CHUNK_SLACK
        self._unflushed = 0
        self._end = 0
        self._file = -1

    def __enter__(self) -> Self:
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._file = _opened(self.path)
            try:
                self._require_own()
                self._read_or_begin()
            except BaseException:
                os.close(self._file)
                raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._end == len(self._header):  # nothing worth keeping
            self.remove()
        self._close()

    def remove(self) -> None:
        """Delete the journal: the output is complete."""
        self._close()  # network file systems keep an open file under a hidden name
        remove_remains(self.path)

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def sha256(self, index: int) -> bytes | None:
        """SHA-256 of the source image that the kept chunk of a sample was made from; None: no chunk is kept."""
        if index >= len(self._offsets) or not self._offsets[index]:
            return None
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            head = self._head(self._offsets[index])
        return head.facts.sha256 if head else None

    def read(self, index: int, sample: Sample) -> EncodedSample | None:
        """The kept result of a sample that has one; None when the disk did not keep it well."""
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            offset = self._offsets[index]
            head = self._head(offset)
            chunk = os.pread(self._file, head.chunk_bytes, offset + _HEAD.size + _CRC.size) if head else b""
        if head is None or len(chunk) != head.chunk_bytes or zlib.crc32(chunk) != head.chunk_crc:
            return None
        return EncodedSample(sample, chunk, head.facts, head.checksum)

    def append(self, index: int, result: EncodedSample) -> None:
        """Keep a result; an earlier one of the same sample no longer counts."""
        head = _HEAD.pack(index, *result.facts, result.checksum, len(result.chunk), zlib.crc32(result.chunk))
        with output_errors(self.path, "cannot keep finished images", hint=_HINT):
            start = self._end
            self._write(head + _CRC.pack(zlib.crc32(head)))
            self._write(result.chunk)
            self._offsets[index] = start
            self._unflushed += 1
            if self._unflushed == self._batch_size:
                flush(self._file)
                self._unflushed = 0

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._file, view, self._end)
            self._end += written
            view = view[written:]

    def _require_own(self) -> None:
        """Nothing in a journal is looked at again but its checksums, so it must be of this user's making."""
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            raise self._refusal("is not a regular file")
        if status.st_uid != os.geteuid() or status.st_mode & 0o022 or status.st_nlink != 1:
            raise self._refusal("belongs to another user, or others can write to it")

    def _read_or_begin(self) -> None:
        size = os.fstat(self._file).st_size
        begins = os.pread(self._file, len(self._header), 0)
        if begins == self._header:
            self._read_entries(size)
        elif size == len(begins) and self._header.startswith(begins):  # empty, or torn
            self._write(self._header)
        else:
            raise self._refusal("is not a journal of this run")
        os.ftruncate(self._file, self._end)

    def _refusal(self, message: str) -> OutputError:
        return OutputError(message, where=self.path, hint=_MOVE)

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
        head = _Head.unpacked(packed)
        return head if zlib.crc32(packed) == crc and head.chunk_bytes <= self._max_chunk_bytes else None


def _opened(path: str) -> int:
    """Descriptor of the file of that name, which is made when there is none."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kind = kind_of_file(path)
        if kind not in {None, "a file"}:
            raise OutputError(f"is not a regular file but {kind}", where=path, hint=_MOVE) from None
        return os.open(path, flags)


def _header(identity: Mapping[str, Any]) -> bytes:
    text = json.dumps(identity, sort_keys=True).encode()
    return _MAGIC + _LENGTH.pack(len(text)) + text


@dataclass(frozen=True, slots=True)
class Known:
    """A sample whose chunk is kept, and the SHA-256 of the image that it was made from."""

    sample: Sample
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A sample whose image still is the one that its kept chunk was made from."""

    sample: Sample


ReuseResult: TypeAlias = EncodedSample | FailedSample | Unchanged


@dataclass(frozen=True)
class WorkUnlessKnown:
    """`ChunkWork` for samples without a kept chunk; for the others no more than a look at whether they changed."""

    work: ChunkWork

    def __call__(self, item: Sample | Known) -> ReuseResult:
        """The image's chunk, or that the kept one may be used."""
        if not isinstance(item, Known):
            return self.work(item)
        with suppress(DataError):  # found, and told, again by the work
            if hashlib.sha256(read_encoded(item.sample)).digest() == item.sha256:
                return Unchanged(item.sample)
        return self.work(item.sample)


class _Stream(Protocol):
    """What does the work: see `int8cal.engine.job.ChunkEngine.stream`."""

    def __call__(
        self, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None
    ) -> Generator[_Result]: ...


def resumed(
    stream: _Stream, journal: Journal, work: ChunkWork, samples: Iterable[Sample], workers: int | None
) -> Generator[EncodedSample | FailedSample]:
    """The results of a stream, kept ones among them; new ones are kept.

    Args:
        stream: the engine.
        journal: what is kept.
        work: what is done for one image.
        samples: all samples of the plan, in order.
        workers: as the engine understands it.
    """

    def items() -> Generator[Sample | Known]:
        for index, sample in enumerate(samples):
            sha256 = journal.sha256(index)
            yield Known(sample, sha256) if sha256 else sample

    with closing(stream(WorkUnlessKnown(work), items(), workers)) as results:
        for index, result in enumerate(results):
            kept = journal.read(index, result.sample) if isinstance(result, Unchanged) else None
            if kept:
                journal.reused += 1
                yield kept
                continue
            made = work(result.sample) if isinstance(result, Unchanged) else result
            if isinstance(made, EncodedSample):  # what failed was not made again, and has an error of its own
                if journal.sha256(index) and not isinstance(result, Unchanged):
                    place = sample_place(result.sample)
                    log.warning("%s has changed since the interrupted run: it is made again", place)
                    journal.changed.append(place)
                journal.append(index, made)
            yield made
