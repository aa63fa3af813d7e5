"""A connection to a Ray cluster, and the one thread that uses it.

Signals come to the main thread, and Ray does not get on with that: it puts handlers of its own in place of the
program's, which end it without cleaning up, and what a handler raises inside Ray's compiled code ends the process or is
lost. So the main thread never runs code of Ray's. It waits for the thread that does, and a signal ends that waiting.

It is the same thread from the beginning to the end, because the kernel ends the processes of a cluster that Ray started
together with the thread that started them.
"""

from __future__ import annotations

import inspect
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from int8cal.errors import Int8calError, UnavailableError, UsageError
from int8cal.io.optional import need
from int8cal.io.signals import STOPPING, uninterrupted
from int8cal.io.threads import SideThread, usable_cores

log = logging.getLogger(__name__)

_SECONDS_TO_ANSWER = 10.0
_SECONDS_OF_SILENCE = 10.0
"""After so long without a result the user is told, and again each time that it has taken twice as long."""
_SECONDS_PER_LOOK = 0.2
"""How soon waiting for a result ends when nobody wants it any more."""
_SECONDS_WITHOUT_HANDLERS = 0.01
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # Ray's own name for "this machine alone, on 127.0.0.1"
_LONGEST_FOLDER = 20
"""A socket's path has at most 107 bytes; Ray needs 70, and a private folder's name 18."""
_CHECK_LOGIN = (
    "Check the address, and that the cluster runs this version of Ray and Python. If it asks for a token, set "
    "RAY_AUTH_MODE=token, and have the token in ~/.ray/auth_token or the file that RAY_AUTH_TOKEN_PATH names."
)
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_HTTP2_FRAME_HEAD = 9
_HTTP2_SETTINGS = bytes((4, 0, 0, 0, 0, 0))
"""What a frame of settings says after its three bytes of length: its type, no flags, stream 0."""
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}

_Answer = TypeVar("_Answer")


class RayCluster:
    """A cluster that is connected; see `connected`.

    Args:
        ray: the ``ray`` package.
        thread: the one that everything of Ray's runs in.
    """

    def __init__(self, ray: Any, thread: SideThread) -> None:
        self.ray = ray
        self._thread = thread
        self._unwanted = threading.Event()

    def ask(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """Call a function in the thread of the cluster, and wait for what it returns or raises."""
        return self._thread.begin(function, *arguments).result()

    def ask_keeping_signals(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """As `ask`, for what takes the program's signal handlers away."""
        answer = self._thread.begin(function, *arguments)
        while not answer.is_done_within(_SECONDS_WITHOUT_HANDLERS):
            _take_signals_back()
        _take_signals_back()
        return answer.result()

    def stop_waiting(self) -> None:
        """Let `result` return without one, now and from now on: the work is given up, or done."""
        self._unwanted.set()

    def processors(self) -> int:
        """Processors that the cluster has now. In the thread of the cluster alone, like all that follows."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 0)))

    def finished(self, references: list[Any]) -> list[Any]:
        """Those of the tasks that are finished."""
        with _our_errors(self.ray):
            return list(self.ray.wait(references, num_returns=len(references), timeout=0)[0]) if references else []

    def wait_for_one(self, references: list[Any]) -> list[Any]:
        """Those of the tasks that are finished, once there is one; none after `stop_waiting`."""
        begin = time.monotonic()
        tell_after = _SECONDS_OF_SILENCE
        while not self._unwanted.is_set():
            with _our_errors(self.ray):
                finished, _ = self.ray.wait(references, timeout=_SECONDS_PER_LOOK)
            if finished:
                return list(finished)
            if time.monotonic() - begin > tell_after:
                self._tell_of_waiting(tell_after)
                tell_after *= 2
        return []

    def result(self, reference: Any) -> Any:
        """What a task returned; None after `stop_waiting`.

        Raises:
            Int8calError: what the task raised, if it is an error of ours.
            UnavailableError: the cluster failed.
        """
        if not self.wait_for_one([reference]):
            return None
        with _our_errors(self.ray):
            return self.ray.get(reference)

    def _tell_of_waiting(self, seconds: float) -> None:
        free = int(self.ray.available_resources().get("CPU", 0))
        what = "a result" if free else "a free processor or a result"
        log.warning(
            "waiting for %s of the cluster for %.0f s: %d of its %d processors are free",
            what,
            seconds,
            free,
            self.processors(),
        )


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
    with ExitStack() as open_:
        as_imported = _QUIET | (_LOOPBACK if address == "local" else {})  # what Ray reads when it is imported
        open_.enter_context(_environment(**as_imported, RAY_AUTH_MODE=os.environ.get("RAY_AUTH_MODE")))
        cluster = RayCluster(need("ray", "ray"), open_.enter_context(SideThread("ray")))
        if not cluster.ray.is_initialized():
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
            if address == "local":
                options |= open_.enter_context(_private_cluster(workers or usable_cores()))
            else:
                _require_answer(address)
            open_.enter_context(_connection(cluster, address, options))
        yield cluster


@contextmanager
def _connection(cluster: RayCluster, address: str, options: dict[str, Any]) -> Iterator[None]:
    try:
        with uninterrupted():  # what is half begun cannot be ended
            cluster.ask_keeping_signals(_connect, cluster.ray, address, options)
        yield
    finally:
        with uninterrupted():
            cluster.stop_waiting()
            cluster.ask_keeping_signals(_disconnect, cluster.ray)


@contextmanager
def _private_cluster(processors: int) -> Iterator[dict[str, Any]]:
    """What ``ray.init`` needs for a cluster of this user alone, which leaves nothing behind.

    Its ports are on the loopback interface, where other users of the machine are, too: its token keeps them out, and
    its sockets and files are in a folder that they cannot enter. Left alone, Ray writes a token for good into the
    user's home, and a folder that everybody can write to.
    """
    base = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_FOLDER:
        base = "/tmp"  # noqa: S108 - the folder in it is new, and this user's alone
    with tempfile.TemporaryDirectory(prefix="int8cal-", dir=base, ignore_cleanup_errors=True) as folder:
        # Ray opens the folder that it is given to everybody: it gets one inside.
        token = os.path.join(folder, "token")
        with open(token, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        login = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token, "RAY_AUTH_TOKEN": None}
        with _environment(**login):
            yield {"num_cpus": processors, "include_dashboard": False, "_temp_dir": os.path.join(folder, "r")}


def _connect(ray: Any, address: str, options: dict[str, Any]) -> None:
    _read_login()
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise UnavailableError(
            f"no Ray cluster could be used at {address}: {last_line(error)}",
            hint=_CHECK_LOGIN,
        ) from error


def _disconnect(ray: Any) -> None:
    """End the connection, and a cluster that was started for it."""
    waits = "wait_for_processes" in inspect.signature(ray.shutdown).parameters  # Ray 2.60: they still write files
    ray.shutdown(**({"wait_for_processes": True} if waits else {}))


def _read_login() -> None:
    """Have Ray read the environment again: it remembers how it logged in when it was imported, or connected before."""
    raylet = need("ray._raylet", "ray")
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _take_signals_back() -> None:
    """Put the program's handlers back.

    Ray's compiled code has one for SIGTERM that prints a dump of its stack; when the connection ends it leaves none at
    all, so that a signal kills the program before the cluster has ended.
    """
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
        if isinstance(error.cause, ImportError) or "failed to import" in str(error):  # of nodes that joined late
            raise UnavailableError(
                f"a node of the cluster cannot run int8cal: {last_line(error)}",
                hint="Install the same int8cal[ray] on every node of the cluster.",
            ) from error
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
            f"{address} is not an address of a Ray cluster",
            hint="Give HOST:PORT (the port is 6379 as a rule) or auto, and run this on a machine of the cluster.",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER) as connection:
            answer = _HTTP2_SETTINGS if os.environ.get("RAY_USE_TLS") == "1" else _greeted(connection)
    except (OSError, OverflowError) as error:
        raise _no_answer(address, str(error)) from error
    if answer != _HTTP2_SETTINGS:
        raise _no_answer(address, "what listens there is something else")


def _greeted(connection: socket.socket) -> bytes:
    """What the first frame from a server is, if it is one of HTTP/2, which Ray talks: of other servers, other bytes."""
    end = time.monotonic() + _SECONDS_TO_ANSWER
    connection.sendall(_HTTP2_GREETING)
    frame = b""
    while len(frame) < _HTTP2_FRAME_HEAD:
        connection.settimeout(max(0.001, end - time.monotonic()))
        received = connection.recv(_HTTP2_FRAME_HEAD - len(frame))
        if not received:
            break
        frame += received
    return frame[3:]


def _no_answer(address: str, reason: str) -> UnavailableError:
    return UnavailableError(
        f"no Ray cluster answers at {address}: {reason}",
        hint="Check RAY_ADDRESS, or --ray_address of int8cal NETWORK.",
    )


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Environment variables for the time of a block; None: without the variable."""
    before = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
