"""Room that is set aside for a file which grows."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from int8cal.io import space

SHARED_MEMORY = "/dev/shm"
"""A tmpfs, on Linux: there is always one that can set room aside, but in containers it may have only 64 MiB."""


def test_room_is_set_aside_behind_the_end_and_given_back() -> None:
    here = sys.platform == "linux" and os.path.isdir(SHARED_MEMORY)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if here else None) as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            file.write(b"content")
            file.flush()
            assert space.reserve(file.fileno(), 7, 1 << 18) or not here
            if here:
                assert (path.stat().st_size, path.stat().st_blocks * 512 >= 1 << 18) == (7, True)
            assert not space.reserve(file.fileno(), 0, 1 << 54)  # more than there is
        space.give_back(str(path))
        assert path.read_bytes() == b"content"
        assert path.stat().st_blocks * 512 <= 1 << 16


def test_short_room_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plenty = 64 << 20
    with (tmp_path / "file").open("wb") as file:
        monkeypatch.setattr(space, "_fallocate", lambda: lambda *_: 0)
        for free in (plenty - 1, plenty):
            monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
            assert space.reserve(file.fileno(), 0, 1 << 20) == (free == plenty)


def test_what_a_full_disk_gave_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ext4 returns ENOSPC and keeps the blocks that it found."""
    cut = []
    monkeypatch.setattr(space, "_fallocate", lambda: lambda *_: -1)
    monkeypatch.setattr(os, "truncate", lambda file, size: cut.append((file, size)))
    with (tmp_path / "file").open("wb", buffering=0) as file:
        file.write(b"content")
        assert not space.reserve(file.fileno(), 7, 1 << 10)
        assert cut == [(file.fileno(), 7)]


def test_room_of_a_file_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    space.give_back(str(tmp_path / "gone"))
