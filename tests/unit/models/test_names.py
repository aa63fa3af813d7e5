"""Names and shell patterns."""

from __future__ import annotations

import glob

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int8cal.models import names as work
from int8cal.models.names import Patterns, fits

WORDS = st.text("ab[]*?", max_size=4)


@given(patterns=st.lists(WORDS, max_size=5), names=st.lists(WORDS, max_size=5))
def test_many_patterns_fit_what_each_of_them_fits(patterns: list[str], names: list[str]) -> None:
    found = Patterns(patterns)
    for name in names:
        assert found.fit(name) == any(fits(name, pattern) for pattern in patterns)
    assert found.idle(names) == [one for one in dict.fromkeys(patterns) if not any(fits(name, one) for name in names)]


def test_plain_names_are_looked_up_not_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(work, "fnmatchcase", lambda name, pattern: bool(tried.append(pattern)))
    layers = [f"/block{number}/conv" for number in range(50)]
    odd = "layer[0]"
    found = Patterns(map(glob.escape, [*layers, odd]))
    assert all(map(found.fit, layers))
    assert found.idle(layers) == [glob.escape(odd)]
    assert set(tried) == {glob.escape(odd)}
