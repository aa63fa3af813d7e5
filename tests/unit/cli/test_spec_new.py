"""``int8cal spec new``: a spec that is sound as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.specs import YAML_SPECS

from int8cal.cli.app import run
from int8cal.origins.experiment import read_spec


@pytest.mark.parametrize("network", YAML_SPECS)
def test_it_is_sound_and_of_the_network(network: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.yaml"
    assert run(["spec", "new", network, "-o", str(path)]) == 0
    spec = read_spec(path)
    assert spec.name == network
    assert not spec.warnings
    assert "int8cal plan -e" in capfd.readouterr().out
    assert run(["spec", "new", network]) == 0
    assert capfd.readouterr().out == path.read_text()
    assert run(["spec", "new", network, "-o", str(path)]) == 5
    assert run(["spec", "new", network, "-o", str(path), "--overwrite"]) == 0


def test_networks_without_one() -> None:
    assert run(["spec", "new", "yolo"]) == 2
