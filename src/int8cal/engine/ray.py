"""The engine of many machines: tasks on a Ray cluster, and results in order.

Ray places the tasks, repeats those of workers and nodes that died, and adds nodes where it is set up to. The window is
the one of the threads: so many tasks per processor, submitted in order and taken in order. Plain tasks, not Ray Data,
whose limits are in bytes and soft: here the number of images in flight has to be bounded, and the driver's memory flat.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from int8cal.engine.cores import usable_cores
from int8cal.engine.versions import encoder_versions
from int8cal.errors import DataError, Int8calError, MissingDataError, UnavailableError, UsageError
from int8cal.extras import need
from int8cal.text_safety import printable

IMAGES_PER_TASK = 4
TASKS_PER_WORKER = 2
"""One under way and one waiting or finished: at most 8 images per worker are in flight, 4 of them worked on."""

_RETRIES = 3
_SECONDS_TO_ANSWER = 10.0
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's own name for "this machine alone, on 127.0.0.1"
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


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
        UnavailableError: Ray is not installed, no cluster answers, its nodes are no match for this machine, or it died.
        UsageError: the address is none.
        DataError: a node cannot read one of ``places``; the message names both.
    """
    with _connected(address, workers) as ray:
        job = _Job(work, places, os.getcwd())
        _check_nodes(ray, job)
        yield from _map_in_order(ray, job, items, workers)


def _map_in_order(ray: Any, job: _Job, items: Iterable[Any], workers: int | None) -> Generator[Any]:
    task = ray.remote(_do).options(num_cpus=1, max_retries=_RETRIES)
    shared = [ray.put(job)]  # in a list, so that a worker fetches it once and not for every task
    waiting = iter(items)
    groups = iter(lambda: tuple(islice(waiting, IMAGES_PER_TASK)), ())
    window: deque[Any] = deque()
    try:
        while True:
            room = TASKS_PER_WORKER * (workers or _processors(ray)) - len(window)
            window.extend(task.remote(shared, group) for group in islice(groups, max(0, room)))
            if not window:
                return
            with _our_errors(ray):
                results = ray.get(window.popleft())
            yield from results
    finally:
        for reference in window:
            ray.cancel(reference, force=True)


def _processors(ray: Any) -> int:
    """Processors that the cluster has now."""
    return max(1, int(ray.cluster_resources().get("CPU", 0)))


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


def _check_nodes(ray: Any, job: _Job) -> None:
    """Look at every node that has processors, all at the same time, before any work."""
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
            with _our_errors(ray):
                ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise UnavailableError(
                f"node {name} cannot run int8cal: {_last_line(error)}",
                hint="Install the same int8cal[ray] on every node of the cluster.",
            ) from error


@contextmanager
def _our_errors(ray: Any) -> Iterator[None]:
    """Errors of ours come back as ours; a cluster that fails is an `UnavailableError`; a bug stays what it is."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Int8calError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise UnavailableError(
            f"the Ray cluster could not do the work: {_last_line(error)}",
            hint="See the logs of the cluster. With --resume of int8cal NETWORK, a run goes on from what is finished.",
        ) from error


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """The ``ray`` package, connected to a cluster."""
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    with _environment(**_QUIET, **(_LOOPBACK if address == "local" else {})):
        ray = need("ray", "ray")
        if ray.is_initialized():
            yield ray
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"num_cpus": workers or usable_cores(), "include_dashboard": False}
        else:
            _require_answer(address)
        try:
            with _signal_handlers_kept():
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            raise UnavailableError(
                f"no Ray cluster could be used at {address}: {_last_line(error)}",
                hint="Check the address, and that the cluster runs this version of Ray and Python.",
            ) from error
        try:
            yield ray
        finally:
            with _signal_handlers_kept():
                ray.shutdown()


def _require_answer(address: str) -> None:
    """Find out quickly whether anything listens: Ray itself tries for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise UsageError(
            f"{address} is no address of a Ray cluster",
            hint="Give HOST:PORT (the port is 6379 as a rule) or auto, and run this on a machine of the cluster.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UnavailableError(
            f"no Ray cluster answers at {address}: {error}",
            hint="Check RAY_ADDRESS, or --ray_address of int8cal NETWORK.",
        ) from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray puts handlers of its own in place of the program's, which end it without cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment variables for the time of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
