"""Signals end the program at once, but never while files get their names."""

from __future__ import annotations

import os
import signal

import pytest

from int8cal.io import signals as stopping
from int8cal.io.signals import Stopped, uninterrupted


@pytest.fixture(autouse=True)
def handlers():
    """The handlers of the command line, for one test."""
    before = {number: signal.getsignal(number) for number in stopping.STOPPING}
    stopping.obey_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops(number, code):
    with pytest.raises(Stopped) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


def test_signals_after_the_first_are_ignored():
    cleaned = []

    def stopped_twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("all")

    with pytest.raises(Stopped):
        stopped_twice()
    assert cleaned == ["all"]


def test_signal_waits_for_the_end_of_a_block():
    done = []

    def publish() -> None:
        with uninterrupted():
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGTERM)
            done.append("all")

    with pytest.raises(Stopped, match="terminated"):
        publish()
    assert done == ["all"]


def test_nothing_waits_for_a_block_without_a_signal():
    with uninterrupted():
        pass
    with pytest.raises(ValueError, match="own"), uninterrupted():
        raise ValueError("own")
