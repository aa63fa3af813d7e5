"""One flipped bit in a new tensorfile: h5py gives the same as before, or `verify` finds an error.

Every bit outside of image chunks, and every bit of one image's chunk: all of them in ``make test-extended``, 1 % in
``make test``. Damage is what checksums are for; forgery is not: see docs/explanation/threat-model.md.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.flips import bits_to_flip, image_chunk_bits, missed, passes

import int8cal
from int8cal.demo.dataset import DemoDataset, make_dataset
from int8cal.io.threads import usable_cores

KINDS: dict[str, dict[str, Any]] = {
    "fast": {"compression": "fast"},
    "small": {"compression": "small"},
    "none": {"compression": "none"},
    "parts": {"shards": 2},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    """Pictures for a network of 16×16."""
    return make_dataset(tmp_path_factory.mktemp("flips") / "data", images=8, size=(96, 160), network_size=(16, 16))


@pytest.fixture(params=KINDS)
def head(request: pytest.FixtureRequest, dataset: DemoDataset, tmp_path: Path) -> Path:
    """A file of 4 images."""
    options = KINDS[request.param]
    batches = options.get("shards", 1)
    plan = int8cal.plan(dataset.spec, batch_size=4 // batches, max_batches=batches)
    int8cal.make(plan, tmp_path / "f", **options)
    return tmp_path / "f"


def files(head: Path) -> list[Path]:
    """The head and its parts."""
    return sorted(path for path in head.parent.glob("f*") if path.suffix != ".json")


def test_one_flip_in_a_hundred(head: Path) -> None:
    assert passes(head)
    for path in files(head):
        bits = bits_to_flip(path)
        assert missed(head, path, random.Random(0).sample(bits, len(bits) // 100)) == []


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
