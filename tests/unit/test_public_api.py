"""The public names of the package."""

from __future__ import annotations

import inspect

import int8cal


def test_all_is_sorted_and_complete() -> None:
    assert list(int8cal.__all__) == sorted(int8cal.__all__)
    for name in int8cal.__all__:
        assert hasattr(int8cal, name)


def test_every_public_name_is_documented() -> None:
    for name in int8cal.__all__:
        member = getattr(int8cal, name)
        if inspect.isroutine(member) or inspect.isclass(member):
            assert inspect.getdoc(member), name


def test_dir_lists_the_public_names() -> None:
    assert set(int8cal.__all__) <= set(dir(int8cal))
