"""Every preset of ``int8cal images`` makes the arrays of the loader that it names, bit for bit, of 40 odd files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import int8cal
from int8cal.origins.images.origin import ImagesOrigin
from int8cal.origins.images.stated import PRESETS

HERE = Path(__file__).parent / "images"
GOLDENS = json.loads((HERE / "goldens.json").read_text())


@pytest.mark.parametrize("preset", PRESETS)
def test_equal_in_every_bit(preset: str) -> None:
    wanted = GOLDENS[preset]["sha256"]
    assert len(wanted) == 40
    plan = int8cal.plan(ImagesOrigin(str(HERE / "pictures"), PRESETS[preset].preprocessing))
    batches = plan.batches()
    made = {
        sample.frame_id: hashlib.sha256(batch.tobytes()).hexdigest()
        for sample, batch in zip(batches.samples, batches, strict=True)
    }
    assert made == wanted


@pytest.mark.parametrize("preset", PRESETS)
def test_the_source_of_a_preset_names_the_version_that_was_run(preset: str) -> None:
    versions = {name: version for name, version in GOLDENS[preset]["versions"].items() if name != "pillow"}
    source = PRESETS[preset].source
    assert any(version in source for version in versions.values()), source
