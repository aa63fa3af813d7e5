"""The engine of one machine: a pool of threads, and results in order.

Decoding, arithmetic and compression release the GIL, so threads are enough. A bounded window keeps memory flat however
many samples are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from int8cal.engine.cores import usable_cores

_WINDOW_PER_WORKER = 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_on_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None) -> Generator[_Result]:
    """Do ``work`` on every item and yield the results in the order of the items.

    At most ``2 * workers`` items are under way or waiting to be taken. Closing the iterator early (an error, an
    interrupt) drops what has not begun and waits for the images in hand.

    Args:
        work: releases the GIL where it costs.
        items: taken as they are needed.
        workers: threads; None: the processors that this process may use.
    """
    workers = workers or usable_cores()
    waiting = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="int8cal") as pool:
        window: deque[Future[_Result]] = deque(
            pool.submit(work, item) for item in islice(waiting, _WINDOW_PER_WORKER * workers)
        )
        try:
            while window:
                result = window.popleft().result()
                window.extend(pool.submit(work, item) for item in islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
