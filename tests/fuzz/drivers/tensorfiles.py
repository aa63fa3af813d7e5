"""Tensorfiles through the reader and `verify`: files of today, of an earlier version, and of NVIDIA's layout."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from tests.fuzz.driver import Driver
from tests.pictures import pixels
from tests.specs import CLASSIFICATION

import int8cal

OLD_FILES = Path(__file__).parents[2] / "data" / "tensorfiles_8e82fdb"


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
    path = Path("input.tensor")
    path.write_bytes(data)
    int8cal.verify(path)
    with int8cal.TensorFile(path) as file:
        return [float(np.abs(file[number]).sum()) for number in range(len(file))]


DRIVERS = [Driver("tensorfile", corpus, read, memory_mib=256, share=3)]
