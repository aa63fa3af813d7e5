"""What a user is told whose run ends early."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from int8cal.cli.streams import StdoutError
from int8cal.io.signals import Stopped

_LONG_RUN_SECONDS = 300.0


@contextmanager
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
