"""The engine of one machine: a pool of threads, and results in order.

Decoding, arithmetic and compression release the GIL, so threads are enough. A bounded window keeps memory flat however
many samples are asked for.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from int8cal.dataset.samples import Sample
    from int8cal.engine.work import EncodedSample, FailedSample, Work

_WINDOW_PER_WORKER = 2


def encoded_in_order(work: Work, samples: Iterable[Sample], workers: int) -> Generator[EncodedSample | FailedSample]:
    """Run ``work`` on every sample and yield the results in the order of the samples.

    At most ``2 * workers`` samples are under way or waiting to be taken. Closing the iterator early (an error, an
    interrupt) drops what has not begun and waits for the images in hand.
    """
    waiting = iter(samples)
    with ThreadPoolExecutor(workers, thread_name_prefix="int8cal") as pool:
        window: deque[Future[EncodedSample | FailedSample]] = deque(
            pool.submit(work, sample) for sample in islice(waiting, _WINDOW_PER_WORKER * workers)
        )
        try:
            while window:
                result = window.popleft().result()
                window.extend(pool.submit(work, sample) for sample in islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
