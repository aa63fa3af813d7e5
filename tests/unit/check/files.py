"""Tensorfiles for tests, as NVIDIA's tools write them and as ours does."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from tests.tensorfiles import edit

GROUP, DATASET = "_tensorfile_array_key__", "_tensorfile_array_key_"


def write_like_tao(path: Path, batches: npt.NDArray[np.floating]) -> Path:
    """A file without manifest: chunks guessed by h5py, deflate level 4, no shuffle.

    Args:
        path: the file; an existing one is replaced.
        batches: number of batches × images × channels × height × width.
    """
    with h5py.File(path, "w") as file:
        file.attrs["count"] = np.int64(len(batches))
        file.attrs["shape"] = np.array(batches.shape[1:], np.int64)
        for number, batch in enumerate(batches):
            group = file.create_group(f"{GROUP}{number}")
            group.create_dataset(DATASET, data=batch, compression="gzip", compression_opts=4)
    return path


def replace_batches(path: Path, change) -> Path:
    """Put ``change(batch)`` in the place of every batch; all else stays, but for the checksums, which fit."""

    def replace(file: h5py.File) -> None:
        for number in range(int(file.attrs["count"])):
            group = file[f"{GROUP}{number}"]
            group[DATASET][...] = np.ascontiguousarray(change(group[DATASET][()]), np.float32)

    edit(path, values=replace)
    return path
