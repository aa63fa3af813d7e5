from __future__ import annotations

import os
import subprocess

import pytest

from int8cal.io.safe_text import MAX_SHOWN, first_line, printable, shell_word, short_repr, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain/name.png", "plain/name.png"),
        ("Straße/画像 7.png", "Straße/画像 7.png"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r\t", "two\\x0alines\\x0d\\x09"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\x9b\U000e0001", "\\u009b\\U000e0001"),
    ],
)
def test_harmful_characters_are_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode("utf-8")


@pytest.mark.parametrize(
    "name", ["a b", "it's", "$x", "odd\udcff\n.tensor", "it's\\\x07", "\x85\xad", "\u202egnp", "\U000e0001", "映像\t"]
)
def test_a_word_is_the_name_for_a_shell(name: str) -> None:
    word = shell_word(name)
    assert printable(word) == word
    done = subprocess.run(
        ["bash", "-c", f"printf %s {word}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert os.fsdecode(done.stdout) == name


def test_what_is_too_long_keeps_its_start_and_end() -> None:
    text = "begin" + "x" * 2_000_000 + "end"
    shown = shortened(text)
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert len(shown) < MAX_SHOWN + 50
    assert "(1998008 characters)" in shown
    assert shortened("x" * MAX_SHOWN) == "x" * MAX_SHOWN
    assert shortened("abcdefg", 3) == "a … (4 characters) … fg"


def test_a_value_of_any_length_fits_a_line() -> None:
    assert short_repr("a") == "'a'"
    shown = short_repr(["x"] * 100_000)
    assert len(shown) < 120
    assert shown.startswith("['x', ")
    assert shown.endswith("'x']")


@pytest.mark.parametrize(
    ("text", "line"), [("one", "one"), ("\n one\ntwo", "one"), ("one\r\ntwo", "one"), (" \n", "KeyboardInterrupt")]
)
def test_the_first_line_of_an_error_is_never_empty(text: str, line: str) -> None:
    assert first_line(KeyboardInterrupt(text)) == line
