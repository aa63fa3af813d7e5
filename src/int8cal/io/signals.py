"""How a signal ends the program, and where it must wait.

Imports next to nothing, not even `typing`: until `obey_signals` is called, Ctrl-C is a traceback.

The command line calls `obey_signals` as the first thing it does. Where files get their final names or are cleaned away,
the library says `uninterrupted`, so that no run ends half-way between. From Python, where nobody calls `obey_signals`,
signals mean what the caller says.

Python hears a signal between two of its own steps, so not while a library computes. A library that may do so for long
is called `within_reach`: a thread hears the signal, and ends the process where the call goes on.
"""

from __future__ import annotations

import os
import signal
from _thread import get_ident
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOPPING: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signal number → what happened."""

CLEAN_UPS: dict[object, Callable[[], None]] = {}
"""What must be done before a process ends in the middle of a call, by who wants it; added and taken away by those."""

_calls: set[object] = set()
"""An object for each call that goes on `within_reach`."""

_PATIENCE_SECONDS = 1.5
"""So long a library may go on after a signal."""

_MAIN = get_ident()
"""The thread that this module is first imported in, which is the main one."""


class Stopped(BaseException):
    """A signal asks the program to end. Not an `Exception`, so that nothing but clean-up happens on its way.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(STOPPING[number])
        self.how = STOPPING[number]
        self.exit_code = 128 + number  # as shells have it: `EXIT_INTERRUPTED`, `EXIT_TERMINATED`
        self.advice: tuple[str, ...] = ()
        """What else the user should know, a line each."""


class _State:
    """What the handler knows; signals and the code that they interrupt run in the main thread alone."""

    blocks = 0
    waiting: int | None = None
    unheard = False
    """Whether the signals are ours, and no thread listens yet."""


def obey_signals() -> None:
    """Have SIGINT and SIGTERM raise `Stopped`, once: what comes later must not disturb the cleaning up."""
    for number in STOPPING:
        signal.signal(number, _stop)
    _State.unheard = True


@contextmanager
def within_reach() -> Iterator[None]:
    """A call of a library that may take long; if it goes on for 1.5 s after a signal, the process ends there."""
    if _State.unheard and get_ident() == _MAIN:
        from threading import Thread

        _State.unheard = False
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        Thread(target=_listen, args=(heard,), name="signals", daemon=True).start()
    call = object()
    _calls.add(call)
    try:
        yield
    finally:
        _calls.discard(call)


def _listen(heard: int) -> None:
    """Wait for a signal that ends the program, then for the calls that go on; end the process in the midst of them."""
    from time import sleep

    while (number := os.read(heard, 1)[0]) not in STOPPING:
        pass
    begun = set(_calls)
    sleep(_PATIENCE_SECONDS)
    while begun & _calls:
        if not _State.blocks:
            for clean_up in list(CLEAN_UPS.values())[::-1]:
                with suppress(Exception):
                    clean_up()
            os.write(2, f"int8cal: {STOPPING[number]}\n".encode())
            os._exit(128 + number)
        sleep(0.1)


def ignore_signals() -> None:
    """Have SIGINT and SIGTERM do nothing any more: the program ends in any case."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A block that `Stopped` is not raised in; a signal that comes meanwhile counts when the block is left."""
    if get_ident() != _MAIN:  # signals interrupt no other thread
        yield
        return
    _State.blocks += 1
    try:
        yield
    finally:
        _State.blocks -= 1
        if not _State.blocks and _State.waiting is not None:
            number, _State.waiting = _State.waiting, None
            ignore_signals()
            raise Stopped(number)


def _stop(number: int, frame: FrameType | None) -> None:
    if _State.blocks:
        _State.waiting = number
        return
    ignore_signals()
    raise Stopped(number)
