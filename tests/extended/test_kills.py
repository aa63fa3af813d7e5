"""Runs that are killed leave nothing under the final name that is not whole; `make kills` does the same 500 times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.extended
def test_twenty_kills():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.kills", "--count", "20"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("20 kills, 0 faults\n"), done.stdout + done.stderr
