"""The demo has power: right calibration costs next to nothing, a wrong scale everything, and gross errors are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.demo.int8 import prepare
from int8cal.demo.mistakes import MISTAKES
from int8cal.demo.subjects import SUBJECTS, Subject
from int8cal.demo.table import FLOAT, RIGHT, rows
from int8cal.types import METHODS

pytestmark = [pytest.mark.extended, pytest.mark.timeout(1500)]

GROSS = ("unscaled", "divided twice", "noise", "black", "one image repeated")


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_laws_of_the_table(subject: Subject, tmp_path: Path) -> None:
    prepared = prepare(subject, tmp_path / subject.name, lambda what: None)
    test = subject.test_set(1000, None)
    assert test.items >= 1000

    by_method = {row.data: row for row in rows(prepared, test, lambda what: None, methods=METHODS)}
    table = {row.data: row for row in rows(prepared, test, lambda what: None, methods=("entropy",), mistakes=True)}

    assert set(table) == {FLOAT, RIGHT, *MISTAKES}
    floating = table[FLOAT].scores["entropy"]
    assert floating >= 0.9
    assert set(by_method[RIGHT].scores) == set(METHODS)
    assert max(by_method[RIGHT].scores.values()) >= floating - 0.01
    for wrong in ("unscaled", "mean without scale"):
        assert table[wrong].scores["entropy"] <= floating - 0.2

    for verified in (table[RIGHT].verified, table[RIGHT].verified_with_model):
        assert verified
        assert verified.sound
        assert verified.count("warning") == 0
    for wrong in GROSS:
        assert not table[wrong].verified.sound, wrong
    assert not table["mean without scale"].verified_with_model.sound
    notes = [finding.code for finding in table["channels swapped"].verified_with_model.findings]
    assert "cannot-see" in notes  # and says so
