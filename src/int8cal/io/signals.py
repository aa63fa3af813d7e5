"""How a signal ends the program, and where it must wait.

Imports next to nothing, not even `typing`: until `obey_signals` is called, Ctrl-C is a traceback.

The command line calls `obey_signals` as the first thing it does. Where files get their final names or are cleaned away,
the library says `uninterrupted`, so that no run ends half-way between. From Python, where nobody calls `obey_signals`,
signals mean what the caller says.
"""

from __future__ import annotations

import signal
from _thread import get_ident
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOPPING: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signal number → what happened."""


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


def obey_signals() -> None:
    """Have SIGINT and SIGTERM raise `Stopped`, once: what comes later must not disturb the cleaning up."""
    for number in STOPPING:
        signal.signal(number, _stop)


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
