"""Specs made to cost time or memory: both stay in proportion to the text.

Time is that of this process alone, and the limits are five times what a slow machine took, so that they hold on a busy
one; what they guard against took from ten seconds to for ever. The largest texts that are read are for
``make test-extended``; an eighth of them costs an eighth.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.memory import PEAK_MIB

from int8cal.errors import SpecError
from int8cal.spec.prototext.check import check
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.find import root_of_text
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText
from int8cal.spec.yaml import looks_like_yaml
from int8cal.spec.yaml.text import MAX_BYTES

DETECTNET = "int8cal.detectnet_v2.Experiment"
SOUND = "random_seed: 5\nbbox_rasterizer_config { deadzone_radius: 0.5 }\n"
UNKNOWN = "random_sed: 5\n"
MIB = 1 << 20
SHARES = pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.extended)])
"""By which the size of a text is divided."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Processor time of what is inside."""
    start = time.process_time()
    yield
    assert time.process_time() - start < seconds


def read(source: str) -> PrototextSpec:
    text = SpecText.from_str(source)
    return parse(text, "s.txt", root_of_text(text, "s.txt"))


@pytest.mark.parametrize("length", [10, 24, 1000, 1_000_000])
@pytest.mark.parametrize("lines", [1, 3])
def test_banners_of_number_signs(length: int, lines: int) -> None:
    banner = f"{'#' * length}\n" * lines
    with at_most(1):
        assert read(f"{banner}{SOUND}{banner}").message.random_seed == 5
    with at_most(1), pytest.raises(SpecError, match="unknown field"):
        parse(SpecText.from_str(f"{UNKNOWN}{banner}{SOUND}"), "s.txt", DETECTNET)


COMMENTS = {
    "one sign a line": ("#\n", 4 * MIB),
    "one line": ("#", 15 * MIB),
    "one line of words": ("# ", 7 * MIB),
    "empty lines": ("\n", 8 * MIB),
    "lines of a space": (" \n", 7 * MIB),
    "spaces": (" ", 15 * MIB),
}


@SHARES
@pytest.mark.parametrize(("text", "times"), COMMENTS.values(), ids=COMMENTS)
def test_text_that_says_nothing(text: str, times: int, share: int) -> None:
    comment = text * (times // share)
    with at_most(3):
        assert read(f"{SOUND}{comment}").message.random_seed == 5
    with at_most(3), pytest.raises(SpecError) as caught:
        parse(SpecText.from_str(f"{SOUND}{comment}\n{UNKNOWN}"), "s.txt", DETECTNET)
    assert caught.value.where == f"s.txt:{comment.count(chr(10)) + 4}:1"
    with at_most(3), pytest.raises(SpecError, match="parse integer") as caught:
        read(f"{SOUND}{comment}\n  random_seed: five")
    assert caught.value.where == f"s.txt:{comment.count(chr(10)) + 4}:16"


@SHARES
@pytest.mark.parametrize("end", ["", "\n", '"\n', "\\\n"])
def test_a_string_of_backslashes(end: str, share: int) -> None:
    with at_most(2), pytest.raises(SpecError):
        read(f'{SOUND}dataset_config {{ image_extension: "{chr(92) * (8 * MIB // share + 1)}{end}')


@SHARES
@pytest.mark.parametrize(("begin", "value", "end"), [("", '"" ', ""), ("[", "true,", "true]")], ids=["strings", "list"])
def test_very_many_values_of_one_field(begin: str, value: str, end: str, share: int) -> None:
    values = begin + value * (2_000_000 // share) + end
    with at_most(2), pytest.raises(SpecError, match="more than 50000 fields and values"):
        read(f"{SOUND}dataset_config {{ image_extension: {values} }}")


@pytest.mark.parametrize(
    "source",
    [
        '"#\\n" * (4 << 20)',
        *(
            pytest.param(source, marks=pytest.mark.extended)
            for source in ('"\\n" * (8 << 20)', '"x: \\"" + chr(92) * (8 << 20)', '"x: " + "\'\' " * 2_000_000')
        ),
    ],
)
def test_the_memory_is_a_few_times_the_text(source: str) -> None:
    script = (
        PEAK_MIB
        + f"source = 'random_seed: 5\\n' + {source}\n"
        + "from int8cal.errors import SpecError\n"
        + "from int8cal import networks\n"
        + "from int8cal.spec.prototext.load import parse\n"
        + "from int8cal.spec.prototext.text import SpecText\n"
        + "networks.load_schemas()\n"
        + "before = peak_mib()\n"
        + "try:\n"
        + f"    parse(SpecText.from_str(source), 's', {DETECTNET!r})\n"
        + "except SpecError:\n"
        + "    pass\n"
        + "print(peak_mib() - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 64


@pytest.mark.parametrize("name", ["unknown", "random_sed"])
@pytest.mark.parametrize("section", ["", "training_config"])
@SHARES
def test_very_many_unknown_fields(name: str, section: str, share: int) -> None:
    many = 20_000 // share
    fields = "".join(f"{name}_{number}: 1\n" for number in range(many))
    source = SOUND + (f"{section} {{\n{fields}}}" if section else fields)
    with at_most(10), pytest.raises(SpecError):
        read(source)
    with at_most(3), pytest.raises(SpecError, match=f"unknown field .{name}_0.") as caught:
        parse(SpecText.from_str(source), "s.txt", DETECTNET)
    assert f"and {many - 4} others" in str(caught.value.hint)


@SHARES
def test_very_many_legacy_values(share: int) -> None:
    many = 20_000 // share
    values = "dbscan_min_samples: 0.05\n" * many
    with at_most(5):
        spec = read(
            f"{SOUND}postprocessing_config {{ target_class_config {{ value {{ clustering_config {{\n{values}}}}}}}}}"
        )
    (warning,) = spec.warnings
    assert warning.endswith(f"also at 5:1, 6:1, 7:1 and {many - 4:,} more places")


@SHARES
@pytest.mark.parametrize("in_one_section", [True, False])
def test_very_many_data_sources_and_their_places(in_one_section: bool, share: int) -> None:
    many = 5000 // share
    sections = 1 if in_one_section else many
    source = 'data_sources { tfrecords_path: "a" image_directory_path: "b" }\n' * (many // sections)
    with at_most(5):
        spec = read(SOUND + f"dataset_config {{\n{source}}}\n" * sections)
        assert len({spec.where(f"dataset_config.data_sources[{index}]") for index in range(many)}) == many
        check(spec)


@pytest.mark.parametrize("filling", ["\n", " ", " \n", "#\n", "a", "a:\n", "\r"], ids=repr)
def test_whether_a_text_is_yaml(filling: str) -> None:
    """Words of a YAML spec, and what could stand between a section's name and its brace."""
    text = f"results_dir: {filling * (MAX_BYTES // len(filling))}x"
    with at_most(1):
        looks_like_yaml(text.encode())
        looks_like_yaml(f"results_dir: x\na {text}".encode())
