"""Usable processors: affinity and cgroup quota, whichever is less."""

from __future__ import annotations

import os

import pytest

from int8cal.io.threads import usable_cores


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def cores(tmp_path, own: str) -> int:
    (tmp_path / "own").write_text(own)
    return usable_cores(str(tmp_path), str(tmp_path / "own"))


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)]
)
def test_version_2_quota(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert cores(tmp_path, "0::/\n") == expected


def test_the_smallest_quota_on_the_way_up_counts(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "cpu.max").write_text("300000 100000\n")
    (tmp_path / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path, "0::/a/b\n") == 3


def test_version_1_quota(tmp_path):
    (tmp_path / "cpu" / "job").mkdir(parents=True)
    (tmp_path / "cpu" / "job" / "cpu.cfs_quota_us").write_text("400000\n")
    (tmp_path / "cpu" / "job" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path, "4:cpu,cpuacct:/job\n3:memory:/other\n") == 4


def test_no_cgroups_at_all(tmp_path):
    assert usable_cores(str(tmp_path / "none"), str(tmp_path / "neither")) == 8
