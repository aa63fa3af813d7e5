"""Numbers written as text: arithmetic, and nothing that acts."""

from __future__ import annotations

import pytest

from int8cal.spec.prototext.check import parse_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("3", 3.0),
        (" [1.0, 2, 1.0/3.0] ", [1.0, 2.0, 1.0 / 3.0]),
        ("[[1, -2], (3,)]", [[1.0, -2.0], [3.0]]),
        ("2*(1+0.5)-1", 2.0),
        ("[]", []),
    ],
)
def test_numbers_and_lists_of_them(text: str, numbers: object) -> None:
    assert parse_numbers(text) == numbers


HOSTILE = ("-" * 1900 + "1", "(" * 1900, "1+" * 900 + "x", "1" * 2001, "1e999*0 if 1 else 2", "9**9**9", "\0")


@pytest.mark.parametrize(
    "text", ["", "a", "True", "'1'", "1/0", "[1,", "print(1)", "[x for x in (1,)]", "1j", *HOSTILE]
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_numbers(text)
