"""NumPy's files of arrays (``.npy``, ``.npz``) → images one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from int8cal.errors import UseError
from int8cal.guard.libraries import library_errors
from int8cal.io.safe_text import printable
from int8cal.types import BatchNCHW_f32

SUFFIXES = (".npy", ".npz")

_BEGINNINGS = (b"\x93NUMPY", b"PK")
"""Of files of NumPy; it takes all others for pickles, and advises to trust them."""
_MOST_INFLATED, _FREE_BYTES = 200, 64 << 20
"""How many times its compressed size an array may have; below so many bytes, any."""
_SAVE = "Save one array of float32, images x channels x height x width: numpy.save(FILE, array)."
_UNREADABLE = "the arrays cannot be read"


def is_of_arrays(path: str) -> bool:
    """Whether a file is one of NumPy's, by its name."""
    return path.lower().endswith(SUFFIXES)


def array_batches(path: str, name_of_input: Callable[[], str] | None = None) -> list[BatchNCHW_f32]:
    """The images of a file as batches of one: float32, 1 x C x H x W. Those of ``.npy`` are read when they are used.

    Args:
        path: the file: images x channels x height x width, float32.
        name_of_input: gives the name of the model's input, which tells one of several arrays.

    Raises:
        UseError: it cannot be read, or holds something else.
        MemoryError: there is too little memory for an array of an archive.
    """
    where, is_archive = printable(path), path.lower().endswith(".npz")
    try:
        with library_errors(UseError, _UNREADABLE, where=where, hint=_SAVE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that overflow: an error follows
            with open(path, "rb") as file:
                is_numpys = file.read(6).startswith(_BEGINNINGS)
            if not is_numpys:
                loaded = None
            elif is_archive:
                loaded = _member(path, name_of_input, where)
            else:
                loaded = np.load(path, "r", allow_pickle=False)
    except MemoryError as error:
        if is_archive:
            raise
        raise UseError(f"{_UNREADABLE}: it states more values than it holds", where=where, hint=_SAVE) from error
    if loaded is None:
        raise UseError(f"this is no {'.npz' if is_archive else '.npy'} file", where=where, hint=_SAVE)
    if not isinstance(loaded, np.ndarray):
        raise UseError("this holds something else than arrays", where=where, hint=_SAVE)
    if loaded.ndim != 4 or loaded.dtype != np.float32 or not loaded.size:
        shape = "x".join(map(str, loaded.shape))
        raise UseError(f"this is an array of {loaded.dtype} with the shape {shape}", where=where, hint=_SAVE)
    return [loaded[number : number + 1] for number in range(len(loaded))]


def _member(path: str, name_of_input: Callable[[], str] | None, where: str) -> Any:
    """The only array of an archive, or the one that is named like the model's input."""
    with open(path, "rb") as file:
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return loaded
        names = loaded.files
        if len(names) != 1 and name_of_input is None:
            raise UseError(
                f"there are {len(names)} arrays ({_listed(names)})", where=where, hint=f"Give a file with one. {_SAVE}"
            )
        chosen = names[0] if len(names) == 1 or name_of_input is None else name_of_input()
        if chosen not in names:
            raise UseError(
                f"there are {len(names)} arrays ({_listed(names)}), and none is named like the model's input",
                where=where,
                hint=f"Give a file with one array, or with one that is named {printable(chosen)}.",
            )
        for member in loaded.zip.infolist() if loaded.zip else ():
            if member.file_size > max(_MOST_INFLATED * member.compress_size, _FREE_BYTES):
                raise ValueError(f"{printable(member.filename)} inflates to {member.file_size:,} bytes")
        return loaded[chosen]


def _listed(names: list[str]) -> str:
    return ", ".join(map(printable, names[:8]))
