"""Ten thousand batches: flat memory, and every batch takes as long as any other."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import pytest
from tests.extended.long_runs.conftest import HERE, classification_spec

from int8cal.tensorfile import TensorFile

pytestmark = pytest.mark.extended

SHORT, LONG = 1_000, 10_000
BATCH_SIZE = 2
SAMPLE_ROWS_MB = 1e-3 * LONG * BATCH_SIZE
"""A row of the sample table, and the objects that it is made from, take up to 1 KB."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    return classification_spec(tmp_path_factory.mktemp("many"), LONG * BATCH_SIZE, BATCH_SIZE)


def measured(*arguments: str) -> dict:
    """What ``measure.py`` says about one step, done in a process of its own."""
    finished = subprocess.run(
        [sys.executable, HERE / "measure.py", *arguments], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("shards", [0, 4])
def test_ten_thousand_batches(spec, tmp_path, shards):
    figures = {
        (step, batches): measured(step, str(spec), str(tmp_path / f"{batches}.tensor"), str(batches), str(shards))
        for batches in (SHORT, LONG)
        for step in ("write", "read", "verify")
    }
    for (step, batches), found in figures.items():
        print(f"{shards} shards, {step}, {batches} batches: {found['peak_mb']:.0f} MB, {found['ms']:.2f} ms per batch")
    for step in ("write", "read", "verify"):
        short, long = figures[step, SHORT], figures[step, LONG]
        assert long["peak_mb"] < 1.1 * short["peak_mb"] + SAMPLE_ROWS_MB, step
        assert long["ms"] < 1.5 * short["ms"], step
    with TensorFile(tmp_path / f"{LONG}.tensor") as file:
        assert len(file) == LONG
        assert latest(file, 9_000) < 3 * latest(file, 0) + 0.002


def latest(file: TensorFile, first: int) -> float:
    """Median seconds to read one of the thousand batches from ``first`` on, at random."""
    chosen = random.Random(0).sample(range(first, first + 1000), 50)
    times = []
    for batch in chosen:
        started = time.perf_counter()
        assert np.isfinite(file[batch]).all()
        times.append(time.perf_counter() - started)
    return median(times)


def test_the_head_of_four_parts_is_one_file_to_h5py(spec, tmp_path):
    for name, shards in (("one", 0), ("four", 4)):
        measured("write", str(spec), str(tmp_path / name), str(SHORT), str(shards))
    with h5py.File(tmp_path / "one") as one, h5py.File(tmp_path / "four") as four:
        assert one.attrs["count"] == four.attrs["count"] == SHORT
        for batch in range(SHORT):
            name = f"_tensorfile_array_key__{batch}"
            assert (
                one[name]["_tensorfile_array_key_"][()].tobytes() == four[name]["_tensorfile_array_key_"][()].tobytes()
            )
