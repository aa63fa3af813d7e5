"""The benchmarks themselves work. Nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.extended
def test_all_questions_are_answered_on_tiny_data(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    command = [sys.executable, "benchmarks/bench.py", "--quick", "--folder", tmp_path, "--json", out]
    finished = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    results = json.loads(out.read_text())
    assert {"machine", "speed", "stages", "readers", "threads", "memory", "startup"} <= results.keys()
    assert len(results["speed"]) == 5  # each was equal to the baseline in every bit, or the run had failed
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]

    again = [*command[:2], "startup", *command[2:], "--repetitions", "2"]
    subprocess.run(again, cwd=repository, capture_output=True, text=True, check=True)
    others = json.loads(out.read_text())
    assert others["repetitions"] == results["repetitions"] | {"startup": 2}
    assert others["speed"] == results["speed"]
