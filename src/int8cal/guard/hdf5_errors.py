"""Errors of HDF5 files: what HDF5 raises, what the walk refuses, and files that are of another kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from int8cal.errors import TensorFileError
from int8cal.guard.hdf5_walk import RefusedError, UnsoundError
from int8cal.guard.libraries import library_errors
from int8cal.io.file_kinds import HDF5_SIGNATURE, ONNX_MODEL

_ANOTHER_KIND = "Give a tensorfile; of a spec, one is made by: int8cal calibration_tensorfile -e SPEC -o FILE"
_SWAPPED = "Name the tensorfile here; a command that takes both takes the model first: MODEL.onnx FILE."


def damaged(path: str, message: str, *, hint: str | None = "The file is damaged; make it again.") -> TensorFileError:
    """The error for something in a tensorfile that cannot be."""
    return TensorFileError(message, where=path, hint=hint)


@contextmanager
def hdf5_errors(path: str, what: str) -> Iterator[None]:
    """Turn whatever HDF5 raises over a damaged file into an error that names the file and the part of it.

    Raises:
        TensorFileError: instead of every exception but `MemoryError`.
    """
    with library_errors(
        TensorFileError, f"{what} cannot be read", where=path, hint="The file is damaged; make it again."
    ):
        try:
            yield
        except UnsoundError as reason:
            raise damaged(path, f"{what} cannot be read: {reason}") from reason
        except RefusedError as reason:
            raise damaged(path, f"{what} cannot be read: {reason}", hint=reason.hint) from reason


def no_hdf5(path: str) -> TensorFileError:
    """The error for a file that HDF5 cannot open."""
    with suppress(OSError):
        if ONNX_MODEL.recognises(path):
            return damaged(path, "is an ONNX model, and not a tensorfile", hint=_SWAPPED)
        with open(path, "rb") as file:
            beginning = file.read(512)
        if beginning and not beginning.startswith(HDF5_SIGNATURE) and beginning.strip(b"\0"):
            is_text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in beginning)
            kind = "a text file" if is_text else "a file of another kind"
            return damaged(path, f"is {kind}, and not a tensorfile", hint=_ANOTHER_KIND)
    return damaged(
        path,
        "cannot be opened as HDF5: it is of another kind, was cut off, or was never closed by what wrote it",
        hint="Make it again.",
    )


def open_already(path: str) -> TensorFileError:
    """The error for a file that HDF5 does not open twice in a process with flags that do not match."""
    return damaged(
        path, "is open in this process already, by another library with other flags", hint="Close it there first."
    )
