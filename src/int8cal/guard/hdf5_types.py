"""Types of values in HDF5 files: HDF5 knows more of them than NumPy has dtypes."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np


def is_plain(described: Any) -> bool:
    """Whether the HDF5 type of a dataset or attribute is the one that h5py makes for its dtype.

    The dtype that h5py gives says more than NumPy's, such as that a text is UTF-8; what is made here has none of that.
    """
    dtype = described.dtype
    if dtype.hasobject:
        return False
    return bool(described.get_type() == h5py.h5t.py_create(_bare(dtype), logical=True))


def _bare(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A dtype without h5py's metadata, which NumPy does not compare."""
    if dtype.fields is None:
        return np.dtype(dtype.str) if dtype.subdtype is None else dtype
    names = dtype.names or ()
    fields = [dtype.fields[name] for name in names]
    formats, offsets = [_bare(field[0]) for field in fields], [field[1] for field in fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize})
