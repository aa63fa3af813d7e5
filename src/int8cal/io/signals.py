"""How a signal ends the program, and where it must wait.

Imports next to nothing, not even `typing`: until `obey_signals` is called, Ctrl-C is a traceback.

The command line calls `obey_signals` as the first thing it does. Where files get their final names or are cleaned away,
the library says `uninterrupted`, so that no run ends half-way between. From Python, where nobody calls `obey_signals`,
signals mean what the caller says.

Python hears a signal between two of its own steps, so not while a library computes. A library that may do so for long
is called `within_reach`: a thread hears the signal, and ends the process where the call goes on. So it does with a call
that takes more processor time than it may.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from _thread import get_ident, start_new_thread
from contextlib import contextmanager, suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STOPPING: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signal number → what happened."""

_HANG_UP: int | None = getattr(signal, "SIGHUP", None)
if _HANG_UP is not None:
    STOPPING[_HANG_UP] = "hung up"  # the terminal is gone

CLEAN_UPS: dict[object, Callable[[], None]] = {}
"""What must be done before a process ends in the middle of a call, by who wants it; added and taken away by those."""

_calls: set[_Call] = set()
"""Those that are running `within_reach`."""

_PATIENCE_SECONDS = 1.5
"""So long a library may go on after a signal."""

_LOOK_SECONDS = 0.5
"""How often the time of calls is looked at."""

_MAIN = get_ident()
"""The thread that this module is first imported in, which is the main one."""


class Stopped(BaseException):
    """A signal asks the program to end. Not an `Exception`, so that nothing but clean-up happens on its way.

    Who catches it for good calls `stop_listening`.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(STOPPING[number])
        self.number = number
        self.how = STOPPING[number]
        self.exit_code = 128 + number  # as shells have it: `EXIT_INTERRUPTED` and the others
        self.advice: tuple[str, ...] = ()
        """What else the user should know, a line each."""


class _State:
    """What the handler knows; signals and the code that they interrupt run in the main thread alone."""

    blocks = 0
    waiting: int | None = None
    ended = False
    """Whether `Stopped` was caught for good."""
    raised: object = None
    """The mark of the `Stopped` that is on its way: other signals must not disturb the cleaning up."""
    lost: object = None
    """The mark of one that was dropped, until its signal is heard again."""
    unheard = False
    """Whether the signals are ours, and no thread listens yet."""
    listener: object = None
    """What the thread has that listens; one that has something else is done."""


def obey_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP raise `Stopped`: the first of them, and again if that is dropped."""
    for number in STOPPING:
        if number != _HANG_UP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup has it ignored
            signal.signal(number, _stop)
    _State.raised = _State.listener = None  # one that is lost still comes
    _State.ended, _State.unheard = False, True
    if getattr(sys.unraisablehook, "func", None) is not _tell_dropped:
        sys.unraisablehook = partial(_tell_dropped, sys.unraisablehook)


class _Raised(Stopped):
    """What a signal raises. It comes again if it is lost before anybody catches it.

    Python drops what is raised in a `__del__` or in a weak reference's callback, and modules of Cython drop what is
    raised in a part of their import.
    """

    _mark: object = None

    def __init__(self, number: int) -> None:
        self._mark = _State.raised = object()  # first, for another signal may be heard on the way
        super().__init__(number)

    def __del__(self) -> None:
        if self._mark is not None and _State.raised is self._mark:
            _State.raised, _State.lost = None, self._mark
            start_new_thread(_send_again, (self.number, self._mark))


def _send_again(number: int, lost: object) -> None:
    """Send a signal until it is heard: the main thread may be about to wait, and would hear it only after that."""
    while True:
        time.sleep(0.001)
        if _State.lost is not lost or signal.getsignal(number) is not _stop:
            return
        signal.pthread_kill(_MAIN, number)


def _tell_dropped(tell: Callable[[sys.UnraisableHookArgs], object], dropped: sys.UnraisableHookArgs) -> None:
    """Tell of what Python cannot raise, but for `Stopped`, which comes again."""
    if not isinstance(dropped.exc_value, Stopped):
        tell(dropped)


class _Call:
    """A call of a library.

    Args:
        seconds: processor time that its thread may take for it; None: any.
        tell_overdue: says that it took more.
        exit_code: of a process that ends for that.
    """

    def __init__(self, seconds: float | None, tell_overdue: Callable[[], object], exit_code: int) -> None:
        self.tell_overdue, self.exit_code = tell_overdue, exit_code
        self._clock: int | None = None
        if seconds is not None:
            self._clock = time.pthread_getcpuclockid(get_ident())
            self._end = time.clock_gettime(self._clock) + seconds

    def is_overdue(self) -> bool:
        try:
            return self._clock is not None and time.clock_gettime(self._clock) > self._end
        except OSError:  # its thread has ended since the list of calls was made
            return False


@contextmanager
def within_reach(
    seconds: float | None = None, tell_overdue: Callable[[], object] = lambda: None, exit_code: int = 1
) -> Iterator[None]:
    """A call of a library that may take long; if it goes on for 1.5 s after a signal, the process ends there.

    Args:
        seconds: the process ends as well when the thread has taken so much processor time for the call; None: it may
            take any. Linux only.
        tell_overdue: tells the user so.
        exit_code: of the process then.
    """
    if _State.unheard and get_ident() == _MAIN:
        from threading import Thread

        _State.unheard, _State.listener = False, object()
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        Thread(target=_listen, args=(heard, _State.listener), name="signals", daemon=True).start()
    call = _Call(seconds, tell_overdue, exit_code)
    _calls.add(call)
    try:
        yield
    finally:
        _calls.discard(call)


@contextmanager
def cleaned_up(clean_up: Callable[[], None]) -> Iterator[None]:
    """A block after which somebody cleans up, and which the process may end within."""
    CLEAN_UPS[clean_up] = clean_up
    try:
        yield
    finally:
        CLEAN_UPS.pop(clean_up, None)


def _listen(heard: int, listener: object) -> None:
    """Wait for a signal that ends the program; end the process in the midst of calls that go on after it.

    Meanwhile, end it in the midst of a call that is overdue.
    """
    from select import poll

    number, waiting = 0, poll()
    waiting.register(heard)
    while number not in STOPPING and _State.listener is listener:
        if waiting.poll(1000 * _LOOK_SECONDS):
            number = os.read(heard, 1)[0]
            continue
        for call in filter(_Call.is_overdue, tuple(_calls)):
            _end_within({call}, call.tell_overdue, call.exit_code)
    time.sleep(_PATIENCE_SECONDS)
    while _State.listener is listener:  # threads may begin calls until they hear that the program ends
        _end_within(set(_calls), lambda: os.write(2, f"int8cal: {STOPPING[number]}\n".encode()), 128 + number)
        time.sleep(0.1)


def _end_within(calls: set[_Call], tell: Callable[[], object], exit_code: int) -> None:
    """End the process while one of the calls goes on, but not while files get their names."""
    while calls & _calls:
        if not _State.blocks:
            for last in [*list(CLEAN_UPS.values())[::-1], tell]:
                with suppress(Exception):
                    last()
            os._exit(exit_code)
        time.sleep(0.1)


def stop_listening() -> None:
    """Say that a signal has ended all there was to end."""
    _no_more()
    _State.listener = None


def _no_more() -> None:
    _State.ended, _State.raised, _State.lost = True, None, None


def ignore_signals() -> None:
    """Have the signals do nothing any more: the program ends in any case."""
    _no_more()
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
            _stop(number)


def _stop(number: int, _: FrameType | None = None) -> None:
    _State.lost = None
    if _State.blocks:
        _State.waiting = number
    elif _State.raised is None and not _State.ended:
        raise _Raised(number)
