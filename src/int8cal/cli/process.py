"""Settings of the process, which is ours when the command line runs (and never touched from the Python API)."""

from __future__ import annotations

import contextlib
import gc
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT_BYTES = 512 << 20
_LARGE_BYTES = 256 << 10


def keep_blas_to_one_thread() -> None:
    """Have NumPy start no threads of its own; to be called before it is imported.

    No product of matrices here is worth them, and OpenBLAS's threads spin for work as soon as they exist: 0.1 s of CPU
    time on two processors. Whoever sets the variable is obeyed.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def collect_garbage_rarely() -> None:
    """Look for cycles of dead objects after 10,000 new ones, not after 700: imports alone leave 35,000 that live."""
    gc.set_threshold(10_000)


def keep_freed_memory() -> None:
    """Have malloc use freed image buffers again instead of returning them to the kernel each time.

    Images of some megabytes are mapped and unmapped for every sample otherwise, and the kernel zeroes each page anew:
    10 to 20 % of a run's CPU time. The peak stays what the window of the engine needs. Other C libraries than glibc
    have no such setting and are left alone.
    """
    _mallopt({_M_MMAP_THRESHOLD: _KEPT_BYTES, _M_TRIM_THRESHOLD: _KEPT_BYTES})


def return_freed_memory() -> None:
    """Have malloc map every large block by itself, and give it back to the kernel when it is freed.

    Running a network frees and takes blocks of many sizes. In heaps of several threads they leave gaps that nothing
    fits into, and the peak grows with the number of images: by a third from 16 to 64 without this, by 11 % from 32 to
    512 when only blocks of 1 MiB are large, by 2 % like this. Smaller ones still cost twice the system's time.
    """
    _mallopt({_M_MMAP_THRESHOLD: _LARGE_BYTES})


def _mallopt(settings: dict[int, int]) -> None:
    import ctypes  # most commands do without

    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in settings.items():
            library.mallopt(name, value)
