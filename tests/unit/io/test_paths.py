from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from int8cal.io.paths import NotRegularError, open_regular


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"


def test_a_link_is_refused_where_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "link", follow_links=False)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_nothing_else_is_opened_or_waited_for(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "name")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(NotRegularError, match=r"not a regular file.*name"):
        open_regular(tmp_path / "name")
    assert os.listdir("/proc/self/fd") == before
