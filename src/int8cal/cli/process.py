"""The process, which is ours when the command line runs (and never touched from the Python API).

Its standard streams never surprise: missing ones are /dev/null, and what cannot be written is an error of ours. Its
memory and its collection of garbage are set for what it does. Whose run ends early is told what is there.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from int8cal.errors import OutputError
from int8cal.io.signals import Stopped

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_KEPT_BYTES = 512 << 20
_LEAST_KEPT_BYTES = 32 << 20  # the most that older releases of glibc take as a threshold of M_MMAP_THRESHOLD
_LARGE_BYTES = 16 << 20
_STANDARD = (0, 1, 2)
_LONG_RUN_SECONDS = 300.0


class StdoutError(OutputError):
    """Standard output takes no more.

    Args:
        error: what the system said.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"cannot be written: {error.strerror}",
            where="standard output",
            hint="Send the output elsewhere, or free some space.",
        )


class _Stdout(io.FileIO):
    """Drops what the reader of a pipe does not wait for: the command goes on, and its exit code is its own."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            return memoryview(content).nbytes
        except OSError as error:
            raise StdoutError(error) from error


class _Stderr(io.FileIO):
    """Drops what cannot be written: there is no place to say so."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def prepare_streams() -> None:
    """Make standard streams out of whatever the process was started with. For the entry point alone."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that is opened would become this stream
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _text_stream(_Stdout(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text_stream(_Stderr(2, "w", closefd=False), sys.stderr)


def give_up_stdout() -> None:
    """Send what is left for standard output to nowhere, so that it fails no second time when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _text_stream(file: io.FileIO, like: object) -> io.TextIOWrapper:
    """A text stream on ``file``; names that its encoding lacks are escaped."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def keep_blas_to_one_thread() -> None:
    """Have NumPy start no threads of its own; to be called before it is imported.

    No product of matrices here is worth them, and OpenBLAS's threads spin for work as soon as they exist: 0.1 s of CPU
    time on two processors. Whoever sets the variable is obeyed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_garbage_rarely() -> None:
    """Look for cycles of dead objects after 100,000 new ones, not after 700: imports alone leave 45,000 that live."""
    gc.set_threshold(100_000)


def keep_freed_memory() -> None:
    """Have malloc use freed image buffers again instead of returning them to the kernel each time.

    Images of some megabytes are mapped and unmapped for every sample otherwise, and the kernel zeroes each page anew:
    10 to 20 % of a run's CPU time. The peak stays what the window of the engine needs. Other C libraries than glibc
    have no such setting and are left alone.
    """
    thresholds = (_LEAST_KEPT_BYTES, _KEPT_BYTES)  # where the second is refused, the first stays
    _mallopt(*((_M_MMAP_THRESHOLD, size) for size in thresholds), (_M_TRIM_THRESHOLD, _KEPT_BYTES))


def share_freed_memory() -> None:
    """Have malloc use freed activations again, in one heap for all threads, and give back what is larger or unused.

    Running networks that stay open side by side frees and takes blocks of many sizes. In heaps of several threads they
    leave gaps that nothing fits into, and the peak grows with the number of images. Mapping each block by itself keeps
    it flat, but zeroing its pages anew takes an eighth to a third of the CPU time. In one heap gaps close: 12 to 30 %
    less CPU time than with blocks of 4 MiB and more mapped, for a peak 6 % lower to 16 % higher (five networks, 32 and
    192 images).
    """
    _mallopt((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGE_BYTES), (_M_TRIM_THRESHOLD, _LEAST_KEPT_BYTES))


def _mallopt(*settings: tuple[int, int]) -> None:
    import ctypes  # most commands do without

    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in settings:
            library.mallopt(name, value)


@contextlib.contextmanager
def told_truly(out: str, *, resume: bool) -> Iterator[None]:
    """Tell a user whose run ends early what is there now, and how a long run need not begin from nothing."""
    before = _identity(out)
    started = time.monotonic()
    try:
        yield
    except StdoutError as error:
        error.hint = f"The work is done: {out} is complete."
        raise
    except Stopped as stopped:
        now = _identity(out)
        if now is None:
            stopped.advice += ("nothing was left under the final name",)
        elif now == before:
            stopped.advice += (f"{out} is what it was before",)
        else:
            stopped.advice += (f"{out} is complete",)
            raise
        if resume:
            stopped.advice += ("what is finished is kept: the same command goes on from there",)
        elif time.monotonic() - started > _LONG_RUN_SECONDS:
            stopped.advice += ("with --resume, such a run keeps what is finished, and can go on later",)
        raise


def _identity(path: str) -> tuple[int, ...] | None:
    """What tells one file of this name from another; None when there is none."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
