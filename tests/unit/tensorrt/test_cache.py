"""TensorRT calibration caches: the text, the numbers, and text that is none."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int8cal.errors import UsageError, UseError
from int8cal.tensorrt.cache import (
    MAX_NAME,
    MAX_TENSORS,
    CalibrationCache,
    diff,
    dumps,
    dumps_json,
    from_json,
    loads,
    read_cache,
    to_json,
    version_number,
)

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1)


def test_text_is_what_tensorrt_writes() -> None:
    cache = CalibrationCache({"images": 1.0, "(Unnamed Layer* 64) [Shuffle]_output: 0": 127.0}, version_number("8.5.1"))

    assert dumps(cache) == (
        "TRT-8501-EntropyCalibration2\nimages: 3c010204\n(Unnamed Layer* 64) [Shuffle]_output: 0: 3f800000\n"
    )


def test_a_value_from_a_published_cache_means_what_its_network_saw() -> None:
    # Line of a YOLOv8 calibration cache shown in ultralytics issue 14121; its input is in [0, 1].
    cache = loads("TRT-101401-EntropyCalibration2\nimages: 3c010a14\n")

    assert cache.amax["images"] == pytest.approx(1.0, abs=1e-3)
    assert cache.release == "10.14.1"


@pytest.mark.parametrize(
    ("release", "number"),
    [
        *[
            ("7.1.3", 7103),
            ("8.5.1", 8501),
            ("8.6.1.6", 8601),
            ("9.3.0", 9300),
            ("10.3.0", 100300),
            ("10.14.1", 101401),
        ],
        *[("8.6.1.post1", 8601), ("10.0.0b6", 100000), ("9.2.0.post12.dev5", 9200)],  # what pip calls it
        *[("10.3.0.30-1+cuda12.5", 100300), ("8.6.1.6-1+cuda12.0", 8601), ("8.2.1-1+cuda10.2", 8201)],  # what dpkg does
    ],
)
def test_version_in_the_header_is_that_of_the_release(release: str, number: int) -> None:
    assert version_number(release) == number
    assert CalibrationCache({}, number).release.startswith(".".join(release.split(".")[:2]))


@pytest.mark.parametrize(
    "release",
    [
        "8.5.1-",
        "8.5.1.",
        "8.5.1+cuda11",
        "8.5.1.6.7",
        "8.5-1+cuda11.4",
        "8.5.1 ",
        "",
        "ten",
        "8.x.0",
        "8.10.0",
        "-8.5.1",
        "8501",
        "0.1.0",
        "6.0.1",
        "08.5.1",
        "8.06.1",
        "１0.3.0",
        "8.5.1\n",
    ],
)
def test_what_is_no_release_is_a_usage_error(release: str) -> None:
    with pytest.raises(UsageError):
        version_number(release)


@pytest.mark.parametrize("release", ["8", "10", "8.5", "10.3"])
def test_a_release_without_its_patch_is_not_taken_for_patch_0(release: str) -> None:
    with pytest.raises(UsageError, match=r"X\.Y\.Z\n.*tensorrt\.__version__"):
        version_number(release)


@pytest.mark.parametrize("release", ["11", "11.0.0", "12.1.0"])
def test_releases_without_caches_get_the_model_instead(release: str) -> None:
    with pytest.raises(UsageError, match=r"TensorRT 1[12] has no calibration caches\n.*Q/DQ model"):
        version_number(release)


@given(st.dictionaries(NAMES, st.floats(1e-30, 1e30)))
def test_what_is_written_reads_back_to_a_millionth(amax: dict[str, float]) -> None:
    cache = CalibrationCache(amax, 100300)

    read = loads(dumps(cache))

    assert list(read.amax) == list(amax)
    assert read.amax == pytest.approx(amax, rel=1e-6)
    assert dumps(read) == dumps(cache)


def test_tensors_without_range_are_left_out_and_impossible_ones_refused() -> None:
    least = 127 * 2.0**-149
    cache = CalibrationCache({"dead": 0.0, "faint": 8.8e-44, "x": 1.0, "least": least}, 8501)
    assert loads(dumps(cache)).amax == {"x": pytest.approx(1.0), "least": least}
    assert cache.without_scale == ("dead", "faint")
    assert cache.without_range == ("dead", "faint", "least")
    assert not CalibrationCache({"dead": 0.0, "least": least}, 8501).has_ranges
    for amax in (-1.0, float("nan"), float("inf"), 1e300, -1e-60):
        with pytest.raises(UseError, match="no usable range"):
            dumps(CalibrationCache({"x": amax}, 8501))
    with pytest.raises(UseError, match="cannot be written"):
        dumps(CalibrationCache({"a\nb": 1.0}, 8501))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["a" * (MAX_NAME + 1)], id="a long name"),
        pytest.param([f"t{number}" for number in range(MAX_TENSORS + 1)], id="many tensors"),
        pytest.param([f"{number:04}" + "a" * 4000 for number in range(1100)], id="many bytes"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(names: list[str]) -> None:
    cache = CalibrationCache(dict.fromkeys(names, 1.0), 100300)

    for write in (dumps, dumps_json):
        with pytest.raises(UseError, match=r"calibration cache\n.*[Gg]o without the cache"):
            write(cache)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "cal.bin:"),
        ("TRT-8501-EntropyCalibration2 x\n", "cal.bin:"),
        ("<html>", "cal.bin:"),
        ("TRT-8501-EntropyCalibration2\nno separator\n", "cal.bin:2"),
        ("TRT-8501-EntropyCalibration2\nx: 3c0000000\n", "cal.bin:2"),
        ("TRT-8501-EntropyCalibration2\nx: \n", "cal.bin:2"),
        ("1 x\n", "cal.bin:"),
        ("2\nx: 3f800000\n", "cal.bin:"),
        ("TRT-8501-EntropyCalibration2\nx: 3f80_000\n", "cal.bin:2"),
        ("TRT-8501-EntropyCalibration2\nx: 3f800000\n\nx: 3f800000\n", "cal.bin:4"),
    ],
)
def test_damaged_text_is_named_with_its_line(text: str, place: str) -> None:
    with pytest.raises(UseError) as caught:
        loads(text, "cal.bin")
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize("kept", range(1, 8))
def test_a_file_that_was_cut_off_within_its_last_number_is_damaged(kept: int) -> None:
    text = dumps(CalibrationCache({"images": 1.0, "scores": 0.99}, version_number("8.5.1")))

    with pytest.raises(UseError, match=r"cal\.bin:3: the file ends within the last number"):
        loads(text[: kept - 9], "cal.bin")
    assert loads(text.removesuffix("\n")) == loads(text)


@given(st.text())
def test_any_text_gives_a_cache_or_an_error_of_ours(text: str) -> None:
    for head in ("", "TRT-8501-EntropyCalibration2\n"):
        with contextlib.suppress(UseError):
            loads(head + text)


def test_files_that_are_binary_too_large_or_missing_are_errors(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"TRT-8501-EntropyCalibration2\n\xff\xfe: 3f800000\n")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    for name in ("binary", "large", "missing"):
        with pytest.raises(UseError):
            read_cache(tmp_path / name)


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UseError, match="regular file"):
        read_cache(tmp_path / "pipe")


@pytest.mark.parametrize(
    "changes",
    [
        {"amax": {"x": 10**400}},
        {"amax": {"x": 1e39 * 127}},
        {"amax": {"x": -1}},
        {"amax": {"x": math.nan}},
        {"amax": {"x": True}},
        {"amax": {"\ud800": 1.0}},
        {"amax": {"a\nb: 3f800000": 1.0}},
        {"version": True},
        {"version": 100},
        {"algorithm": 1},
    ],
)
def test_json_with_impossible_values_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "cal.json").write_text(
        json.dumps({"version": 100300, "algorithm": "EntropyCalibration2", "amax": {"x": 1.0}} | changes)
    )
    with pytest.raises(UseError):
        read_cache(tmp_path / "cal.json")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"version": 100300, "algorithm": "EntropyCalibration2", "amax": {"a": 1.0, "b": 1.0, "a": 1.0}}', "a"),
        ('{"version": 8501, "version": 100300, "algorithm": "EntropyCalibration2", "amax": {}}', "version"),
    ],
)
def test_what_json_lists_twice_is_refused_as_in_text(text: str, name: str) -> None:
    with pytest.raises(UseError, match=rf"^cal\.json: '{name}' is listed twice"):
        from_json(text, "cal.json")


def test_the_largest_scale_survives_json() -> None:
    cache = loads("TRT-8501-EntropyCalibration2\nx: 7f7fffff\n")
    assert from_json(json.dumps(to_json(cache))) == cache


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "cal.bin").write_bytes(b"TRT-8501-EntropyCalibration2\r\nx: 3f800000\r\n")
    assert read_cache(tmp_path / "cal.bin").amax == {"x": 127.0}


HEX = [("images", 0x3CAA54FC), ("(Unnamed Layer* 12) [Shuffle]_output", 0), ("small", 0x1F), ("add_3", 0x3CBE52AF)]


def test_values_without_leading_zeros_are_read_as_tensorrt_writes_them() -> None:
    cache = loads("TRT-8401-EntropyCalibration2\n" + "".join(f"{name}: {bits:x}\n" for name, bits in HEX))

    scales = {name: struct.unpack(">f", bits.to_bytes(4, "big"))[0] for name, bits in HEX}
    assert cache.amax == {name: scale * 127 for name, scale in scales.items()}
    assert cache.without_scale == ("(Unnamed Layer* 12) [Shuffle]_output",)
    assert cache.unusable == {}


@pytest.mark.parametrize(
    ("line", "version", "header"),
    [
        ("TRT-8XXX-EntropyCalibration2", None, "TRT-8XXX-EntropyCalibration2"),
        ("TRT-8.6.1.6-EntropyCalibration2", 8601, "TRT-8.6.1.6-EntropyCalibration2"),
        ("TRT-10.3.0.30-1+cuda12.5-EntropyCalibration2", 100300, "TRT-10.3.0.30-1+cuda12.5-EntropyCalibration2"),
        ("TRT-12.0.0-MinMaxCalibration", None, "TRT-12.0.0-MinMaxCalibration"),
        ("1", None, "1"),
    ],
)
def test_headers_that_tensorrt_would_not_take_are_read_and_mended(line: str, version: int | None, header: str) -> None:
    cache = loads(f"{line}\nx: 3f800000\n")

    assert (cache.version, cache.header, cache.amax) == (version, header, {"x": 127.0})
    assert cache.no_reader is not None
    with pytest.raises(UseError, match="--trt_version"):
        dumps(cache)
    mended = replace(cache, version=version_number("10.3.0"), first_line=None)
    assert mended.no_reader is None
    assert dumps(mended).endswith("\nx: 3f800000\n")


def test_impossible_ranges_are_all_named_and_nothing_is_written_of_them() -> None:
    impossible = {"inf": "7f800000", "minus": "ff800000", "nan": "7fc00000", "neg": "bf800000", "-0": "80000000"}
    lines = "".join(f"{name}: {bits}\n" for name, bits in {"x": "3f800000", **impossible, "max": "7f7fffff"}.items())
    cache = loads(f"TRT-8501-EntropyCalibration2\n{lines}")

    assert set(cache.unusable) == {*impossible, "max"}
    for write in (dumps, dumps_json):
        with pytest.raises(UseError, match="no usable range"):
            write(cache)
    assert diff(cache, cache).equal


def test_thresholds_of_quantisation_aware_training_are_no_scales() -> None:
    cache = from_json('{"tensor_scales": {"input_1": 2.5, "dead": 0, "broken": Infinity, "off": -1}}')

    assert cache.amax == {"input_1": 2.5, "dead": 0.0, "broken": math.inf, "off": -1.0}
    assert (cache.version, list(cache.unusable)) == (None, ["broken", "off"])
    with pytest.raises(UseError, match="--trt_version"):
        dumps_json(cache)
    for text in ('{"tensor_scales": {"a": "1"}}', '{"tensor_scales": [1]}', '{"tensor_scales": {"a": true}}', "{}"):
        with pytest.raises(UseError):
            from_json(text)


def test_diff_names_what_differs() -> None:
    first = CalibrationCache({"a": 1.0, "b": 2.0, "c": 3.0}, 8501)
    second = CalibrationCache({"a": 1.0 + 1e-8, "b": 2.1, "d": 4.0}, 100300)

    found = diff(first, second)

    assert (found.same, found.changed) == (1, {"b": (2.0, 2.1)})
    assert (found.only_first, found.only_second) == (("c",), ("d",))
    assert not found.equal
    assert diff(first, first).equal
