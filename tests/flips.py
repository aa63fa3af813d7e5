"""Flips bits of a tensorfile and asks: does any HDF5 reader see something else, and does `verify` pass it all the same?

    python -m tests.flips FILE [SHARE [SEED]]

The first is h5py's answer: arrays, attributes, names, shapes, dtypes, of the file and of every file that it links to.
Files are flipped in child processes, since HDF5 may crash or hang over a damaged file, which counts as seeing something
else.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SECONDS = 20
"""After which a child hangs."""
_ACCESS = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
_ACCESS.set_file_locking(False, True)
_ACCESS.set_fclose_degree(h5py.h5f.CLOSE_STRONG)


def seen(path: str | os.PathLike[str]) -> bytes:
    """A hash of all that h5py gives of a file, by its low-level calls, which cost a fifth."""
    digest = hashlib.sha256()

    def tell(*facts: object) -> None:
        digest.update(repr(facts).encode())

    def look(thing: Any) -> None:
        for number in range(h5py.h5a.get_num_attrs(thing)):
            attribute = h5py.h5a.open(thing, index=number)
            value = np.empty(attribute.shape, attribute.dtype)
            attribute.read(value)
            tell(attribute.name, attribute.shape, attribute.dtype, value.tobytes())
        if isinstance(thing, h5py.h5d.DatasetID):
            tell(thing.shape, thing.dtype, thing.get_space().get_simple_extent_dims(True))
            value = np.empty(thing.shape, thing.dtype)
            thing.read(h5py.h5s.ALL, h5py.h5s.ALL, value)
            digest.update(value.data)
            return
        for name in thing:
            tell(name, thing.links.get_info(name).type)
            look(h5py.h5o.open(thing, name))

    file = h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _ACCESS)
    try:
        look(h5py.h5g.open(file, b"/"))
    finally:
        file.close()
    return digest.digest()


def passes(path: str | os.PathLike[str]) -> bool:
    """Whether `int8cal verify` finds no error. What looks at structure and values is asked first: it is faster."""
    from int8cal.check.verify import verify
    from int8cal.errors import TensorFileError
    from int8cal.tensorfile import TensorFile
    from int8cal.tensorfile.check import ValueCheck, check_structure

    try:
        with TensorFile(path) as file:
            values = ValueCheck(file)
            for _ in values.images():
                pass
            if any(found.level == "error" for found in [*values.findings, *check_structure(file)]):
                return False
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
        path: what is flipped, restored in the end.
        bits: which bits.
        children: how many processes work side by side, each on a copy in a folder of its own.
    """
    queue = list(bits)
    workers = [_Child(head, path) for _ in range(children)]
    found = []
    try:
        while queue or any(worker.busy for worker in workers):
            for worker in workers:
                if queue and not worker.busy:
                    worker.ask(queue.pop())
            ready, _, _ = select.select([worker.process.stdout for worker in workers if worker.busy], [], [], SECONDS)
            for worker in workers:
                if worker.busy and (worker.process.stdout in ready or not ready):
                    bit = worker.bit
                    if worker.answer(hangs=worker.process.stdout not in ready):
                        found.append(bit)
    finally:
        for worker in workers:
            worker.close()
    return sorted(found)


class _Child:
    """A process that flips one bit at a time; a new one takes its place when it dies or hangs."""

    def __init__(self, head: Path, path: Path) -> None:
        self._arguments = [str(head), str(path)]
        self.bit = -1
        self._start(skip_hdf5=False)

    @property
    def busy(self) -> bool:
        return self.bit >= 0

    def _start(self, *, skip_hdf5: bool) -> None:
        command = [sys.executable, "-m", "tests.flips", "--child", *self._arguments, str(int(skip_hdf5))]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            cwd=Path(__file__).parents[1],
        )

    def ask(self, bit: int) -> None:
        self.bit = bit
        self._write(bit)

    def _write(self, bit: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{bit}\n")
        self.process.stdin.flush()

    def answer(self, *, hangs: bool) -> bool:
        """Whether the flip was missed. A child that died or hangs over HDF5 is asked again about verify alone."""
        assert self.process.stdout
        line = "" if hangs else self.process.stdout.readline()
        bit, self.bit = self.bit, -1
        if line:
            return bool(json.loads(line))
        self.close()
        self._start(skip_hdf5=True)
        self._write(bit)
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if ready else ""
        self.close()
        self._start(skip_hdf5=False)
        return not line or bool(json.loads(line))  # no answer: verify itself died or hangs

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def _child(head: Path, path: Path, *, skip_hdf5: bool) -> None:
    """Answer for each bit on stdin whether its flip is missed."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for file in head.parent.glob(f"{head.name}*"):
            shutil.copy(file, folder)
        copy, target = Path(folder, head.name), Path(folder, path.name)
        whole = target.read_bytes()
        sound = seen(copy)
        for line in sys.stdin:
            place, bit = divmod(int(line), 8)
            with open(target, "r+b") as file:
                file.seek(place)
                file.write(bytes([whole[place] ^ 1 << bit]))
            differs = skip_hdf5 or _differs(copy, sound)
            print(json.dumps(differs and passes(copy)), flush=True)
            with open(target, "r+b") as file:
                file.seek(place)
                file.write(whole[place : place + 1])


def _differs(path: Path, sound: str) -> bool:
    try:
        return seen(path) != sound
    except Exception:  # noqa: BLE001
        return True


def main() -> None:
    if sys.argv[1] == "--child":
        _child(Path(sys.argv[2]), Path(sys.argv[3]), skip_hdf5=sys.argv[4] == "1")
        return
    head = Path(sys.argv[1])
    share, seed = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0, int(sys.argv[3]) if len(sys.argv) > 3 else 0
    for path in sorted(head.parent.glob(f"{head.name}*")):
        if not path.name.endswith(".json"):
            bits = bits_to_flip(path)
            bits = random.Random(seed).sample(bits, round(share * len(bits)))
            print(path.name, len(bits), "flips, missed:", missed(head, path, bits, 2))


if __name__ == "__main__":
    main()
