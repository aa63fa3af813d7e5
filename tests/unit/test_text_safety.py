from __future__ import annotations

import os

import pytest

from int8cal.text_safety import printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain/name.png", "plain/name.png"),
        ("Straße/画像 7.png", "Straße/画像 7.png"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r\t", "two\\x0alines\\x0d\\x09"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\x9b\U000e0001", "\\x9b\\U000e0001"),
    ],
)
def test_harmful_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode("utf-8")


def test_a_text_that_no_path_is_as_long_as_keeps_its_beginning_and_end() -> None:
    assert shortened("a" * 4096) == "a" * 4096
    assert shortened("ab" + "x" * 1_000_000 + ":12:5") == "ab" + "x" * 298 + " … " + "x" * 95 + ":12:5"
