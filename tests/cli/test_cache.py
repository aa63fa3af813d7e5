"""``int8cal cache`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TEXT = "TRT-8501-EntropyCalibration2\ninput_1: 3c010204\n(Unnamed Layer* 64) [Shuffle]_output: 0: 3f800000\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "cal.bin"
    path.write_text(TEXT)
    return path


def test_show_names_release_and_ranges(run_cli: Any, cache: Path) -> None:
    done = run_cli("cache", "show", cache)

    assert done.code == 0
    assert "TensorRT 8.5.1 only" in done.stdout
    assert "(Unnamed Layer* 64) [Shuffle]_output: 0  ±127" in done.stdout

    facts = json.loads(run_cli("cache", "show", cache, "--json").stdout)["cache"]
    assert facts["amax"]["input_1"] == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("lines", ["", "x: 00000000\ny: 7f800000\n"], ids=["empty", "zero and infinite"])
def test_a_cache_without_ranges_is_good_for_nothing(run_cli: Any, cache: Path, tmp_path: Path, lines: str) -> None:
    (tmp_path / "none.bin").write_text(f"{TEXT.splitlines()[0]}\n{lines}")
    for words in (("show", "none.bin"), ("diff", "none.bin", cache), ("diff", cache, "none.bin")):
        done = run_cli("cache", *words)
        assert done.code == 0
        assert "warning: none.bin has no range of any tensor" in done.stderr
        assert "Next:" not in done.stdout
    assert "Next:" in run_cli("cache", "show", cache).stdout


def test_each_of_two_caches_without_ranges_is_named(run_cli: Any, tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_text(f"{TEXT.splitlines()[0]}\n{name}: 00000000\n")
    done = run_cli("cache", "diff", "a.bin", "b.bin")
    assert [f"warning: {name} has no range" in done.stderr for name in ("a.bin", "b.bin")] == [True, True]


def test_a_scale_below_the_least_is_no_range_for_anyone(run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "least.json").write_text(
        json.dumps({"version": 100300, "algorithm": "EntropyCalibration2", "amax": {"x": 1e-39}})
    )
    done = run_cli("cache", "show", "least.json")
    assert "warning: least.json has no range of any tensor" in done.stderr
    assert "no range" in done.stdout


def test_convert_to_json_and_back_gives_the_same_bytes(run_cli: Any, cache: Path, tmp_path: Path) -> None:
    assert run_cli("cache", "convert", cache, "cal.json").code == 0
    assert run_cli("cache", "convert", "cal.json", "again.bin").code == 0

    assert (tmp_path / "again.bin").read_text() == TEXT


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("110000", "TensorRT 11.0.0 has no calibration caches"),
        ("11401", "no TensorRT release has the number 11401"),  # how some tools count 10.14.1
    ],
)
def test_a_header_that_no_tensorrt_reads_is_shown_as_such_and_not_written(
    run_cli: Any, tmp_path: Path, number: str, reason: str
) -> None:
    (tmp_path / "cal.bin").write_text(TEXT.replace("8501", number))

    done = run_cli("cache", "show", "cal.bin")
    assert done.code == 0
    assert f"no TensorRT: {reason}" in done.stdout
    assert json.loads(run_cli("cache", "show", "cal.bin", "--json").stdout)["cache"]["no_reader"] == reason

    done = run_cli("cache", "convert", "cal.bin", "new.bin")
    assert done.code == 7
    assert reason in done.stderr
    assert not (tmp_path / "new.bin").exists()
    assert run_cli("cache", "convert", "cal.bin", "new.bin", "--trt_version", "10.14.1").code == 0


@pytest.mark.parametrize("option", ["--trt_version", "--trt-version"])
def test_header_changes_only_when_asked_for(run_cli: Any, cache: Path, tmp_path: Path, option: str) -> None:
    run_cli("cache", "convert", cache, "same.bin")
    run_cli("cache", "convert", cache, "ten.bin", option, "10.3.0")

    assert (tmp_path / "same.bin").read_text() == TEXT
    assert (tmp_path / "ten.bin").read_text() == TEXT.replace("8501", "100300")
    assert run_cli("cache", "convert", cache, "ten.bin", option, "10.3.0").code == 5
    assert run_cli("cache", "convert", cache, "eleven.bin", option, "11.0.0").code == 2


@pytest.mark.parametrize("release", ["10", "10.3"])
def test_a_header_is_never_made_of_half_a_version(run_cli: Any, cache: Path, tmp_path: Path, release: str) -> None:
    done = run_cli("cache", "convert", cache, "new.bin", "--trt_version", release)

    assert done.code == 2
    assert "tensorrt.__version__" in done.stderr
    assert not (tmp_path / "new.bin").exists()


def test_diff_says_what_changed(run_cli: Any, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "new.bin").write_text(TEXT.replace("3f800000", "3f000000").replace("input_1", "image"))

    done = run_cli("cache", "diff", cache, "new.bin")

    assert done.code == 0
    assert "output: 0: ±127 and ±63.5 (-50.00%)" in done.stdout
    assert "only in new.bin: image" in done.stdout
    assert json.loads(run_cli("cache", "diff", cache, cache, "--json").stdout)["diff"]["equal"] is True


@pytest.mark.parametrize("tolerance", ["-1", "-1e-9", "nan", "inf", "1", "x"])
def test_a_tolerance_that_is_none_is_a_usage_error(run_cli: Any, cache: Path, tolerance: str) -> None:
    done = run_cli("cache", "diff", cache, cache, f"--tolerance={tolerance}")

    assert done.code == 2
    assert "tolerance" in done.stderr
    assert done.stdout == ""
    assert run_cli("cache", "diff", cache, cache, "--tolerance", "0").code == 0


def test_hostile_names_reach_the_terminal_harmless(run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text("TRT-8501-EntropyCalibration2\n\x1b[2J<script>\u202e: 3f800000\n")

    done = run_cli("cache", "show", "cal.bin")

    assert done.code == 0
    assert "\x1b" not in done.stdout
    assert r"\x1b[2J<script>\u202e" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"version": 8501, "algorithm": "x", "amax": {"a": "b"}}',
        b'{"version": 8501, "algorithm": "x", "amax": {"a": -0.0}}',
        b"TRT-8501-EntropyCalibration2\na: 800000000\n",
        b"[" * 100_000,
        b"{" * 100_000,
    ],
)
def test_what_is_no_cache_is_an_error_with_its_place(run_cli: Any, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cal.bin").write_bytes(content)

    done = run_cli("cache", "show", "cal.bin")

    assert done.code == 7
    assert "cal.bin" in done.stderr
    assert "Traceback" not in done.stderr


def test_convert_names_the_tensors_that_it_leaves_out(run_cli: Any, tmp_path: Path) -> None:
    amax = {"input_1": 1.0, "dead": 0.0, "faint": 1e-44}
    (tmp_path / "cal.json").write_text(
        json.dumps({"version": 100300, "algorithm": "EntropyCalibration2", "amax": amax})
    )

    done = run_cli("cache", "convert", "cal.json", "cal.bin")

    assert done.stdout.splitlines()[:2] == [
        "cal.bin: TRT-100300-EntropyCalibration2, 1 tensor",
        "left out, their scale is 0, which is none: dead, faint",
    ]
    assert [line.split(maxsplit=1)[1] for line in run_cli("cache", "show", "cal.json").stdout.splitlines()[3:6]] == [
        "±1",
        "no range",
        "no range",
    ]
    facts = json.loads(run_cli("cache", "convert", "cal.json", "c.bin", "--json").stdout)["cache"]
    assert (facts["tensors"], facts["left_out"]) == (1, ["dead", "faint"])


def test_impossible_ranges_are_listed_and_left_out_of_what_is_written(run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_text("TRT-8XXX-MinMaxCalibration\na: 3f800000\nb: 7f800000\nc: 0\nd: 80000000\n")

    shown = run_cli("cache", "show", "cal.bin")
    assert shown.code == 0
    assert "2 tensors have an impossible range: b, d" in shown.stderr
    assert [line.split(maxsplit=1)[1] for line in shown.stdout.splitlines()[3:7]] == [
        "±127",
        "impossible: inf",
        "no range",
        "impossible: -0",
    ]
    facts = json.loads(run_cli("cache", "show", "cal.bin", "--json").stdout)["cache"]
    assert (facts["version"], facts["unusable"]) == (None, ["b", "d"])

    assert run_cli("cache", "convert", "cal.bin", "out.bin").code == 7
    done = run_cli("cache", "convert", "cal.bin", "out.bin", "--trt_version", "8.6.1.6-1+cuda12.0")
    assert done.code == 0
    assert "their range is impossible: b, d" in done.stdout
    assert (tmp_path / "out.bin").read_text() == "TRT-8601-MinMaxCalibration\na: 3f800000\n"


@pytest.mark.parametrize("ranges", ["input_1: 7f800000\n", "input_1: 7f800000\nfaint: 00000000\n"])
def test_a_cache_without_any_range_is_not_written(run_cli: Any, tmp_path: Path, ranges: str) -> None:
    (tmp_path / "cal.bin").write_text(f"TRT-100300-EntropyCalibration2\n{ranges}")

    done = run_cli("cache", "convert", "cal.bin", "new.bin")

    assert done.code == 7
    assert (
        "cal.bin: no tensor has a range that a cache can hold\n  Look at them: int8cal cache show cal.bin"
        in done.stderr
    )
    assert done.stdout == ""
    assert not (tmp_path / "new.bin").exists()
