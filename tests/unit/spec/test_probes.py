"""95 small texts with what google.protobuf made of them: reading agrees, in result and place."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import pytest
from google.protobuf import text_format

from int8cal.errors import SpecError
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.schema import new_message
from int8cal.spec.prototext.text import SpecText

with (Path(__file__).parents[2] / "data" / "specs" / "text_format_probes.csv").open(
    newline="", encoding="utf-8"
) as file:
    PROBES = {probe["id"]: probe for probe in csv.DictReader(file)}

LEGACY = {"dbscan_float", "msg_given_scalar"}
"""Refused by Merge; older TAO versions wrote it, so that it is read with a warning."""

OTHER_PLACE = {
    "extension_syntax": "1:1",  # the bracket, not the end of the name
    "missing_brace": "1:16",  # the brace that is not closed, not the last token
    "utf8_ident": "1:31",  # the character that cannot stand in a name, not the name's first half
}


def test_there_are_95_probes() -> None:
    assert len(PROBES) == 95


@pytest.mark.parametrize("name", PROBES)
def test_reading_agrees_with_the_recorded_result(name: str) -> None:
    probe = PROBES[name]
    root = f"int8cal.{probe['net']}.Experiment"
    text = SpecText.from_str(probe["text"])
    if name in LEGACY:
        assert len(parse(text, "s", root).warnings) == 1
        with pytest.raises(SpecError):
            parse(text, "s", root, strict=True)
    elif probe["merge"] == "ok":
        spec = parse(text, "s", root)
        assert text_format.MessageToString(spec.message, as_one_line=True, as_utf8=True) == probe["merge_result"]
        assert spec.warnings == ()
    else:
        with pytest.raises(SpecError) as caught:
            parse(text, "s", root)
        place = re.search(r"\d+:\d+", probe["merge_result"])
        assert place is not None
        assert caught.value.where == f"s:{OTHER_PLACE.get(name, place.group())}"


@pytest.mark.parametrize("name", sorted(PROBES.keys() - LEGACY))
def test_reading_agrees_with_the_installed_protobuf(name: str) -> None:
    root = f"int8cal.{PROBES[name]['net']}.Experiment"
    message = new_message(root)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Merge(PROBES[name]["text"], message)
    except text_format.ParseError:
        with pytest.raises(SpecError):
            parse(SpecText.from_str(PROBES[name]["text"]), "s", root)
    else:
        read = parse(SpecText.from_str(PROBES[name]["text"]), "s", root).message
        assert read.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)
