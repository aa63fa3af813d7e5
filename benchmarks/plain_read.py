"""Read tensorfiles with plain h5py, as every consumer does.

python benchmarks/plain_read.py time FILE          CPU seconds to read all batches
python benchmarks/plain_read.py compare FILE FILE  number of values that differ in any bit
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import h5py
import numpy as np
import numpy.typing as npt

KEY = "_tensorfile_array_key_"


def batches(path: str) -> Iterator[npt.NDArray[np.float32]]:
    """All batches in order."""
    with h5py.File(path, "r") as file:
        for number in range(file.attrs["count"]):
            yield file[f"{KEY}_{number}"][KEY][()]


def seconds_to_read(path: str) -> float:
    """CPU seconds, imports left out."""
    started = time.process_time()
    for _ in batches(path):
        pass
    return time.process_time() - started


def differing_values(one: str, other: str) -> int:
    """Values that are not the same bits; a different number of batches is an error."""
    pairs = zip(batches(one), batches(other), strict=True)
    return sum(int(np.count_nonzero(a.view(np.uint32) != b.view(np.uint32))) for a, b in pairs)


if __name__ == "__main__":
    print(seconds_to_read(*sys.argv[2:]) if sys.argv[1] == "time" else differing_values(*sys.argv[2:]))
