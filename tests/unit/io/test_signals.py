"""Signals end the program at once, but never while files get their names."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress

import pytest
from tests.stopping import signals_obeyed, stops

from int8cal.io import locks
from int8cal.io import signals as stopping
from int8cal.io.files import OutputFile
from int8cal.io.signals import Stopped, uninterrupted


@pytest.fixture(autouse=True)
def handlers():
    """The handlers of the command line, for one test."""
    with signals_obeyed():
        yield


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_stops(number, code):
    with stops() as caught:
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


def test_a_run_under_nohup_goes_on():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping.obey_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    with stops():
        os.kill(os.getpid(), signal.SIGTERM)


def test_signals_after_the_first_are_ignored():
    cleaned = []

    def stopped_twice() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("all")

    with stops():
        stopped_twice()
    assert cleaned == ["all"]


class _Dropping:
    """Python drops whatever is raised while this is deleted; so it does in callbacks of weak references."""

    def __init__(self, then):
        self.then = then

    def __del__(self):
        self.then()


def _stop_while_deleting():
    del [_Dropping(lambda: os.kill(os.getpid(), signal.SIGTERM))][0]
    time.sleep(20)


def _stop_in_a_callback():
    weakref.finalize(_Dropping(list), os.kill, os.getpid(), signal.SIGTERM)
    time.sleep(20)


def _stop_where_a_library_drops_it():
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)


AT_REGISTER = """
import abc, os, signal, time
from int8cal.io.signals import Stopped, obey_signals, stop_listening
def register(abstract, kind):
    if kind.__module__ == "numpy.random._generator":
        os.kill(os.getpid(), signal.SIGTERM)
abc.ABCMeta.register = register
try:
    obey_signals()
    import numpy.random
    time.sleep(20)
except Stopped:
    stop_listening()
    print("numpy.random._generator" in __import__("sys").modules)
"""


def _stop_while_a_module_is_imported():
    """A module of Cython drops any error of `register`."""
    said = subprocess.check_output([sys.executable, "-c", AT_REGISTER], text=True, timeout=60)
    if said == "True\n":
        raise Stopped(signal.SIGTERM)


@pytest.mark.parametrize(
    "stop",
    [
        _stop_while_deleting,
        _stop_in_a_callback,
        _stop_where_a_library_drops_it,
        _stop_while_a_module_is_imported,
    ],
)
def test_a_signal_that_is_dropped_comes_again(stop):
    stopping.obey_signals()  # pytest has another hook for each test
    begun = time.monotonic()
    with stops("terminated"):
        stop()
    assert time.monotonic() - begun < 10


def test_a_signal_that_is_dropped_comes_though_signals_are_obeyed_anew():
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    with stops("terminated"):
        stopping.obey_signals()
        time.sleep(20)


def test_a_signal_that_is_dropped_where_a_block_ends_comes_again():
    with stops("terminated"):
        with suppress(BaseException), uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)


def test_other_exceptions_that_python_drops_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for _ in range(2):
        stopping.obey_signals()
    del [_Dropping(lambda: 1 // 0)][0]
    assert [type(dropped.exc_value) for dropped in told] == [ZeroDivisionError]


def test_a_library_that_chains_a_hook_of_its_own_is_told_as_well(monkeypatch):
    told = []
    ours = sys.unraisablehook
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: (told.append(dropped.exc_value), ours(dropped)))
    stopping.obey_signals()
    del [_Dropping(lambda: os.kill(os.getpid(), signal.SIGTERM))][0]
    with stops():
        time.sleep(20)
    assert told == []


def test_two_signals_at_once_are_one(capfd):
    """The second is heard while the first one's exception is made."""

    def hear_another(frame, event, _):
        if frame.f_code.co_name == "__init__":
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)

    with stops("terminated"):
        sys.settrace(hear_another)
        os.kill(os.getpid(), signal.SIGTERM)
    gc.collect()
    assert capfd.readouterr().err == ""


def test_signal_waits_for_the_end_of_a_block():
    done = []

    def publish() -> None:
        with uninterrupted():
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGTERM)
            done.append("all")

    with stops("terminated"):
        publish()
    assert done == ["all"]


CALL_AFTER_CALL = """
import os, signal, threading, time
from int8cal.io.signals import Stopped, obey_signals, stop_listening, within_reach
def call_after_call():
    for _ in range(100):
        with within_reach():
            time.sleep(0.4)
obey_signals()
with within_reach():
    pass
worker = threading.Thread(target=call_after_call, daemon=True)
worker.start()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except Stopped:
    {then}
    worker.join(6)
    print("joined")
"""


@pytest.mark.parametrize(("then", "code"), [("pass", 143), ("stop_listening()", 0)])
def test_threads_that_begin_call_after_call_are_not_waited_for(then, code):
    """Each call ends soon after the signal, all of them never. Who says that all has ended is not disturbed."""
    done = subprocess.run(
        [sys.executable, "-c", CALL_AFTER_CALL.format(then=then)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = "int8cal: terminated\n" if code else ""
    assert (done.returncode, done.stderr, "joined" in done.stdout) == (code, said, not code)


def test_nothing_waits_for_a_block_without_a_signal():
    with uninterrupted():
        pass
    with pytest.raises(ValueError, match="own"), uninterrupted():
        raise ValueError("own")


def test_signal_while_a_lock_is_taken_leaves_none(tmp_path, monkeypatch):
    real = locks.locked

    def locked(descriptor: int) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return real(descriptor)

    monkeypatch.setattr(locks, "locked", locked)
    with stops():
        locks.Lock(str(tmp_path / "lock")).take()
    assert os.listdir(tmp_path) == []


def test_signal_while_a_temporary_file_is_made_leaves_none(tmp_path, monkeypatch):
    real = OutputFile._make_part

    def make_part(output: OutputFile) -> None:
        real(output)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(OutputFile, "_make_part", make_part)
    with stops(), OutputFile(str(tmp_path / "out"), overwrite=False):
        pytest.fail("the signal was not heard")
    assert os.listdir(tmp_path) == []
