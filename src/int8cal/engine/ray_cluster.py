"""A connection to a Ray cluster, and the one thread that uses it.

Signals come to the main thread, and Ray does not get on with that: it puts handlers of its own in place of the
program's, which end it without cleaning up, and what a handler raises inside Ray's compiled code ends the process or is
lost. So the main thread never runs code of Ray's. It waits for the thread that does, and a signal ends that waiting.

It is the same thread from the beginning to the end, because the kernel ends the processes of a cluster that Ray started
together with the thread that started them.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from int8cal.engine.cores import usable_cores
from int8cal.errors import Int8calError, UnavailableError, UsageError
from int8cal.extras import need
from int8cal.stopping import STOPPING, uninterrupted

_SECONDS_TO_ANSWER = 10.0
_SECONDS_PER_LOOK = 0.2
"""How soon waiting for a result ends when nobody wants it any more."""
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's own name for "this machine alone, on 127.0.0.1"
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

_Answer = TypeVar("_Answer")


class RayCluster:
    """A cluster that is connected; see `connected`.

    Args:
        ray: the ``ray`` package.
        thread: the one that everything of Ray's runs in.
    """

    def __init__(self, ray: Any, thread: ThreadPoolExecutor) -> None:
        self.ray = ray
        self._thread = thread
        self._unwanted = threading.Event()

    def ask(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """Call a function in the thread of the cluster, and wait for what it returns or raises."""
        return self._thread.submit(function, *arguments).result()

    def stop_waiting(self) -> None:
        """Let `result` return without one, now and from now on: the work is given up, or done."""
        self._unwanted.set()

    def result(self, reference: Any) -> Any:
        """The result of a task. In the thread of the cluster alone.

        Raises:
            Int8calError: what the task raised, if it is an error of ours.
            UnavailableError: the cluster failed.
        """
        with _our_errors(self.ray):
            while not self._unwanted.is_set():
                ready, _ = self.ray.wait([reference], timeout=_SECONDS_PER_LOOK)
                if ready:
                    return self.ray.get(reference)
        return None


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[RayCluster]:
    """A connection to a cluster; one that the process already has is used, and kept.

    Args:
        address: of the cluster; None: ``RAY_ADDRESS`` of the environment, or else one of this machine alone, which ends
            with the block.
        workers: processors of that one; None: those that this process may use.

    Raises:
        UnavailableError: Ray is not installed, or no cluster answers.
        UsageError: the address is none.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    with _environment(**_QUIET, **(_LOOPBACK if address == "local" else {})), ThreadPoolExecutor(1, "ray") as thread:
        cluster = RayCluster(need("ray", "ray"), thread)
        if cluster.ray.is_initialized():
            yield cluster
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"num_cpus": workers or usable_cores(), "include_dashboard": False}
        else:
            _require_answer(address)
        try:
            with uninterrupted():  # what is half begun cannot be ended
                try:
                    cluster.ask(_connect, cluster.ray, address, options)
                finally:
                    _take_signals_back()
            yield cluster
        finally:
            with uninterrupted():
                cluster.ask(cluster.ray.shutdown)


def _connect(ray: Any, address: str, options: dict[str, Any]) -> None:
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise UnavailableError(
            f"no Ray cluster could be used at {address}: {last_line(error)}",
            hint="Check the address, and that the cluster runs this version of Ray and Python.",
        ) from error


def _take_signals_back() -> None:
    """Put the program's handlers back: Ray's compiled code sets one that prints a dump of the stack first."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            signal.signal(number, signal.getsignal(number))


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
            f"the Ray cluster could not do the work: {last_line(error)}",
            hint="See the logs of the cluster. With --resume of int8cal NETWORK, a run goes on from what is finished.",
        ) from error


def last_line(error: BaseException) -> str:
    """What Ray says in the end: it puts remote tracebacks before it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


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
