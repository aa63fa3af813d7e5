"""Telling a `Progress` about work that may fail half way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from int8cal.types import Progress


@contextmanager
def watched(progress: Progress | None, total_images: int) -> Iterator[Callable[[int], None]]:
    """Start and, whatever happens, finish ``progress``; gives the function to call with each number of images done."""
    if progress is None:
        yield lambda images: None
        return
    progress.start(total_images)
    try:
        yield progress.advance
    finally:
        progress.finish()
