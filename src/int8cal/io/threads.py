"""Work on threads, with results in order, and how many threads are worth having.

What is heavy here releases the GIL, so threads are enough. A bounded window keeps memory flat however many items there
are. Every thread is there before the first result, or the work does not begin: a pool grows when it likes, and a thread
that cannot be had would end a long run in its middle. To make do with fewer would be worse: what refuses a thread is a
limit, and a run that has used it up fails at the next thing that it needs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Event
from typing import Generic, TypeVar

from int8cal.errors import UsageError

_WINDOW_PER_WORKER = 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Task(Generic[_Item, _Result]):
    """An item, and what comes of it."""

    def __init__(self, item: _Item, future: Future[_Result]) -> None:
        self.item, self.future = item, future


def map_on_threads(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int | None,
    *,
    window: int | None = None,
    caller_works: bool = False,
) -> Generator[_Result]:
    """Do ``work`` on every item and yield the results in the order of the items.

    At most ``window`` items are under way or waiting to be taken. Closing the iterator early (an error, an
    interrupt) drops what has not begun and waits for the images in hand.

    Args:
        work: releases the GIL where it costs.
        items: taken as they are needed.
        workers: threads; None: the processors that this process may use.
        window: None: twice as many as there are workers.
        caller_works: the caller's thread is one of the workers: while it would wait for a result, it works on what no
            other has begun. For a caller that has little else to do; one thread more than processors costs it and the
            others their caches.

    Raises:
        UsageError: the system does not give this process so many threads.
    """
    workers = workers or usable_cores()
    waiting = iter(items)
    first = list(islice(waiting, window or _WINDOW_PER_WORKER * workers))
    if not first:
        return
    threads = min(workers - caller_works, len(first))
    if not threads:
        yield from map(work, chain(first, waiting))
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="int8cal") as pool:
        _start_all(pool, threads)
        under_way = deque(_Task(item, pool.submit(work, item)) for item in first)
        del first
        try:
            while under_way:
                if caller_works:
                    _work_meanwhile(work, under_way)
                result = under_way.popleft().future.result()
                under_way.extend(_Task(item, pool.submit(work, item)) for item in islice(waiting, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _work_meanwhile(work: Callable[[_Item], _Result], under_way: Iterable[_Task[_Item, _Result]]) -> None:
    """Until the next result is there, do what no thread has begun; its result, or error, waits for its turn."""
    awaited = next(iter(under_way))
    while not awaited.future.done():
        task = next((task for task in under_way if task.future.cancel()), None)
        if task is None:
            return
        task.future = Future()
        try:
            task.future.set_result(work(task.item))
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            task.future.set_exception(error)


def _start_all(pool: ThreadPoolExecutor, threads: int) -> None:
    """Have the pool start every thread that it may have."""
    release = Event()
    try:
        for started in range(threads):
            try:
                pool.submit(release.wait)  # one that waits is not idle: the next one needs another thread
            except RuntimeError as error:
                raise UsageError(
                    f"the system gave this process {started} of the {threads} threads that were to work ({error})",
                    hint="Raise the limit on threads or memory (ulimit -u, ulimit -v, pids of a container), "
                    "or give calibration_tensorfile a smaller --workers.",
                ) from error
    finally:
        release.set()


def usable_cores(cgroup_root: str = "/sys/fs/cgroup", own_cgroups: str = "/proc/self/cgroup") -> int:
    """Processors by affinity, bounded by the cgroup's CPU quota (versions 1 and 2), at least 1.

    A container with ``--cpus 2`` on a large host sees all of the host's processors; only the quota tells.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroup_folders(cgroup_root, own_cgroups) for quota in _quotas(folder)]
    return max(1, min([cores, *(int(-(-quota // 1)) for quota in quotas)]))


def _cgroup_folders(root: str, own: str) -> list[str]:
    """The process's cgroup and its parents, as seen from inside or outside a container."""
    folders = {root, os.path.join(root, "cpu")}
    try:
        lines = _text_of(own).splitlines()
    except OSError:
        return sorted(folders)
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = os.path.join(root, "cpu") if controllers else root
        if controllers and "cpu" not in controllers.split(","):
            continue
        for name in path.strip("/").split("/"):
            base = os.path.join(base, name)
            folders.add(base)
    return sorted(folders)


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _quotas(folder: str) -> list[float]:
    """CPU quotas, in processors, that the files of one cgroup folder state."""
    try:
        quota, period = _text_of(os.path.join(folder, "cpu.max")).split()
    except (OSError, ValueError):
        try:
            quota = _text_of(os.path.join(folder, "cpu.cfs_quota_us")).strip()
            period = _text_of(os.path.join(folder, "cpu.cfs_period_us")).strip()
        except OSError:
            return []
    return [int(quota) / int(period)] if quota.isdigit() and int(period) > 0 else []
