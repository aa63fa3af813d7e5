"""Hostile specs: each ends with a short error that names the place, in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from int8cal.errors import Int8calError, SpecError
from int8cal.origins.experiment import read_document
from int8cal.spec import reading
from int8cal.spec.prototext.check import check
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.find import root_of_text
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import MAX_FIELDS, SpecText
from int8cal.spec.reading import MAX_BYTES, read_bytes


def read_as_detectnet(path: str) -> PrototextSpec:
    """As ``int8cal spec show --network detectnet_v2`` reads it."""
    return read_document(path, "detectnet_v2", as_asked=True)


def refusal(data: bytes | str, tmp_path: Path, reader: Callable[[str], object] | None = None) -> Int8calError:
    """The error of a file with that content; its text must be fit for a terminal."""
    path = tmp_path / "spec.txt"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(SpecError) as caught:
        (reader or read_as_detectnet)(str(path))
    error = caught.value
    assert error.exit_code == 3
    assert len(str(error).splitlines()) <= 2
    assert len(str(error)) < 1000
    assert all(line.isprintable() for line in str(error).splitlines())
    assert str(error.where).startswith(str(path))
    return error


@pytest.mark.parametrize("opening", ["a {", "dataset_config {", "dataset_config <", "a: [{"])
def test_endless_nesting(tmp_path: Path, opening: str) -> None:
    assert refusal("a {" * 3 + opening + " b {" * 100_000, tmp_path).message == "nested more than 64 deep"


def test_what_is_wrong_before_endless_nesting_is_told(tmp_path: Path) -> None:
    error = refusal("a {" * 3 + "a" + " b {" * 100_000, tmp_path)
    assert (error.message, error.where) == ('expected ":", got b', f"{tmp_path}/spec.txt:1:12")


def test_nesting_that_is_closed_again(tmp_path: Path) -> None:
    assert refusal("a {" * 65 + "}" * 65, tmp_path).where == f"{tmp_path}/spec.txt:1:195"


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "spec.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SpecError, match="larger than 16 MB"):
        read_as_detectnet(str(path))
    with pytest.raises(SpecError, match="larger than 16 MB"):
        read_as_detectnet("/dev/zero")


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "spec.txt"
    path.write_bytes(b"random_seed: 5 #".ljust(MAX_BYTES, b"x"))
    assert read_as_detectnet(str(path)).message.random_seed == 5


def test_very_many_fields(tmp_path: Path) -> None:
    assert "more than" in refusal("a:1 " * (MAX_FIELDS + 1), tmp_path).message


def test_very_many_unknown_fields_are_counted(tmp_path: Path) -> None:
    error = refusal("".join(f"unknown_{number}: 1\n" for number in range(5_000)), tmp_path)
    assert "and 4996 others" in str(error.hint)


@pytest.mark.parametrize(
    "text",
    [
        '"' * 100_000,
        "'\\" * 100_000,
        "#" * 1_000_000 + "\n}",
        "a" * 1_000_000 + ": 1",
        f"random_seed: {'9' * 100_000}",
        f"random_seed: {'x' * 1_000_000}",
        f"model_config {{ arch: {'y' * 1_000_000} }}",
        f"dataset_config {{ image_extension: {'a ' * 100_000} }}",
        "random_seed: 1 \x1b]0;owned\x07",
        "\x1b[2J: 1",
        "dataset_config { \u202eevil\u202c: 1 }",
        "training_config { regularizer { type: \x9b31m } }",
        'dataset_config { image_extension: "\\377\\376" }',
        'dataset_config { image_extension: "\\U0011ffff" }',
        "[type.googleapis.com/google.protobuf.Any] { }",
        "random_seed: 1 {",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_text_made_to_break_the_reader(tmp_path: Path, text: str) -> None:
    refusal(text, tmp_path)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", b"\x7fELF", b"\x1f\x8b\x08", b"PK\x03\x04", bytes(4096)])
def test_binary_files(tmp_path: Path, data: bytes) -> None:
    refusal(data, tmp_path)
    refusal(data, tmp_path, lambda name: root_of_text(SpecText.from_bytes(read_bytes(name)), name))


def test_a_path_with_control_characters_is_shown_harmlessly(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_as_detectnet(str(tmp_path / "\x1b[2J.txt"))
    assert "\x1b" not in str(caught.value)
    assert "\\x1b[2J.txt" in str(caught.value)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "spec.txt"
    path.touch()
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(SpecError, match="no permission to read"):
        read_as_detectnet(str(path))


def test_a_spec_that_comes_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"random_seed: 5",))
    writer.start()
    assert read_as_detectnet(str(pipe)).message.random_seed == 5
    writer.join()


def test_a_slow_writer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WRITER_SECONDS", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write(opened: int) -> None:
        for part in (b"random_", b"seed: 5"):
            time.sleep(0.2)
            os.write(opened, part)
        os.close(opened)

    both_ends = os.open(pipe, os.O_RDWR)  # a pipe opened for writing alone waits for its reader
    writer = threading.Thread(target=write, args=(both_ends,))
    writer.start()
    assert read_as_detectnet(str(pipe)).message.random_seed == 5
    writer.join()


def test_what_is_written_as_the_wait_ends_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    class LatePoll:
        """Sees nothing; a moment later there is a writer."""

        def register(self, descriptor: int, events: int) -> None:
            pass

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            pipe.write_bytes(b"random_seed: 5")
            return []

    monkeypatch.setattr("select.poll", LatePoll)
    assert read_as_detectnet(str(pipe)).message.random_seed == 5


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WRITER_SECONDS", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SpecError, match="a pipe to which no program has written") as caught:
        read_as_detectnet(str(pipe))
    assert caught.value.hint == "Start the program that writes the spec, or give a file."


def test_an_endless_pipe_is_not_read_whole() -> None:
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as zeros:
        assert zeros.stdout is not None
        with pytest.raises(SpecError, match="larger than 16 MB"):
            read_as_detectnet(f"/dev/fd/{zeros.stdout.fileno()}")
        zeros.kill()


@pytest.mark.parametrize(
    "numbers", ["(" * 1500, "-" * 1500 + "1", "1" + "+1" * 700, "[" * 1500, "9**9**9**9", "x" * 100_000]
)
def test_numbers_made_to_break_the_evaluator(numbers: str) -> None:
    text = SpecText.from_str(f"ssd_config {{ variances: '{numbers}' }}")
    found = {one.field: one.message for one in check(parse(text, "s", "int8cal.ssd.Experiment"))}
    assert "variances" in found["ssd_config.variances"]
    assert len(found["ssd_config.variances"]) < 500
