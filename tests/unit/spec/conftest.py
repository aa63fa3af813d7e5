"""Specs to take apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText

SPECS = Path(__file__).parents[2] / "golden" / "specs"

DETECTNET = "int8cal.detectnet_v2.Experiment"


@pytest.fixture(scope="session")
def sound_text() -> str:
    """A sound DetectNet_v2 training spec."""
    return (SPECS / "detectnet_v2" / "default_spec.txt").read_text()


@pytest.fixture
def read() -> Callable[..., PrototextSpec]:
    """Spec text → `PrototextSpec`, as if it stood in ``s.txt``."""

    def read(text: str, root: str = DETECTNET, **options: bool) -> PrototextSpec:
        return parse(SpecText.from_str(text), "s.txt", root, **options)

    return read
