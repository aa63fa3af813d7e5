"""The engine: order, bounded window, and the rule for bad images."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from itertools import islice

import pytest

from int8cal.engine.job import assemble
from int8cal.engine.work import EncodedSample, FailedSample, ImageFacts
from int8cal.errors import DataError, ImageError, UsageError
from int8cal.io.threads import map_on_threads
from int8cal.samples.samples import RecordRef, Sample


def sample(number: int) -> Sample:
    return Sample(0, f"id/{number}", f"/data/{number}.png", 4, 4, RecordRef("/x/fold-000", number * 10, number))


def good(number: int) -> EncodedSample:
    return EncodedSample(sample(number), bytes([number]), ImageFacts(4, 4, 100, bytes(32)), bytes(16))


def bad(number: int) -> FailedSample:
    return FailedSample(sample(number), ImageError("is not an image", where=f"/data/{number}.png"))


class Writer:
    def __init__(self):
        self.chunks = []

    def append(self, chunk):
        self.chunks.append(chunk[0])


def run(results, *, batch_size=2, batches=None, max_skipped=0):
    writer, advances = Writer(), []
    done = assemble(
        iter(results), writer, batch_size=batch_size, batches=batches, max_skipped=max_skipped, advance=advances.append
    )
    assert sum(advances) == len(writer.chunks)
    return writer.chunks, done


@pytest.mark.parametrize("caller_works", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_whatever_finishes_first(workers, caller_works):
    threads, all_are_there = set(), threading.Barrier(workers)

    def work(item):
        if threading.get_ident() not in threads:
            threads.add(threading.get_ident())
            all_are_there.wait(10)
        time.sleep(0.002 * (item.record.crc % 3))
        return item

    samples = [sample(number) for number in range(30)]
    assert list(map_on_threads(work, samples, workers, caller_works=caller_works)) == samples
    assert len(threads) == workers
    assert (threading.get_ident() in threads) == caller_works


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_error_waits_for_its_turn(workers):
    """Whoever works on it, the caller or a thread: what comes before it is written."""

    def work(item):
        if item == 5:
            raise ValueError("the sixth")
        time.sleep(0.001)
        return item

    results = map_on_threads(work, range(20), workers, caller_works=True)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_caller_that_is_stopped_at_work_leaves_no_thread(workers):
    before, main = set(threading.enumerate()), threading.get_ident()

    def work(item):
        if threading.get_ident() == main and item > 2:
            raise KeyboardInterrupt
        time.sleep(0.002)
        return item

    with pytest.raises(KeyboardInterrupt):
        list(map_on_threads(work, range(1000), workers, caller_works=True))
    assert set(threading.enumerate()) <= before


def test_a_caller_that_works_does_what_is_next_until_its_result_is_there():
    main, by_caller = threading.get_ident(), []
    thread_has_one, thread_may_end = threading.Event(), threading.Event()

    def work(item):
        if threading.get_ident() == main:
            by_caller.append(item)
            assert thread_has_one.wait(10)
            if len(by_caller) == 3:
                thread_may_end.set()
                time.sleep(0.2)
        elif not thread_has_one.is_set():
            thread_has_one.set()
            thread_may_end.wait(10)
        else:
            time.sleep(0.2)
        return item

    results = map_on_threads(work, range(1000), 2, window=20, caller_works=True)
    assert list(islice(results, 2)) == [0, 1], "the thread has one of the two"
    assert by_caller in ([1, 2, 3], [0, 2, 3])
    results.close()


@pytest.mark.parametrize("caller_works", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_window_is_bounded(workers, caller_works):
    taken = 0

    def counted():
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield sample(number)

    results = map_on_threads(lambda item: item, counted(), workers, caller_works=caller_works)
    for _ in range(5):
        next(results)
    assert taken <= 5 + 2 * workers
    results.close()
    assert taken <= 5 + 2 * workers


def test_closing_early_leaves_no_thread_and_begins_nothing_more():
    before, begun, may_end = set(threading.enumerate()), [], threading.Event()

    def work(item):
        begun.append(item)
        if item:
            may_end.wait(10)
        return item

    results = map_on_threads(work, range(100), 2, window=20)
    assert next(results) == 0
    threading.Timer(0.2, may_end.set).start()
    results.close()
    assert len(begun) <= 3, "the first, and one for each thread"
    assert not [one for one in set(threading.enumerate()) - before if not isinstance(one, threading.Timer)]


@pytest.mark.parametrize("caller_works", [False, True])
def test_what_was_taken_is_not_kept(caller_works):
    class Item:
        pass

    alive, window = weakref.WeakSet(), 6

    def items():
        for _ in range(50):
            item = Item()
            alive.add(item)
            yield item

    results = map_on_threads(lambda item: object(), items(), 2, window=window, caller_works=caller_works)
    for _ in range(30):
        next(results)
        assert len(alive) <= window
    results.close()


def test_an_error_keeps_nothing_of_its_work():
    kept = weakref.WeakSet()

    class Large:
        pass

    def work(item):
        local = Large()
        kept.add(local)
        raise ValueError(item)

    gc.disable()
    try:
        with pytest.raises(ValueError, match="3"):
            list(map_on_threads(work, [3], 1))
        assert not kept
    finally:
        gc.enable()


def test_an_interpreter_that_ends_with_images_under_way_ends():
    script = "from int8cal.io.threads import map_on_threads; it = map_on_threads(str, range(100), 2); next(it)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_worker_needs_no_thread(three_threads):
    del three_threads
    threads = set()
    for _ in range(10):
        results = map_on_threads(lambda item: threads.add(threading.get_ident()), range(5), 1, caller_works=True)
        assert list(results) == [None] * 5
    assert threads == {threading.get_ident()}


@pytest.fixture
def three_threads(monkeypatch):
    """A system that gives this process three threads at any time of the test, and then no more."""
    start, left = threading.Thread.start, iter(range(3))

    def limited(thread):
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.usefixtures("three_threads")
def test_threads_that_cannot_be_had_are_a_matter_of_workers():
    before, done = set(threading.enumerate()), []
    with pytest.raises(UsageError, match="3 of the 40 threads") as caught:
        list(map_on_threads(done.append, range(100), 40))
    assert "--workers" in caught.value.hint
    assert done == [], "no image is worked on in a run that cannot be"
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("three_threads")
def test_no_more_threads_are_started_than_there_are_images():
    assert list(map_on_threads(str, range(3), 40)) == ["0", "1", "2"]


def test_no_thread_is_started_once_results_come(monkeypatch):
    before = set(threading.enumerate())
    results = map_on_threads(str, range(1000), 5)
    next(results)
    assert len(set(threading.enumerate()) - before) == 5
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail(f"{thread} is started"))
    assert len(list(results)) == 999
    assert set(threading.enumerate()) <= before


def test_nothing_comes_of_nothing():
    assert list(map_on_threads(str, [], None)) == []


def test_bugs_are_not_taken_for_bad_images():
    def broken(item):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map_on_threads(broken, [sample(0)], 2))


def test_full_batches_only():
    chunks, done = run([good(n) for n in range(5)])
    assert chunks == [0, 1, 2, 3]
    assert done.batches == 2
    assert [(row.batch, row.position) for row in done.rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_chunks_wait_for_their_batch_only_where_it_may_stay_unfilled():
    """A batch of them would be memory that grows with the batch size, and cold when it is written."""
    writer, waiting = Writer(), []

    def results():
        for number in range(6):
            waiting.append(number - len(writer.chunks))
            yield good(number)

    for batches, expected in ((2, [0, 0, 0, 0, 0, 0]), (None, [0, 1, 2, 0, 1, 2])):
        assemble(results(), writer, batch_size=3, batches=batches, max_skipped=1, advance=lambda count: None)
        assert waiting == expected
        writer.chunks.clear()
        waiting.clear()


def test_stops_at_the_batches_asked_for():
    chunks, done = run([good(n) for n in range(9)], batches=1)
    assert (chunks, done.batches) == ([0, 1], 1)


def test_first_bad_image_ends_the_run():
    with pytest.raises(ImageError, match="is not an image") as caught:
        run([good(0), bad(1)], batches=1)
    assert caught.value.where == "/data/1.png"


def test_skipping_moves_later_samples_up():
    chunks, done = run([good(0), bad(1), good(2), good(3), bad(4), good(5)], batches=2, max_skipped=2)
    assert chunks == [0, 2, 3, 5]
    assert [failed.sample.frame_id for failed in done.skipped] == ["id/1", "id/4"]
    assert [(row.frame_id, row.batch, row.position) for row in done.rows] == [
        (b"id/0", 0, 0),
        (b"id/1", -1, -1),
        (b"id/2", 0, 1),
        (b"id/3", 1, 0),
        (b"id/4", -1, -1),
        (b"id/5", 1, 1),
    ]


def test_skipping_counts_the_batches_again():
    chunks, done = run([good(0), bad(1), good(2), good(3), good(4), bad(5)], max_skipped=9)
    assert (chunks, done.batches) == ([0, 2, 3, 4], 2)


def test_rows_of_an_unfilled_batch_are_dropped_and_those_of_bad_images_stay():
    _, done = run([bad(0), good(1), good(2), good(3), bad(4)], max_skipped=9)
    assert [(row.frame_id, row.batch) for row in done.rows] == [
        (b"id/0", -1),
        (b"id/1", 0),
        (b"id/2", 0),
        (b"id/4", -1),
    ]


def test_too_many_bad_images():
    with pytest.raises(DataError, match="more than 1 images are bad") as caught:
        run([bad(0), bad(1), good(2), good(3)], max_skipped=1)
    assert "--max_skipped" in caught.value.hint


def test_not_enough_good_images():
    with pytest.raises(DataError, match="fills 0 of 2 batches"):
        run([good(0), bad(1)], batches=2, max_skipped=5)
    with pytest.raises(DataError, match="fills 0 of 1"):
        run([good(0), bad(1)], max_skipped=5)


def test_record_files_are_named_without_their_folder():
    _, done = run([good(0), good(1)])
    assert {row.record_file for row in done.rows} == {b"fold-000"}
    assert done.rows[1].record_offset == 10
