"""The Makefile in a fresh clone, as a newcomer types it. It needs access to packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.extended
def test_a_fresh_clone_makes_its_own_environment_and_the_demo(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", repository, clone], check=True)
    # Nothing of the environment in which the tests run may help.
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")} | {
        "PATH": path
    }
    first = subprocess.run(["make", "demo"], cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "tensorfile" in first.stdout
    assert (clone / "demo-out" / "calibration.tensorfile").exists()
    again = subprocess.run(["make", "demo"], cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "building .venv" not in again.stdout
    assert not subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout


def test_a_python_that_is_too_old_is_refused_with_a_reason(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((repository / "Makefile").read_bytes())
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").touch()
    finished = subprocess.run(["make", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert "no Python >= 3.11" in finished.stderr
