"""Tensorfiles through the reader and `verify`: files of today, of an earlier version, and of NVIDIA's layout.

Frames of HDF5 files. Both can be compared with what h5py gives.
"""

from __future__ import annotations

import io
import re
import struct
import tempfile
from pathlib import Path
from random import Random

import h5py
import numpy as np
from PIL import Image
from tests.fuzz.driver import Driver, Reference
from tests.pictures import pixels
from tests.specs import CLASSIFICATION

import int8cal
from int8cal.samples.hdf5_frames import read_frame

OLD_FILES = Path(__file__).parents[2] / "data" / "tensorfiles_8e82fdb"


TENSORFILE = "input.tensor"
BATCH = "_tensorfile_array_key__{}/_tensorfile_array_key_"


def corpus() -> dict[str, bytes]:
    found = {"old": (OLD_FILES / "fast.tensor").read_bytes()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in ("train", "val"):
            for number in range(4):
                file = folder / split / f"class{number % 2}" / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels(16, 16, seed=number)).save(file)
        text = CLASSIFICATION.replace('"3,24,32"', '"3,16,16"')
        text = text.replace('"train"', f'"{folder}/train"').replace('"val"', f'"{folder}/val"')
        (folder / "spec.txt").write_text(text)
        for compression in ("none", "fast", "small"):
            out = folder / compression
            int8cal.make(int8cal.plan(folder / "spec.txt"), out, compression=compression)
            found[compression] = out.read_bytes()
        with h5py.File(folder / "nvidia", "w") as file:
            file.attrs["count"], file.attrs["shape"] = 1, (1, 3, 4, 4)
            file.create_group("_tensorfile_array_key__0").create_dataset(
                "_tensorfile_array_key_", data=np.zeros((1, 3, 4, 4), np.float32)
            )
        found["nvidia"] = (folder / "nvidia").read_bytes()
    return found


def read(data: bytes) -> list[float]:
    """Every value of every batch, once `verify` has been asked."""
    path = Path(TENSORFILE)
    path.write_bytes(data)
    int8cal.verify(path)
    with int8cal.TensorFile(path) as file:
        return [float(np.abs(file[number]).sum()) for number in range(len(file))]


def batches_of_h5py(argument: str) -> Reference:
    def differs(data: bytes, sums: list[float]) -> str | None:
        with h5py.File(TENSORFILE, "r") as file:
            values = [file[BATCH.format(number)][()].astype(np.float32) for number in range(len(sums))]
        given = [float(np.abs(batch).sum()) for batch in values]
        return None if np.array_equal(given, sums, equal_nan=True) else f"{given} instead of {sums}"

    return differs


FRAME, FILM = "a", "film.h5"
KINDS = {
    "plain": {},
    "chunks": {"chunks": (7, 11, 2)},
    "gzip": {"compression": "gzip", "maxshape": (None, None, 3)},
    "lzf": {"compression": "lzf", "shuffle": True, "fillvalue": 3},
}
STRUCTURES = re.compile(rb"TREE|SNOD|HEAP|\x89HDF")


def frames() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in KINDS.items():
            path = Path(folder, name)
            with h5py.File(path, "w") as file:
                file.create_dataset(f"rgb/{FRAME}", data=pixels(24, 32), **options)
                for number in range(20 if name == "plain" else 0):
                    file[f"rgb/{number}"] = pixels(4, 4)
            found[name] = path.read_bytes()
    return found


def near_a_structure(data: bytes, random: Random) -> bytes:
    """A number of a tree, list or header is another one, or that of another place."""
    marks = [found.start() for found in STRUCTURES.finditer(data)]
    damaged, place = bytearray(data), random.choice(marks) + 4 * random.randrange(40)
    number = random.choice((0, 1, 0xFF, 0x7FFF_FFFF, 0xFFFF_FFFF, random.choice(marks), random.randrange(len(data))))
    struct.pack_into("<I", damaged, min(place, len(data) - 4), number)
    return bytes(damaged)


def read_film(data: bytes) -> np.ndarray:
    Path(FILM).write_bytes(data)
    frame: np.ndarray = np.load(io.BytesIO(read_frame(FILM, FRAME)))
    return frame


def frame_of_h5py(argument: str) -> Reference:
    def differs(data: bytes, frame: np.ndarray) -> str | None:
        with h5py.File(FILM, "r") as file:
            return None if np.array_equal(file[f"rgb/{FRAME}"][()], frame) else "other pixels"

    return differs


DRIVERS = [
    Driver(
        "tensorfile",
        corpus,
        read,
        mutators=(near_a_structure,),
        own_damage=0.3,
        memory_mib=256,
        share=3,
        references={"h5py": batches_of_h5py},
    ),
    Driver("frames", frames, read_film, mutators=(near_a_structure,), references={"h5py": frame_of_h5py}),
]
