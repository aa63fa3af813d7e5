"""The golden cases: what each asks for and what must come out. For tests at every level."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
CASES = HERE / "cases"


@dataclass(frozen=True)
class GoldenCase:
    """One case of the set; see README.md beside this file for the keys of ``case.json``."""

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return self.facts["name"]

    @property
    def network(self) -> str:
        return self.facts["network"]

    @property
    def expect(self) -> str:
        """``ok``, ``error`` or ``empty``."""
        return self.facts["expect"]

    @property
    def spec(self) -> Path:
        return self.folder / "spec.txt"

    @property
    def split(self) -> str:
        return "validation" if self.facts["args"]["use_validation_set"] else "training"

    @property
    def max_batches(self) -> int:
        return self.facts["args"]["max_batches"]

    @property
    def environment(self) -> dict[str, str]:
        return {key: value.replace("{data}", str(DATA)) for key, value in self.facts["env"].items()}

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Per sample in the order written: ``file``, ``frame_id``, ``source``, ``sha256``."""
        return self.facts.get("samples") or []

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Batches, images, channels, height, width."""
        return tuple(self.facts["shape"])

    @property
    def reference_message(self) -> str:
        """What the reference printed, with our data folder in place of its own."""
        return self.facts["reference"].get("message", "").replace("${DATA_BASE_PATH}", str(DATA))

    @cached_property
    def expected(self) -> npt.NDArray[np.float32] | None:
        """All batches, where the set has them; the sha256 of each sample says the same."""
        file = self.folder / "expected.npz"
        if not file.exists():
            return None
        with np.load(file) as arrays:
            return arrays["batches"]

    def __str__(self) -> str:
        return f"{self.network}/{self.name}"


def load_cases(network: str, *expect: str) -> list[GoldenCase]:
    """Cases of a network, those with an expectation of ``expect`` (all when none is given)."""
    cases = [
        GoldenCase(file.parent, json.loads(file.read_text(encoding="utf-8")))
        for file in sorted((CASES / network).glob("*/case.json"))
    ]
    return [case for case in cases if not expect or case.expect in expect]
