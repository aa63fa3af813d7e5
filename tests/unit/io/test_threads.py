"""A thread for what must not run in the caller's."""

from __future__ import annotations

import signal
import threading

import pytest

from int8cal.errors import UsageError
from int8cal.io.threads import SideThread


def test_it_does_one_thing_after_another_and_ends_with_the_block() -> None:
    seen: list[tuple[int, int]] = []

    def note(number: int) -> int:
        seen.append((number, threading.get_ident()))
        return number * 10

    with SideThread("side") as thread:
        answers = [thread.begin(note, number) for number in range(5)]
        assert [answer.result() for answer in answers] == [0, 10, 20, 30, 40]

    assert [number for number, _ in seen] == list(range(5))
    assert len({ident for _, ident in seen}) == 1
    assert threading.get_ident() not in {ident for _, ident in seen}
    assert "side" not in {other.name for other in threading.enumerate()}


def test_errors_are_those_of_the_caller() -> None:
    def fail() -> None:
        raise UsageError("no")

    with SideThread("side") as thread:
        with pytest.raises(UsageError, match="no"):
            thread.begin(fail).result()
        assert thread.begin(len, "abc").result() == 3


def test_a_wait_has_an_end() -> None:
    let_go = threading.Lock()
    let_go.acquire()
    with SideThread("side") as thread:
        answer = thread.begin(let_go.acquire)
        assert not answer.is_done_within(0.01)
        let_go.release()
        assert answer.is_done_within(60)
        assert answer.result()


def test_a_signal_ends_a_wait_and_the_thread_goes_on() -> None:
    let_go = threading.Lock()
    let_go.acquire()

    def hear(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise InterruptedError

    def signal_and_wait() -> bool:
        while not let_go.acquire(timeout=0.01):  # one that comes just before the wait is not heard within it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        return True

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with SideThread("side") as thread:
            with pytest.raises(InterruptedError):
                thread.begin(signal_and_wait).result()
            let_go.release()
            assert thread.begin(len, "abc").result() == 3
    finally:
        signal.signal(signal.SIGUSR1, before)
