"""Flips bits of a tensorfile and asks: does any HDF5 reader see something else, and does `verify` pass it all the same?

    python -m tests.flips FILE [SHARE [SEED]]

The first is h5py's answer: arrays, attributes, names, shapes, dtypes, of the file and of every file that it links to;
names and chunks as HDF5 lists them and as it looks them up.
Files are flipped in child processes, since HDF5 may crash or hang over a damaged file, which counts as seeing something
else.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import zip_longest
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from int8cal.check.verify import verify
from int8cal.errors import TensorFileError
from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.check import check_structure

SECONDS = 20
"""After which a child hangs."""
PIECE = 512
"""Bits that a child is given at a time."""
_ACCESS = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
_ACCESS.set_file_locking(False, True)
_ACCESS.set_fclose_degree(h5py.h5f.CLOSE_STRONG)


def seen(path: str | os.PathLike[str], *, raw: bool) -> Iterator[object]:
    """All that h5py gives of a file, by its low-level calls.

    Args:
        path: the file.
        raw: types as HDF5 describes them, and values unconverted: what is equal so is equal for every reader, at a
            quarter of the time. What differs so may still be equal for h5py.
    """

    def value_of(thing: Any, *spaces: int) -> Iterator[object]:
        kind = thing.get_type()
        yield kind.encode() if raw else thing.dtype
        shape = thing.shape
        yield shape
        # raw: nobody comes this far with another type than that of the sound file, see `_Sound`
        value = np.empty(shape, f"V{kind.get_size()}" if raw else thing.dtype)
        thing.read(*spaces, value, kind if raw else None)
        yield value.tobytes()

    def look(thing: Any) -> Iterator[object]:
        for number in range(h5py.h5a.get_num_attrs(thing)):
            attribute = h5py.h5a.open(thing, index=number)
            yield attribute.name
            yield from value_of(attribute)
        if isinstance(thing, h5py.h5d.DatasetID):
            yield thing.get_space().get_simple_extent_dims(True)
            yield from chunks_of(thing)
            yield from value_of(thing, h5py.h5s.ALL, h5py.h5s.ALL)
            return
        for name in thing:
            yield name, thing.links.get_info(name).type
            yield from look(h5py.h5o.open(thing, name))

    def chunks_of(dataset: Any) -> Iterator[object]:
        """Where its chunks are in it, as HDF5 lists them, and not as it looks them up."""
        if dataset.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
            found: list[object] = []
            dataset.chunk_iter(lambda chunk: found.append(chunk.chunk_offset))
            yield from found

    file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _ACCESS)
    try:
        root = h5py.h5g.open(file, b"/")
        names: list[bytes] = []
        h5py.h5o.visit(root, names.append)
        yield from names
        yield from look(root)
    finally:
        file.close()


class _Sound:
    """What is seen of a file before it is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw, self._converted = list(seen(path, raw=True)), list(seen(path, raw=False))

    def differs(self) -> bool:
        """Whether h5py sees something else now."""
        return self._other(self._raw, raw=True) and self._other(self._converted, raw=False)

    def _other(self, expected: list[object], *, raw: bool) -> bool:
        try:
            with closing(seen(self._path, raw=raw)) as found:  # stops at the first difference
                return any(one != other for one, other in zip_longest(expected, found))
        except Exception:  # noqa: BLE001
            return True


class _Refusals:
    """The checks of `verify` that settle nearly all: structure, and each batch. What refused last is asked first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with TensorFile(path) as file:
            self._checks = [*range(len(file)), -1]

    def found(self) -> bool:
        """Whether one of them finds an error."""
        try:
            with TensorFile(self._path) as file:
                return any(self._refuses(file, check) for check in self._checks)
        except TensorFileError:
            return True

    def _refuses(self, file: TensorFile, check: int) -> bool:
        try:
            refuses = check < 0 and any(found.level == "error" for found in check_structure(file))
            if check >= 0:
                file.stored(check)  # what is wrong with a part is told before the sample table is read
                file[check]
        except TensorFileError:
            refuses = True
        if refuses:
            self._checks.remove(check)
            self._checks.insert(0, check)
        return refuses


def passes(path: Path) -> bool:
    """Whether `int8cal verify` finds no error."""
    try:
        return verify(path).sound
    except TensorFileError:
        return False


def image_chunk_bits(path: Path) -> Iterator[range]:
    """Bits of the chunk of each image of a file that holds batches."""
    with h5py.File(path, "r", locking=False) as file:
        for name in file:
            if isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Group):
                (dataset,) = file[name].values()
                for number in range(dataset.id.get_num_chunks()):
                    chunk = dataset.id.get_chunk_info(number)
                    yield range(8 * chunk.byte_offset, 8 * (chunk.byte_offset + chunk.size))


def bits_to_flip(path: Path) -> list[int]:
    """Every bit outside of image chunks, and every bit of the first image's chunk."""
    chunks = list(image_chunk_bits(path))
    left_out = {bit for chunk in chunks[1:] for bit in chunk}
    return [bit for bit in range(8 * path.stat().st_size) if bit not in left_out]


def missed(head: Path, path: Path, bits: Iterable[int], children: int = 1) -> list[int]:
    """The flips of ``path`` (the head, or one of its parts) after which h5py gives something else and verify passes.

    Args:
        head: what is read.
        path: what is flipped, in a copy.
        bits: which bits.
        children: how many processes work side by side.
    """
    queue = sorted(bits)
    waiting = [queue[start : start + PIECE] for start in range(0, len(queue), PIECE)]
    workers = [_Child(head, path) for _ in range(min(children, len(waiting)))]
    found: list[int] = []
    try:
        while waiting or any(worker.bits for worker in workers):
            for worker in workers:
                if waiting and not worker.bits:
                    worker.give(waiting.pop())
            wait([worker.pipe for worker in workers if worker.bits], 1)
            for worker in workers:
                found += worker.found()
    finally:
        for worker in workers:
            worker.close()
    return sorted(found)


class _Child:
    """A process that flips one bit after the other; a new one takes its place when it dies or hangs."""

    def __init__(self, head: Path, path: Path) -> None:
        memory = Path("/dev/shm")  # many small files, written and read again
        self._folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
        for file in head.parent.glob(f"{head.name}*"):
            shutil.copy(file, self._folder.name)
        self._head, self._path = Path(self._folder.name, head.name), Path(self._folder.name, path.name)
        self._whole = path.read_bytes()
        self._context = multiprocessing.get_context("fork")
        self._at: Any = self._context.RawValue("q", -1)
        self.bits: list[int] = []
        self._start(ask_hdf5=True)

    def _start(self, *, ask_hdf5: bool) -> None:
        self._path.write_bytes(self._whole)
        self.pipe, pipe = self._context.Pipe()
        arguments = (self._head, self._path, pipe, self._at, ask_hdf5)
        self._process = self._context.Process(target=_child, args=arguments, daemon=True)
        self._process.start()
        pipe.close()
        self._seen_at, self._since = -1, time.monotonic()

    def give(self, bits: list[int]) -> None:
        self.bits = bits
        self._at.value = self._seen_at = -1
        self._since = time.monotonic()
        self.pipe.send(bits)

    def found(self) -> list[int]:
        """Flips that were missed, once it has come through its bits, or has ended over one of them."""
        if not self.bits:
            return []
        if self.pipe.poll():
            try:
                found: list[int] = self.pipe.recv()
                self.bits = []
                return found
            except EOFError:
                return self._ended()
        if self._at.value != self._seen_at:
            self._seen_at, self._since = self._at.value, time.monotonic()
        return self._ended() if time.monotonic() - self._since > SECONDS else []

    def _ended(self) -> list[int]:
        """Verify alone is asked about the bit; without an answer, it is missed. The piece is begun again without it."""
        bit, left = self._at.value, self.bits
        self._stop()
        if bit < 0:
            raise RuntimeError("the child ended before its first bit")
        self._start(ask_hdf5=False)
        self.pipe.send([bit])
        try:
            found: list[int] = self.pipe.recv() if self.pipe.poll(SECONDS) else [bit]
        except EOFError:
            found = [bit]
        self._stop()
        self._start(ask_hdf5=True)
        self.bits = []
        if rest := [other for other in left if other != bit]:
            self.give(rest)
        return found

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def close(self) -> None:
        self._stop()
        self._folder.cleanup()


def _child(head: Path, path: Path, pipe: Connection, at: Any, ask_hdf5: bool) -> None:
    """Tell which flips of each list of bits are missed.

    What the bit before was settled by is asked first: neighbours lie in the same structure.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    whole, sound, refusals = path.read_bytes(), _Sound(head), _Refusals(head)
    refused_first = not ask_hdf5
    with open(path, "r+b", buffering=0) as file:

        def put(place: int, byte: int) -> None:
            file.seek(place)
            file.write(bytes([byte]))

        while True:
            found = []
            for bit in pipe.recv():
                at.value = bit
                place = bit >> 3
                put(place, whole[place] ^ 1 << (bit & 7))
                if refused_first and refusals.found():
                    put(place, whole[place])
                    continue
                refused_first = not ask_hdf5 or sound.differs()
                if refused_first and not refusals.found() and passes(head):
                    found.append(bit)
                put(place, whole[place])
            pipe.send(found)


def main() -> None:
    head = Path(sys.argv[1])
    share, seed = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0, int(sys.argv[3]) if len(sys.argv) > 3 else 0
    for path in sorted(head.parent.glob(f"{head.name}*")):
        if not path.name.endswith(".json"):
            bits = bits_to_flip(path)
            bits = random.Random(seed).sample(bits, round(share * len(bits)))
            print(path.name, len(bits), "flips, missed:", missed(head, path, bits, 2))


if __name__ == "__main__":
    main()
