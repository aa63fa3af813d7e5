"""The lossless reader: bytes kept, places right, edits in place."""

from __future__ import annotations

import pytest

from int8cal.io.safe_text import shown
from int8cal.spec.document import Edit
from int8cal.spec.prototext.text import MAX_DEPTH, Scalar, Section, SpecText, quote

TEXT = """# comment
seed: 42
data {
  source { path: "a" }
  source: < path: 'b' "c" >
  weights: [1, 2.5]
}
data { source [{path: "d"}, {}] }
"""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a: 1\r\nb: 2\r\n",
        b"\xef\xbb\xbfa: 1",
        b"a: 1\x00\x00",
        b"\xff\xfe\x80 a",
        b'a: "unclosed\n}}} ]',
        "a: 'é\u2028\U0001f600'".encode(),
        bytes(range(256)),
    ],
)
def test_every_file_comes_back_byte_for_byte(data: bytes) -> None:
    assert SpecText.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("seed", (2, 1)),
        ("data", (8, 1)),
        ("data.source[0]", (4, 3)),
        ("data.source[0].path", (4, 12)),
        ("data.source[1].path", (5, 13)),
        ("data.weights[1]", (6, 16)),
        ("data.source[2]", (8, 16)),
        ("data.source[2].path", (8, 17)),
        ("data.source[4]", None),
        ("data.nothing.path", None),
        ("seed.inner", None),
    ],
)
def test_a_field_path_leads_to_its_line_and_column(path: str, position: tuple[int, int] | None) -> None:
    assert SpecText.from_str(TEXT).position(path) == position


@pytest.mark.parametrize("path", ["", "a..b", "a[x]", "a[", ".a"])
def test_what_is_no_field_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no field path"):
        SpecText.from_str(TEXT).find(path)


def test_of_a_field_written_twice_the_last_counts() -> None:
    assert SpecText.from_str("a: 1\na: 2").position("a") == (2, 1)


def test_columns_count_characters_and_lines_end_with_line_feeds_only() -> None:
    text = SpecText.from_str("a: 'é\u2028' b: 1\rc: 2\r\nd: 3")
    assert [text.position(name) for name in "abcd"] == [(1, 1), (1, 9), (1, 14), (2, 1)]
    end = text.text.index("\n")
    assert text.line_at(2) == text.line_at(end) == "a: 'é\u2028' b: 1\rc: 2\r"
    assert text.line_at(end + 1) == text.line_at(len(text.text)) == "d: 3"


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ("'b' \"c\"", "bc"),
        (r'"tab\tquote\"hex\x41octal\101"', 'tab\tquote"hexAoctalA'),
        (r'"C:\data\kitti"', r"C:\data\kitti"),
        (r'"\303\251"', "é"),
        (r'"\377"', "\udcff"),
        ("word", None),
        ("12", None),
        (r'"\x"', None),
        ("'raw byte \udcff'", None),
    ],
)
def test_strings_are_read_as_protobuf_reads_them(written: str, content: str | None) -> None:
    text = SpecText.from_str(f"a: {written}")
    value = text.root.fields[0].values[0]
    assert isinstance(value, Scalar)
    assert text.string(value) == content


@pytest.mark.parametrize(
    "content", ["", "plain", "a\"b'c\\d", "données/日本", "\x1b[2J\n\t\0", "\u202eevil", "\udcff raw"]
)
def test_a_quoted_string_reads_back_and_holds_nothing_that_acts_on_a_terminal(content: str) -> None:
    written = quote(content)
    text = SpecText.from_str(f"a: {written}")
    value = text.root.fields[0].values[0]
    assert isinstance(value, Scalar)
    assert text.string(value) == content
    assert written.isprintable()


def test_edits_change_their_parts_and_keep_the_rest() -> None:
    text = SpecText.from_bytes(b"a: 1 # \xff\r\nb: 2\r\n")
    a, b = (field.values[0] for field in text.root.fields)
    edited = text.with_edits([Edit(b.start, b.end, "two"), Edit(a.start, a.end, "one"), Edit(0, 0, "# new\n")])
    assert edited.to_bytes() == b"# new\na: one # \xff\r\nb: two\r\n"
    assert edited.position("b") == (3, 1)


@pytest.mark.parametrize("edits", [[Edit(0, 3, ""), Edit(2, 4, "")], [Edit(2, 99, "")], [Edit(3, 1, "")]])
def test_edits_that_overlap_or_lie_outside_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        SpecText.from_str("a: 1\n").with_edits(edits)


def test_parts_know_what_they_are() -> None:
    text = SpecText.from_str("a { b: 1 } c: [x, {}] ,")
    a, c = text.root.fields
    assert isinstance(a.values[0], Section)
    assert text[a] == "a { b: 1 }"
    assert text[c] == "c: [x, {}]"
    assert c.listed
    assert [text[value] for value in c.values] == ["x", "{}"]


@pytest.mark.parametrize(
    ("written", "place", "reason"),
    [
        ("a 1", 2, 'expected ":", got 1'),
        ("a: ", 3, "expected a value, the file ends"),
        ("a: -", 3, "expected a value, got -"),
        ("a: [1", 5, 'expected "]", the file ends'),
        ("a: [1,]", 6, "expected a value, got ]"),
        ("x { a: 1", 2, "this { is never closed"),
        ("x { a: 1 >", 9, "expected a field name, got >"),
        ("a: 'x", 3, "this string has no closing quote on its line"),
        ("a: 1 }", 5, "expected a field name, got }"),
        ("a: 1 \x1b", 5, "expected a field name, got \\x1b"),
        ("'a': 1", 0, "expected a field name, got 'a'"),
    ],
)
def test_what_stops_the_reader_is_kept_with_its_place(written: str, place: int, reason: str) -> None:
    text = SpecText.from_str(written)
    assert text.problem is not None
    assert (text.problem.offset, text.problem.reason) == (place, reason)
    assert text.root.fields == ()


def test_the_depth_limit_is_exact() -> None:
    def nested(depth: int) -> SpecText:
        return SpecText.from_str("a {" * depth + "}" * depth)

    assert nested(MAX_DEPTH).problem is None
    problem = nested(MAX_DEPTH + 1).problem
    assert problem is not None
    assert problem.reason == "nested more than 64 deep"


def test_text_for_messages_is_short_and_harmless() -> None:
    assert shown("a\x1b[2J" + "x" * 200, 10) == "a\\x1b[2Jxxxxx…"


def test_lines_far_into_a_text_are_counted_in_blocks_as_by_hand() -> None:
    text = SpecText.from_str("".join(f"{'#' * (number * 37 % 9000)}\na: {number}\n" for number in range(300)))
    for field in text.root.fields:
        before = text.text[: field.start]
        assert text.line_column(field.start) == (before.count("\n") + 1, len(before) - before.rfind("\n"))


def test_code_lines_leave_out_what_holds_no_token() -> None:
    source = "# a\n\n  a: '#b' # c\n#\n b {\n\n c: 'd' 'e'} #"
    text = SpecText.from_str(source)
    lines = list(text.code_lines())
    assert [line for _, line in lines] == ["  a: '#b'", " b {", " c: 'd' 'e'}"]
    assert all(source.startswith(line, start) for start, line in lines)
    assert list(SpecText.from_str("# a\n ").code_lines()) == []


def test_a_backslash_does_not_carry_a_string_over_the_end_of_its_line() -> None:
    problem = SpecText.from_str('a: "b\\\nc"').problem
    assert problem is not None
    assert (problem.offset, problem.reason) == (3, "this string has no closing quote on its line")


def test_a_field_ends_before_its_separator() -> None:
    a, b, c = SpecText.from_str("a: 1 # x, y\n ; b: 2, c: 3").root.fields
    assert [(one.end, one.separated) for one in (a, b, c)] == [(4, 14), (19, 20), (25, 25)]
