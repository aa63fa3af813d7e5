"""The HDF5 group's own command reads our files, and finds the arrays that our reader finds."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.layout import DATASET, group_name

pytestmark = pytest.mark.extended


def test_h5dump_gives_the_same_arrays(tiny_dataset, run_cli, tmp_path):
    out = tmp_path / "calibration.tensor"
    made = run_cli("detectnet_v2", "calibration_tensorfile", "-e", tiny_dataset.spec, "-o", out, "-m", "2")
    assert made.code == 0, made.stderr
    with TensorFile(out) as file:
        for number, batch in enumerate(file):
            values = tmp_path / f"{number}.bin"
            path = f"/{group_name(number)}/{DATASET}"
            done = subprocess.run(
                ["h5dump", "-d", path, "-b", "LE", "-o", values, out], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            np.testing.assert_array_equal(np.fromfile(values, "<f4").reshape(batch.shape), batch)
        header = subprocess.run(["h5dump", "-H", "-p", out], capture_output=True, text=True, check=True).stdout
    assert 'ATTRIBUTE "count"' in header
    assert "COMPRESSION DEFLATE { LEVEL 1 }" in header
    assert "PREPROCESSING SHUFFLE" in header
