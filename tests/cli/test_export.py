"""``int8cal export`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from int8cal.tensorfile import TensorFile
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.writer import TensorFileWriter

IMAGES = np.random.default_rng(0).random((6, 3, 4, 5), dtype=np.float32)


@pytest.fixture
def tensor(tmp_path: Path) -> Path:
    compression = Compression.named("fast")
    with TensorFileWriter(str(tmp_path / "cal.tensor"), (3, 3, 4, 5), compression) as writer:
        for image in IMAGES:
            writer.append(compression.encode(image))
        writer.finish(None, [])
    return tmp_path / "cal.tensor"


def test_npz_for_a_named_input(run_cli: Any, tensor: Path, tmp_path: Path) -> None:
    done = run_cli("export", tensor, "--to", "npz", "-o", "cal.npz", "--name", "images")

    assert done.code == 0, done.stderr
    assert "6 images, npz, 6 x 3 x 4 x 5" in done.stdout
    with np.load(tmp_path / "cal.npz") as archive:
        np.testing.assert_array_equal(archive["images"], IMAGES)


def test_rebatching_says_what_it_left_out(run_cli: Any, tensor: Path, tmp_path: Path) -> None:
    refused = run_cli("export", tensor, "--to", "tensorfile", "-o", "new.tensor", "--rebatch", "4")
    assert refused.code == 2
    assert "2 are left over" in refused.stderr

    done = run_cli("export", tensor, "--to", "tensorfile", "-o", "new.tensor", "--rebatch", "4", "--drop-remainder")
    assert done.code == 0
    assert "left out at the end, too few for a batch of 4: 2 images" in done.stdout
    with TensorFile(tmp_path / "new.tensor") as file:
        assert file.shape == (4, 3, 4, 5)
        assert file.samples is None
        assert file.manifest is None


def test_the_parts_of_a_file_that_is_replaced_go_with_it(
    run_cli: Any, tensor: Path, tiny_dataset: Any, tmp_path: Path
) -> None:
    made = run_cli(
        "detectnet_v2", "calibration_tensorfile", "-e", tiny_dataset.spec, "-o", "p.t", "-m", "2", "--shards", "2"
    )
    assert made.code == 0, made.stderr
    assert len(list(tmp_path.glob("p.t-*-of-*"))) == 2
    done = run_cli("export", tensor, "--to", "tensorfile", "-o", "p.t", "--overwrite")
    assert done.code == 0, done.stderr
    assert list(tmp_path.glob("p.t-*-of-*")) == []
    with TensorFile(tmp_path / "p.t") as file:
        np.testing.assert_array_equal(np.concatenate(list(file)), IMAGES)


def test_json_and_existing_output(run_cli: Any, tensor: Path) -> None:
    facts = json.loads(run_cli("export", tensor, "--to", "raw", "--layout", "nhwc", "-o", "raw", "--json").stdout)

    assert facts["export"] == {"output": "raw", "format": "raw", "shape": [4, 5, 3], "images": 6, "dropped": 0}
    assert run_cli("export", tensor, "--to", "raw", "-o", "raw").code == 5
    assert run_cli("export", tensor, "--to", "csv", "-o", "x").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("npy", "--name", "x"), "npy has no place for the name"),
        (("tensorfile", "--drop_remainder"), "only when batches change"),
        (("npz", "--name", "../../x"), "cannot be the name of an array"),
        (("npz", "--name", "/x"), "cannot be the name of an array"),
        (("npz", "--name", "x" * 70_000), "cannot be the name of an array"),
        (("npz", "--name", "a\x1b[2J"), "cannot be the name of an array"),
        (("npz", "--name", ""), "it is empty; is a variable of the shell not set?"),
    ],
)
def test_options_that_would_be_ignored_or_do_harm(run_cli: Any, tensor: Path, arguments: Any, message: str) -> None:
    done = run_cli("export", tensor, "-o", "out", "--to", *arguments)

    assert done.code == 2
    assert message in done.stderr
    assert not (tensor.parent / "out").exists()
