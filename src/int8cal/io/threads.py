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
from contextlib import suppress
from functools import partial
from itertools import islice
from operator import call
from queue import Empty, SimpleQueue
from sys import is_finalizing
from threading import Lock, Thread
from typing import Any, Generic, TypeAlias, TypeVar

from int8cal.errors import UsageError
from int8cal.io.signals import uninterrupted

_WINDOW_PER_WORKER = 2
_MOST_WORKERS = 1 << 20
"""No system has so many threads; more than are of use are never started."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Task(Generic[_Item, _Result]):
    """An item, and what comes of it.

    Made of a plain lock, which is taken or not: a signal that is heard inside of a condition or a future leaves the
    lock of that taken for good, and other threads wait for ever.
    """

    def __init__(self, item: _Item) -> None:
        self._items, self._results = [item], list[_Result]()
        self._error: BaseException | None = None
        self._undone = Lock()
        self._undone.acquire()

    def do(self, work: Callable[[_Item], _Result], caught: type[BaseException]) -> None:
        """Work on the item, which is forgotten then; errors of a kind wait until the result is asked for."""
        try:
            self._results.append(work(self._items.pop()))
        except caught as error:
            self._error = error
        self._undone.release()

    @property
    def is_done(self) -> bool:
        return not self._undone.locked()

    def is_done_within(self, seconds: float) -> bool:
        """Wait so long at most; no signal is heard meanwhile."""
        with uninterrupted():
            if self._undone.acquire(timeout=seconds):
                self._undone.release()
                return True
        return False

    def result(self) -> _Result:
        """What the work gave, or its error; once."""
        self._undone.acquire()
        error, self._error = self._error, None
        if error is None:
            return self._results.pop()
        try:
            raise error
        finally:
            del error  # whose traceback holds this frame


_Tasks: TypeAlias = "SimpleQueue[_Task[_Item, _Result] | None]"
"""What no thread has begun; None stays, and ends each thread that finds it."""


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
        caller_works: one of the threads is the caller's: while it would wait for a result, it works on what no other
            has begun. For a caller that has little else to do: threads beyond the processors slow all of them down.

    Raises:
        UsageError: the system does not give this process so many threads.
    """
    workers = min(workers or usable_cores(), _MOST_WORKERS)
    waiting = iter(items)
    under_way: deque[_Task[_Item, _Result]] = deque(map(_Task, islice(waiting, window or _WINDOW_PER_WORKER * workers)))
    if not under_way:
        return
    tasks: _Tasks[_Item, _Result] = SimpleQueue()
    threads: list[Thread] = []
    try:
        _start(threads, min(workers, len(under_way)) - bool(caller_works), tasks, work)
        deque(map(tasks.put, under_way), maxlen=0)
        while under_way:
            if caller_works:
                _work_meanwhile(under_way[0], tasks, work)
            result = under_way.popleft().result()
            for item in islice(waiting, 1):
                under_way.append(_Task(item))
                tasks.put(under_way[-1])
                del item
            yield result
    finally:
        with uninterrupted():
            _drop(tasks)
        for thread in threads:
            if not is_finalizing():  # the interpreter ends, and so do they
                thread.join()


class SideThread:
    """A thread for what must not run in the caller's; it does one thing after another, and ends with the block."""

    def __init__(self, name: str) -> None:
        self._tasks: _Tasks[Callable[[], Any], Any] = SimpleQueue()
        self._thread = Thread(target=_serve, args=(self._tasks, call), name=name, daemon=True)

    def __enter__(self) -> SideThread:
        with uninterrupted():
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._tasks.put(None)
        self._thread.join()

    def begin(self, function: Callable[..., _Result], *arguments: Any) -> _Task[Any, _Result]:
        """Have a function called; what is given back has its result."""
        task: _Task[Any, _Result] = _Task(partial(function, *arguments))
        self._tasks.put(task)
        return task


def _start(threads: list[Thread], count: int, tasks: _Tasks[_Item, _Result], work: Callable[[_Item], _Result]) -> None:
    """Start so many threads, which are added to ``threads``.

    Raises:
        UsageError: the system does not give this process so many.
    """
    for _ in range(count):
        thread = Thread(target=_serve, args=(tasks, work), name="int8cal", daemon=True)
        try:
            with uninterrupted():
                thread.start()
                threads.append(thread)
        except RuntimeError as error:
            raise UsageError(
                f"the system gave this process {len(threads)} of the {count} threads that were to work ({error})",
                hint="Raise the limit on threads or memory (ulimit -u, ulimit -v, pids of a container), "
                "or give calibration_tensorfile a smaller --workers.",
            ) from error


def _serve(tasks: _Tasks[_Item, _Result], work: Callable[[_Item], _Result]) -> None:
    """A thread: do what is to be done until there is no more."""
    while (task := tasks.get()) is not None:
        task.do(work, BaseException)
        del task  # and its result, while the next one is waited for
    tasks.put(None)


def _drop(tasks: _Tasks[_Item, _Result]) -> None:
    """Drop what has not begun, and end the threads."""
    with suppress(Empty):
        while True:
            tasks.get_nowait()
    tasks.put(None)


def _work_meanwhile(
    awaited: _Task[_Item, _Result], tasks: _Tasks[_Item, _Result], work: Callable[[_Item], _Result]
) -> None:
    """Until a task is done, do what no thread has begun."""
    with suppress(Empty):
        while not awaited.is_done and (task := tasks.get_nowait()) is not None:
            task.do(work, Exception)
            del task


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
