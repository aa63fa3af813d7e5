"""Calibration caches that cost nothing to write and much to read: refused, within a second and 200 MB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile.command import MEBIBYTES, assert_refused, measure

from int8cal.tensorrt.cache import MAX_BYTES, MAX_NAME, MAX_TENSORS

HEADER = "TRT-100300-EntropyCalibration2\n"
JSON = '{"version": 100300, "algorithm": "EntropyCalibration2", "amax": '
SIZE = MAX_BYTES - 200


def lines(count: int, name: str = "t") -> str:
    return HEADER + "".join(f"{name}{number}: 3c008f10\n" for number in range(count))


def repeated(value: str) -> str:
    return JSON + "[" + ",".join([value] * (SIZE // (len(value) + 1))) + "]}"


HOSTILE: dict[str, Callable[[], str]] = {
    "a name of 60 MB": lambda: HEADER + "a" * 60_000_000 + ": 3c008f10\n",
    "a name of 4 MB": lambda: HEADER + "a" * SIZE + ": 3c008f10\n",
    "a name of 4 MB twice in JSON": lambda: JSON + "{" + ",".join(['"' + "a" * (SIZE // 2 - 50) + '": 1'] * 2) + "}}",
    "a line without end": lambda: HEADER + "a" * SIZE,
    "1.5 million tensors": lambda: lines(1_500_000),
    "a few tensors too many": lambda: lines(MAX_TENSORS + 1),
    "empty lines": lambda: HEADER + "\n" * SIZE,
    "too many tensors in JSON": lambda: JSON + "{" + ",".join(f'"{n:x}":1' for n in range(SIZE // 9)) + "}}",
    "lists in JSON": lambda: repeated("[]"),
    "objects in JSON": lambda: repeated("{}"),
    "nested lists in JSON": lambda: JSON + "[" * SIZE,
    "a list for a range": lambda: JSON + '{"a": [' + ",".join(["1.5"] * (SIZE // 4)) + "]}}",
    "numbers of 4299 digits": lambda: JSON + "{" + ",".join(f'"{n}": {"9" * 4299}' for n in range(900)) + "}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_costly_cache_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text(HOSTILE[name]())

    said = assert_refused(7, "cache", "show", "cal.bin", cwd=tmp_path)

    assert "cal.bin" in said
    assert len(said) < 1000


def test_as_many_tensors_as_may_be_are_shown_and_converted(tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text(lines(MAX_TENSORS, "/model/stage3/layer/conv1/Conv_output_"))

    shown = measure("cache", "show", "cal.bin", cwd=tmp_path)
    for source, output in (("cal.bin", "cal.json"), ("cal.json", "again.bin")):
        assert measure("cache", "convert", source, output, cwd=tmp_path).code == 0

    assert f"/Conv_output_{MAX_TENSORS - 1} " in shown.said
    assert shown.mebibytes < MEBIBYTES
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "cal.bin").read_bytes()


def test_a_long_name_is_shortened_for_the_terminal_only(tmp_path: Path) -> None:
    name = "start" + "x" * (MAX_NAME - 8) + "end"
    (tmp_path / "cal.bin").write_text(f"{HEADER}{name}: 3c008f10\n")
    (tmp_path / "other.bin").write_text(f"{HEADER}b: 3c008f10\n")

    for command in (["show", "cal.bin"], ["diff", "cal.bin", "other.bin"], ["diff", "other.bin", "cal.bin"]):
        said = measure("cache", *command, cwd=tmp_path).said
        assert "start" in said
        assert "xend" in said
        assert max(map(len, said.splitlines())) < 250
        assert name in measure("cache", *command, "--json", cwd=tmp_path).said
