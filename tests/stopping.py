"""Signals that reach the tests themselves."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from int8cal.io.signals import STOPPING, Stopped, obey_signals, stop_listening


@contextmanager
def signals_obeyed() -> Iterator[None]:
    """A block that signals end as they end the command line, though the tests may run under nohup."""
    before, hook = {number: signal.getsignal(number) for number in STOPPING}, sys.unraisablehook
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    obey_signals()
    try:
        yield
    finally:
        stop_listening()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stops(how: str | None = None) -> Iterator[pytest.ExceptionInfo[Stopped]]:
    """A block that a signal ends; it is caught, so it does not come again."""
    with pytest.raises(Stopped, match=how) as caught:
        yield caught
    stop_listening()
