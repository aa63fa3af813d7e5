"""Bounds on the memory and the time that a model of unknown origin may take.

A few hundred bytes of ONNX can ask for terabytes: the size of a tensor may be computed while the model runs, and
shape inference builds what a model merely describes. No look at the file tells. So the kernel holds the process to a
bound meanwhile, and what would exceed it fails at once, before it is taken.

As few bytes can multiply matrices for hours. ONNX Runtime is in the middle of a node then, and nothing ends that but
the end of the process: it comes when a call has taken far more processor time than models of that size take.

Bounds hold for the whole process. They are set only when the process is ours, which the command line says; in the
process of somebody who uses the Python API they would hit their threads as well. Linux only: elsewhere there are none.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from int8cal.errors import UseError
from int8cal.io.signals import STOPPING, within_reach
from int8cal.io.threads import usable_cores

if sys.platform == "linux":
    import resource

_ANY_BYTES = 1 << 30
"""What running or loading a model may take in any case: room for tensors whose size depends on the images."""
_BYTES_PER_INPUT_BYTE = 1000
"""The activations of a large segmentation network take half as much."""
_BYTES_PER_MODEL_BYTE = 8
"""ONNX Runtime holds a model's weights up to four times while it optimises and writes."""
_ANY_SECONDS = 5.0
"""What loading a model, or running it on an image, may take in any case."""
_LOAD_BYTES_PER_SECOND = 1e6
_PRODUCTS_PER_SECOND = 1e11
"""Of an image's bytes and the model's: each weight may meet each pixel. Networks take a hundredth of that time."""
_CHECK_BYTES = 96 << 20
_CHECK_BYTES_PER_MODEL_BYTE = 12
"""Checks hold the shapes of all tensors, and several copies of the model."""
_CHECK_SECONDS = 2.0
_CHECK_BYTES_PER_SECOND = 10e6
_CHECK_SECONDS_PER_NODE = 3e-4
_STACK_BYTES = 8 << 20

_tell: Callable[[UseError], object] | None = None
"""Where the process is ours: how the user is told of an error that ends it."""

_model: ContextVar[str | None] = ContextVar("_model", default=None)


class Limit(NamedTuple):
    """What a call of ONNX Runtime may take.

    Attributes:
        memory: bytes.
        seconds: processor time of the thread that calls: sessions have no threads of their own.
    """

    memory: int
    seconds: float


@contextmanager
def of_model(name: str) -> Iterator[None]:
    """Say which model it is that calls from here on load or run: see `model_name`."""
    token = _model.set(name)
    try:
        yield
    finally:
        _model.reset(token)


def model_name() -> str | None:
    """The model that is loaded or run here, for errors; other threads know nothing of it."""
    return _model.get()


def own_process(tell: Callable[[UseError], object]) -> None:
    """Say that this process does nothing but our work; the command line does.

    Args:
        tell: shows an error to the user.
    """
    global _tell
    if sys.platform == "linux":
        _tell = tell
        threading.stack_size(_STACK_BYTES)  # else as large as the user's limit on stacks, which may be gigabytes


def run_limit(images: int, input_bytes: int, model_bytes: int) -> Limit:
    """What running a model may take.

    Args:
        images: how many are fed together.
        input_bytes: size of what is fed: of the images, and of what fills up the batch that the model insists on.
        model_bytes: size of the model.
    """
    seconds = images * _ANY_SECONDS + input_bytes * model_bytes / _PRODUCTS_PER_SECOND
    return Limit(_ANY_BYTES + _BYTES_PER_INPUT_BYTE * input_bytes, seconds)


def load_limit(model_bytes: int) -> Limit:
    """What loading a model may take. Each usable processor may have a thread of ours, whose stack is counted in."""
    memory = _ANY_BYTES + _BYTES_PER_MODEL_BYTE * model_bytes + _STACK_BYTES * usable_cores()
    return Limit(memory, _ANY_SECONDS + model_bytes / _LOAD_BYTES_PER_SECOND)


@contextmanager
def limited(limit: Limit, name: str | None = None) -> Iterator[None]:
    """A call of ONNX Runtime that may take so much and no more; a signal ends it, too.

    Where it takes more time, the process ends.

    Args:
        limit: what it may take.
        name: the model, for the error then.

    Raises:
        UseError: instead of any error that says that memory ran out.
    """
    if _tell is None:
        with within_reach(), _one_error_for_memory(limit.memory):
            yield
        return
    too_long = UseError(
        f"the model has computed for more than {limit.seconds:.0f} s of processor time",
        where=name,
        hint="Few models of this size take that long: see which of its nodes does so much work. "
        "In Python, int8cal.quantize and int8cal.compare have no limit.",
    )
    reach = within_reach(limit.seconds, functools.partial(_tell, too_long), too_long.exit_code)
    with reach, _bounds.held(limit.memory), _one_error_for_memory(limit.memory):
        yield


@contextmanager
def _one_error_for_memory(most: int) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UseError(
            f"the model takes more memory than {most >> 20} MiB, or than there is",
            hint="Few models of this size need as much: see which of its nodes makes a tensor of a computed size. "
            "In Python, int8cal.quantize and int8cal.compare have no limit.",
        ) from error


class _Bounds:
    """The bound of the process while work is done, on several threads perhaps: what all of them together may take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._most = self._start = 0
        self._before = (0, 0)

    @contextmanager
    def held(self, most: int) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._before = resource.getrlimit(resource.RLIMIT_DATA)
                self._start = _data_bytes()
            self._change(1, most)
        try:
            yield
        finally:
            with self._lock:
                self._change(-1, -most)

    def _change(self, inside: int, most: int) -> None:
        self._inside += inside
        self._most += most
        soft, hard = self._before
        if self._inside:
            soft = _within(self._start + self._most, soft)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_bounds = _Bounds()


def check_apart(check: Callable[[], None], model_bytes: int, nodes: int, path: str) -> None:
    """Run a check of a model in a child process that has little memory and time: hostile models crash checkers.

    Where the process is not ours it is run in place.

    Args:
        check: raises `UseError` if it finds something.
        model_bytes: size of the model.
        nodes: how many nodes it has.
        path: the model, for messages.

    Raises:
        UseError: what the check raised; or it took too much, or crashed.
    """
    if _tell is None:
        check()
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)  # here, where too many open files are told as what they are
    try:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _be_child(check, model_bytes, nodes, writing, nowhere)
        os.close(writing)
    finally:
        os.close(nowhere)
    try:
        with open(reading, "rb") as pipe:
            said = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if status or not said:
        raise UseError(
            "takes more memory or time to check than any real model of its size",
            where=path,
            hint="See which of its nodes makes a tensor of many dimensions.",
        )
    problem = json.loads(said)
    if problem:
        raise UseError(problem["message"], where=path, hint=problem["hint"])


def _be_child(check: Callable[[], None], model_bytes: int, nodes: int, writing: int, nowhere: int) -> None:
    """Run the check, write what it says, and end; never returns."""
    try:
        os.dup2(nowhere, 2)  # what libraries say when they crash
        os.close(nowhere)
        _restrict_child(model_bytes, nodes)
        problem = None
        try:
            check()
        except UseError as error:
            problem = {"message": error.message, "hint": error.hint}
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of the model or of the checker: said as it is
            problem = {
                "message": f"cannot be checked: {type(error).__name__}: {str(error).partition(chr(10))[0]}",
                "hint": "run onnx.checker.check_model on it; if that finds nothing, please report this",
            }
        os.write(writing, json.dumps(problem).encode())
        os._exit(0)
    finally:
        os._exit(1)


def _restrict_child(model_bytes: int, nodes: int) -> None:
    for number in (*STOPPING, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = _data_bytes() + _CHECK_BYTES + _CHECK_BYTES_PER_MODEL_BYTE * model_bytes
    most = _within(most, resource.getrlimit(resource.RLIMIT_DATA)[0])
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    seconds = _CHECK_SECONDS + nodes * _CHECK_SECONDS_PER_NODE + model_bytes / _CHECK_BYTES_PER_SECOND
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _within(limit: int, of_user: int) -> int:
    return limit if of_user == resource.RLIM_INFINITY else min(limit, of_user)


def _data_bytes() -> int:
    """What the kernel holds against RLIMIT_DATA; 0 where it does not tell."""
    try:
        with open("/proc/self/statm") as status:
            return int(status.read().split()[5]) * resource.getpagesize()
    except OSError:
        return 0
