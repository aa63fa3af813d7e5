"""The engine of many machines: tasks on a Ray cluster, and results in order.

Ray places the tasks, repeats those of workers and nodes that died, and adds nodes where it is set up to. The window is
the one of the threads: so many tasks per processor, submitted in order and taken in order. Plain tasks, not Ray Data,
whose limits are in bytes and soft: here the number of images in flight has to be bounded, and the driver's memory flat.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from int8cal.engine.job import ChunkEngine
from int8cal.engine.ray_cluster import RayCluster, connected, last_line
from int8cal.errors import DataError, MissingDataError, UnavailableError
from int8cal.io.optional import need
from int8cal.io.paths import absolute
from int8cal.io.safe_text import printable
from int8cal.io.signals import uninterrupted
from int8cal.manifest import encoder_versions

if TYPE_CHECKING:
    from int8cal.plans import Plan

IMAGES_PER_TASK = 4
TASKS_PER_WORKER = 2
"""One under way and one waiting or finished: at most 8 images per worker are in flight, 4 of them worked on."""

_RETRIES = 3

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class RayEngine(ChunkEngine):
    """A Ray cluster.

    Args:
        address: of the cluster, ``head:6379`` or ``auto``; None: ``RAY_ADDRESS`` of the environment, or else a cluster
            of this machine alone, for the time of the run.
    """

    name = "ray"
    takes_address = True

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    def stream(
        self, plan: Plan, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int | None
    ) -> Generator[_Result]:
        """See `map_on_ray`."""
        return map_on_ray(work, items, workers, address=self._address, places=plan.places())


def map_on_ray(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int | None,
    *,
    address: str | None = None,
    places: tuple[str, ...] = (),
) -> Generator[_Result]:
    """Do ``work`` on every item on a Ray cluster and yield the results in the order of the items.

    Args:
        work: picklable by Ray. The same versions of int8cal and its packages are needed on every node.
        items: picklable; taken as they are needed.
        workers: items worked on at the same time; None: the processors of the cluster, those that it gains as well.
        address: of the cluster; None: ``RAY_ADDRESS`` of the environment, or else one on this machine's loopback
            interface that ends with the work. A connection that the process already has is used, and kept.
        places: paths that must be readable on every node.

    Raises:
        UnavailableError: Ray is not installed, no cluster answers, its nodes do not match this machine, or it died.
        UsageError: the address is none.
        DataError: a node cannot read one of ``places``; the message names both.
    """
    with connected(address, workers) as cluster:
        job = _Job(work, places, absolute("."))
        cluster.ask(_check_nodes, cluster, job)
        yield from _map_in_order(cluster, job, items, workers)


def _map_in_order(cluster: RayCluster, job: _Job, items: Iterable[Any], workers: int | None) -> Generator[Any]:
    tasks = cluster.ask(_Tasks, cluster, job)
    waiting = iter(items)
    groups = iter(lambda: tuple(islice(waiting, IMAGES_PER_TASK)), ())
    try:
        while True:
            for group in islice(groups, cluster.ask(tasks.room, workers)):
                cluster.ask(tasks.submit, group)
            if tasks.empty:
                return
            yield from cluster.ask(tasks.take)
    finally:
        with uninterrupted():
            cluster.stop_waiting()
            cluster.ask(tasks.cancel)


class _Tasks:
    """Tasks of one job, in the order in which they were submitted. For the thread of the cluster alone.

    Args:
        cluster: does the work.
        job: what is done.
    """

    def __init__(self, cluster: RayCluster, job: _Job) -> None:
        self._cluster = cluster
        self._task = cluster.ray.remote(_do).options(num_cpus=1, max_retries=_RETRIES)
        self._shared = [cluster.ray.put(job)]  # in a list, so that a worker fetches it once and not for every task
        self._window: deque[Any] = deque()
        self._unfinished: set[Any] = set()

    @property
    def empty(self) -> bool:
        """Whether the results of all tasks were taken."""
        return not self._window

    def room(self, workers: int | None) -> int:
        """How many tasks may be submitted now.

        Args:
            workers: how many may be under way; None: as many as the cluster has processors for.
        """
        processors = self._cluster.processors()
        room = TASKS_PER_WORKER * (workers or processors) - len(self._window)
        self._unfinished.difference_update(self._cluster.finished(list(self._unfinished)))
        if workers is not None and workers < processors:  # else the cluster itself has no room for more
            room = min(room, workers - len(self._unfinished))
        return max(0, room)

    def submit(self, group: tuple[Any, ...]) -> None:
        """Have the items of a group worked on."""
        reference = self._task.remote(self._shared, group)
        self._window.append(reference)
        self._unfinished.add(reference)

    def take(self) -> list[Any]:
        """The results of the oldest task, as soon as they are there; none when another task is finished before."""
        if self._window[0] in self._unfinished:
            self._unfinished.difference_update(self._cluster.wait_for_one(list(self._unfinished)))
        if self._window[0] in self._unfinished:
            return []
        results: list[Any] = self._cluster.result(self._window.popleft())
        return results

    def cancel(self) -> None:
        """End what was not taken."""
        for reference in self._window:
            self._cluster.ray.cancel(reference, force=True)


# --- on the nodes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What a worker process needs, once.

    Attributes:
        work: the function.
        places: paths that must be readable.
        folder: where relative paths start from.
        versions: of the driver; see `encoder_versions`.
    """

    work: Callable[[Any], Any]
    places: tuple[str, ...]
    folder: str
    versions: dict[str, str] = field(default_factory=encoder_versions)

    def prepare(self, node: str) -> None:
        """Make a worker process ready, or say why its node is not fit.

        Raises:
            UnavailableError: versions or processor differ from the driver's.
            DataError: one of the places cannot be read.
        """
        require_same_versions(node, encoder_versions(), self.versions)
        if not all(map(os.path.isabs, self.places)):
            require_readable(node, (self.folder,))
            os.chdir(self.folder)
        require_readable(node, self.places)


def require_same_versions(node: str, found: dict[str, str], wanted: dict[str, str]) -> None:
    """Refuse a node that would make other bytes; `UnavailableError` names it and the difference."""
    for name, value in wanted.items():
        if found[name] != value:
            raise UnavailableError(
                f"node {node} has {name} {found[name]}, this machine {value}: the bytes would not be the same",
                hint="Use nodes of one processor architecture, with the packages that are installed here.",
            )


def require_readable(node: str, places: Iterable[str]) -> None:
    """Refuse a node that does not see the data; `DataError` names it and the path."""
    for place in places:
        mode = os.R_OK | os.X_OK if os.path.isdir(place) else os.R_OK
        if os.access(place, mode):
            continue
        there = os.path.exists(place)
        raise (DataError if there else MissingDataError)(
            f"{'cannot be read' if there else 'is not there'} on node {node}",
            where=printable(place),
            hint="Mount the data under the same path on every node of the cluster.",
        )


_prepared: dict[str, _Job] = {}
"""The job of this worker process, by its reference."""


def _do(shared: list[Any], group: tuple[Any, ...]) -> list[Any]:
    """One task. Every process looks at its node before its first one: nodes may join late."""
    job = _prepared.get(shared[0].hex())
    if job is None:
        job = _prepared[shared[0].hex()] = _look(shared)
    return [job.work(item) for item in group]


def _look(shared: list[Any]) -> _Job:
    ray = need("ray", "ray")
    job: _Job = ray.get(shared[0])
    job.prepare(f"{socket.gethostname()} ({ray.get_runtime_context().get_node_id()[:12]})")
    return job


def _look_at_node(shared: list[Any]) -> None:
    _look(shared)


# --- on the driver ---------------------------------------------------------------------------------------------------


def _check_nodes(cluster: RayCluster, job: _Job) -> None:
    """Look at every node that has processors, all at the same time, before any work."""
    ray = cluster.ray
    affinity = need("ray.util.scheduling_strategies", "ray").NodeAffinitySchedulingStrategy
    look = ray.remote(_look_at_node)
    shared = [ray.put(job)]
    looks = [
        (
            node["NodeManagerHostname"],
            look.options(num_cpus=0, scheduling_strategy=affinity(node["NodeID"], soft=False)).remote(shared),
        )
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    for name, reference in looks:
        try:
            cluster.result(reference)
        except ray.exceptions.RayTaskError as error:
            raise UnavailableError(
                f"node {name} cannot run int8cal: {last_line(error)}",
                hint="Install the same int8cal[ray] on every node of the cluster.",
            ) from error
