"""Telling a `Progress` about work that may fail half way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from int8cal.types import PhasedProgress, Progress


@contextmanager
def watched(progress: Progress | None, total_images: int, phase: str = "") -> Iterator[Callable[[int], None]]:
    """Start and, whatever happens, finish ``progress``; gives the function to call with each number of images done.

    Args:
        progress: who is told.
        total_images: how much there is to do.
        phase: what is done, for those who show it.
    """
    if progress is None:
        yield lambda images: None
        return
    if phase and isinstance(progress, PhasedProgress):
        progress.phase(phase)
    progress.start(total_images)
    try:
        yield progress.advance
    finally:
        progress.finish()
