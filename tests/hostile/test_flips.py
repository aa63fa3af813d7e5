"""One flipped bit in a new tensorfile: h5py gives the same as before, or `verify` finds an error.

Every bit outside of image chunks, and every bit of one image's chunk: all of them in ``make test-extended``, a seeded
0.3 % in ``make test``. Damage is what checksums are for; forgery is not: see docs/explanation/threat-model.md.
"""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from tests.flips import bits_to_flip, image_chunk_bits, missed, passes
from tests.pictures import pixels
from tests.specs import CLASSIFICATION

import int8cal
from int8cal.check.verify import verify
from int8cal.errors import TensorFileError
from int8cal.io.threads import usable_cores

KINDS: dict[str, dict[str, Any]] = {
    "fast": {"compression": "fast"},
    "small": {"compression": "small"},
    "none": {"compression": "none"},
    "parts": {"shards": 2},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures for a network of 16×16."""
    folder = tmp_path_factory.mktemp("flips")
    for split in ("train", "val"):
        for number in range(4):
            file = folder / split / f"class{number % 2}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(4, 4, seed=number)).resize((16, 16), Image.Resampling.BICUBIC).save(file)
    text = CLASSIFICATION.replace('"3,24,32"', '"3,16,16"')
    text = text.replace('"train"', f'"{folder}/train"').replace('"val"', f'"{folder}/val"')
    (folder / "spec.txt").write_text(text)
    return folder / "spec.txt"


@pytest.fixture(params=KINDS)
def head(request: pytest.FixtureRequest, spec: Path, tmp_path: Path) -> Path:
    """A file of 4 images."""
    options = KINDS[request.param]
    batches = options.get("shards", 1)
    plan = int8cal.plan(spec, batch_size=4 // batches, max_batches=batches)
    int8cal.make(plan, tmp_path / "f", **options)
    return tmp_path / "f"


def files(head: Path) -> list[Path]:
    """The head and its parts."""
    return sorted(path for path in head.parent.glob("f*") if path.suffix != ".json")


def test_some_flips(head: Path) -> None:
    assert passes(head)
    for path in files(head):
        bits = bits_to_flip(path)
        assert missed(head, path, random.Random(0).sample(bits, len(bits) // 300)) == []


def test_the_sign_of_the_size_of_a_fill_value(head: Path) -> None:
    """HDF5 opens such an array, and then cannot read it."""
    # Version 2: when space is taken, when the value is written (releases of HDF5 differ), a value of 0 bytes.
    message = re.compile(rb"\x05\0\x08\0\x01\0\0\0\x02\x03[\0-\x02]\x01\0\0\0\0")
    for path in files(head):
        places = [found.end() for found in message.finditer(path.read_bytes())]
        assert missed(head, path, [8 * end - 1 for end in places]) == []
    assert places


def test_neighbours_and_counts_in_trees(head: Path) -> None:
    """Some readers go from node to node of a tree, and never come to an end where nodes are each other's neighbours."""
    for path in files(head):
        data = path.read_bytes()
        nodes = [found.start() for found in re.finditer(b"TREE[\\0\\1]\\0", data)]
        bits = [8 * node + bit for node in nodes for bit in range(8 * 6, 8 * 24)]
        assert len(nodes) > 1
        assert missed(head, path, random.Random(0).sample(bits, len(bits) // 6)) == []
        holds_links = len(files(head)) > 1 and path == head  # in a group of the newer kind, beside a tree left over
        for node in [] if holds_links else nodes:
            beside = int8cal_says(path, data[: node + 16] + node.to_bytes(8, "little") + data[node + 24 :])
            assert "its tree of objects or chunks is unsound" in beside


def int8cal_says(path: Path, damaged: bytes) -> str:
    sound = path.read_bytes()
    path.write_bytes(damaged)
    try:
        return " ".join(finding.message for finding in verify(path).findings)
    except TensorFileError as error:
        return str(error)
    finally:
        path.write_bytes(sound)


@pytest.mark.extended
@pytest.mark.timeout(1500)
def test_every_flip(head: Path) -> None:
    assert {path.name: missed(head, path, bits_to_flip(path), usable_cores()) for path in files(head)} == {
        path.name: [] for path in files(head)
    }


def test_a_miss_would_be_told(tmp_path: Path) -> None:
    """Files of version 1 have no checksums: without compression, nothing tells a flipped value."""
    old = Path(__file__).parents[1] / "data" / "tensorfiles_8e82fdb"
    for path in old.glob("parts*"):
        shutil.copy(path, tmp_path)
    part = next(tmp_path.glob("parts.tensor-00000*"))
    bits = next(iter(image_chunk_bits(part)))[:20]
    assert missed(part, part, bits) == list(bits)


def test_trees_of_older_files(tmp_path: Path) -> None:
    """The index of an older file's chunks has no checksum: what is read is what HDF5 finds by it, or an error."""
    path = tmp_path / "fast.tensor"
    shutil.copy(Path(__file__).parents[1] / "data" / "tensorfiles_8e82fdb" / "fast.tensor", path)
    node = path.read_bytes().index(b"TREE\x01")
    used = 24 + 2 * (48 + 8) + 48  # a node of two chunks: its head, two keys with addresses, the key behind them
    bits = range(8 * node, 8 * (node + used))
    assert missed(path, path, random.Random(0).sample(bits, len(bits) // 12)) == []


def test_a_manifest_that_is_nested(made_nested: Path, run_cli: Any) -> None:
    for command in (
        ["inspect", "--json"],
        ["inspect", "--quick"],
        ["verify"],
        ["export", "--to", "npz", "-o", "x.npz"],
    ):
        done = run_cli(command[0], made_nested, *command[1:])
        assert done.code == 6
        assert "nested deeper than 64 levels" in done.stdout + done.stderr


@pytest.fixture
def made_nested(tmp_path: Path) -> Path:
    """A file whose manifest can be parsed, and breaks whatever goes through it level by level."""
    path = tmp_path / "nested"
    shutil.copy(Path(__file__).parents[1] / "data" / "tensorfiles_8e82fdb" / "fast.tensor", path)
    with h5py.File(path, "r+") as file:
        text = bytes(file.attrs["int8cal"])
        file.attrs["int8cal"] = np.bytes_(text[:-1] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}")
    return path
