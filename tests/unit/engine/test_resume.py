"""The journal of finished images, and streams that go on from it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import zlib
from pathlib import Path

import pytest

from int8cal.engine import journal as journals
from int8cal.engine.journal import Journal, journal_path, resumed
from int8cal.engine.work import EncodedSample, FailedSample, ImageFacts
from int8cal.errors import ImageError, OutputError
from int8cal.io.threads import map_on_threads
from int8cal.samples.samples import Sample

IDENTITY = {"plan_sha256": "ab" * 32, "compression": "fast"}


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    """Twelve samples with "images" of a few bytes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(b"image %d" % number)
    return [Sample(0, f"{number}", str(folder / f"{number}.png"), 4, 4) for number in range(12)]


class Work:
    """Counts what it decodes."""

    def __init__(self, bad: tuple[str, ...] = ()) -> None:
        self.decoded: list[str] = []
        self.bad = bad

    def __call__(self, sample: Sample) -> EncodedSample | FailedSample:
        self.decoded.append(sample.frame_id)
        if sample.frame_id in self.bad:
            return FailedSample(sample, ImageError("is bad"))
        content = Path(sample.path).read_bytes()
        facts = ImageFacts(4, 5, len(content), hashlib.sha256(content).digest())
        return EncodedSample(sample, b"chunk of " + content, facts, facts.sha256[:16])


def journal(tmp_path: Path, identity: dict = IDENTITY, samples: int = 12) -> Journal:
    path = str(tmp_path / "out.resume")
    return Journal(path, identity, samples=samples, batch_size=4, image_bytes=64)


def run(tmp_path: Path, samples: list[Sample], work: Work, stop_after: int | None = None, **options) -> list:
    """The results of one run, which is interrupted after so many of them."""
    results = []
    with journal(tmp_path, **options) as kept:
        stream = resumed(map_on_threads, kept, work, samples, 1)
        for result in stream:
            results.append(result)
            if len(results) == stop_after:
                break
        stream.close()
    return results


def test_only_what_is_missing_is_made(tmp_path, samples):
    whole = run(tmp_path / "whole", samples, Work())
    run(tmp_path, samples, Work(), stop_after=7)
    work = Work()
    assert run(tmp_path, samples, work) == whole
    assert work.decoded == ["7", "8", "9", "10", "11"]


def test_many_interruptions(tmp_path, samples):
    decoded = 0
    for number in range(11):
        work = Work()
        run(tmp_path, samples, work, stop_after=number + 1)
        decoded += len(work.decoded)
    assert run(tmp_path, samples, Work()) == run(tmp_path / "whole", samples, Work())
    assert decoded <= 12 + 11 * 2, "no more than the window of each run is made twice"


def test_a_changed_image_is_made_again_and_told(tmp_path, samples, caplog):
    run(tmp_path, samples, Work(), stop_after=6)
    Path(samples[2].path).write_bytes(b"another image")
    work = Work()
    with caplog.at_level(logging.WARNING), journal(tmp_path) as kept:
        results = list(resumed(map_on_threads, kept, work, samples, 1))
        assert (kept.reused, kept.changed) == (5, [samples[2].path])
    assert results[2].chunk == b"chunk of another image"
    assert work.decoded == ["2", *map(str, range(6, 12))]
    assert "2.png has changed since the interrupted run" in caplog.text
    work = Work()
    assert run(tmp_path, samples, work)[2].chunk == b"chunk of another image"
    assert work.decoded == []


def test_a_kept_image_that_is_bad_now_is_not_told_as_made_again(tmp_path, samples, caplog):
    run(tmp_path, samples, Work(), stop_after=6)
    os.unlink(samples[2].path)
    with caplog.at_level(logging.WARNING), journal(tmp_path) as kept:
        results = list(resumed(map_on_threads, kept, Work(bad=("2",)), samples, 1))
        assert isinstance(results[2], FailedSample)
        assert (kept.reused, kept.changed) == (5, [])
    assert caplog.text == ""


def test_a_vanished_image_is_no_longer_used(tmp_path, samples):
    run(tmp_path, samples, Work(), stop_after=6)
    os.unlink(samples[2].path)
    with pytest.raises(FileNotFoundError):
        run(tmp_path, samples, Work())


def test_bad_images_are_looked_at_again(tmp_path, samples):
    first = run(tmp_path, samples, Work(bad=("3",)))
    assert isinstance(first[3], FailedSample)
    work = Work()
    assert isinstance(run(tmp_path, samples, work)[3], EncodedSample)
    assert work.decoded == ["3"]


@pytest.mark.parametrize("lost", [1, 5, 40, 70, 100, 200])
def test_a_torn_end_costs_only_what_it_held(tmp_path, samples, lost):
    whole = run(tmp_path, samples, Work())
    path = tmp_path / "out.resume"
    size = path.stat().st_size
    os.truncate(path, size - lost)
    work = Work()
    assert run(tmp_path, samples, work) == whole
    assert 1 <= len(work.decoded) <= 1 + lost // 70
    assert path.stat().st_size == size


def test_damage_anywhere_never_comes_through(tmp_path, samples):
    whole = run(tmp_path, samples, Work())
    path = tmp_path / "out.resume"
    sound = path.read_bytes()
    header = len(sound) - sum(88 + len(result.chunk) for result in whole)
    for place in range(header, len(sound), 5):
        content = bytearray(sound)
        content[place] ^= 0x55
        path.write_bytes(content)
        assert run(tmp_path, samples, Work()) == whole, f"byte {place}"
    for place in range(0, header, 5):
        content = bytearray(sound)
        content[place] ^= 0x55
        path.write_bytes(content)
        with pytest.raises(OutputError, match="not a journal of this run"):
            run(tmp_path, samples, Work())


def test_another_identity_is_not_touched(tmp_path, samples):
    run(tmp_path, samples, Work(), stop_after=6)
    kept = (tmp_path / "out.resume").read_bytes()
    with pytest.raises(OutputError, match="not a journal of this run"):
        run(tmp_path, samples, Work(), identity={**IDENTITY, "compression": "small"})
    assert (tmp_path / "out.resume").read_bytes() == kept


def test_a_torn_header_is_begun_anew(tmp_path, samples):
    run(tmp_path, samples, Work())
    sound = (tmp_path / "out.resume").read_bytes()
    for size in (0, 3, 20, 40):
        os.truncate(tmp_path / "out.resume", size)
        run(tmp_path, samples, Work())
        assert (tmp_path / "out.resume").read_bytes() == sound


def test_a_chunk_larger_than_any_image_ends_what_is_kept(tmp_path, samples):
    run(tmp_path, samples, Work(), stop_after=6)
    with (tmp_path / "out.resume").open("ab") as file:
        head = journals._HEAD.pack(6, 1, 1, 1, bytes(32), bytes(16), 1 << 40, 0)
        file.write(head + zlib.crc32(head).to_bytes(4, "little"))
        file.truncate(1 << 41)
    work = Work()
    run(tmp_path, samples, work)
    assert work.decoded == list(map(str, range(6, 12)))


def test_only_this_user_can_write_a_journal(tmp_path, samples):
    run(tmp_path, samples, Work(), stop_after=6)
    assert (tmp_path / "out.resume").stat().st_mode & 0o777 == 0o600


def others_may_write(path: Path, monkeypatch) -> None:
    path.chmod(0o620)


def has_another_name(path: Path, monkeypatch) -> None:
    os.link(path, path.with_name("link"))


def is_of_another_user(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


@pytest.mark.parametrize("made", [others_may_write, has_another_name, is_of_another_user])
def test_a_journal_that_others_could_have_written_is_refused(tmp_path, samples, monkeypatch, made):
    run(tmp_path, samples, Work(), stop_after=6)
    path = tmp_path / "out.resume"
    kept = path.read_bytes()
    made(path, monkeypatch)
    with pytest.raises(OutputError, match="belongs to another user, or others can write to it"):
        run(tmp_path, samples, Work())
    assert path.read_bytes() == kept


def test_nothing_finished_leaves_no_file(tmp_path, samples):
    run(tmp_path, samples, Work(bad=tuple(map(str, range(12)))))
    assert not (tmp_path / "out.resume").exists()


@pytest.mark.parametrize("content", [b"my notes", b"int8cal JOURNAL 1\n"])
def test_files_of_others_are_not_touched(tmp_path, samples, content):
    path = tmp_path / "out.resume"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="not a journal"):
        run(tmp_path, samples, Work())
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("kind", "named"), [("symlink", "a link"), ("folder", "a folder"), ("pipe", "a named pipe"), ("socket", "a socket")]
)
def test_only_regular_files_are_used(tmp_path, samples, monkeypatch, kind, named):
    path = tmp_path / "out.resume"
    (tmp_path / "other").write_bytes(b"")
    if kind == "symlink":
        path.symlink_to(tmp_path / "other")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    with pytest.raises(OutputError, match=f"is not a regular file but {named}"):
        run(tmp_path, samples, Work())
    assert (tmp_path / "other").read_bytes() == b""


def test_every_identity_has_its_own_name(tmp_path):
    out = str(tmp_path / "c.tensor")
    first = journal_path(out, IDENTITY)
    assert re.fullmatch(r"c\.tensor\.[0-9a-f]{16}\.resume", os.path.basename(first))
    for other in ({"compression": "small"}, {"plan_sha256": "cd" * 32}, {"isal": "1"}):
        assert journal_path(out, {**IDENTITY, **other}) != first
    longest = journal_path(str(tmp_path / ("é" * 127)), IDENTITY)
    assert len(os.fsencode(os.path.basename(longest))) <= 255
