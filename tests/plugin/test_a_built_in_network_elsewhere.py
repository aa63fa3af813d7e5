"""A built-in network is a folder like any other: moved into another distribution, it makes the same arrays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.golden.cases import DATA, GoldenCase, load_cases

import int8cal

PACKAGE = Path(int8cal.__file__).parent
JPEG_OF_ANOTHER_LIBRARY = {"caffe3_color_jpeg"}

SCRIPT = """
import hashlib, json, os, sys
import int8cal
from int8cal import networks

told = {"package": networks.get(sys.argv[1]).dataset.__module__}
for case in json.load(sys.stdin):
    os.environ.update(case["environment"])
    plan = int8cal.plan(case["spec"], split=case["split"], max_batches=case["max_batches"], seed=case["seed"])
    images = (image for batch in plan.batches() for image in batch)
    told[case["name"]] = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
print(json.dumps(told))
"""


def moved(folder: str, site: Path) -> str:
    """The package without the network's folder, and that folder as a distribution of its own; the folder's new name."""
    name = f"elsewhere_{folder}"
    shutil.copytree(PACKAGE, site / "int8cal", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.move(site / "int8cal" / "networks" / folder, site / name)
    for module in (site / name).rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        module.write_text(text.replace(f"int8cal.networks.{folder}", name), encoding="utf-8")
    return name


def known(site: Path, name: str, networks: list[str]) -> None:
    """What an installer would write about it."""
    information = site / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    entries = "".join(f"{network} = {name}\n" for network in networks)
    (information / "entry_points.txt").write_text(f"[int8cal.networks]\n{entries}")


def facts_of(case: GoldenCase) -> dict[str, object]:
    seed = case.facts["seed"] if case.network != "detectnet_v2" else None
    return {
        "name": str(case),
        "spec": str(case.spec),
        "split": case.split,
        "max_batches": case.max_batches,
        "seed": seed,
        "environment": case.environment,
    }


@pytest.mark.parametrize(
    ("folder", "networks"),
    [("classification", ["classification"]), ("ssd", ["ssd", "dssd"]), ("detectnet_v2", ["detectnet_v2"])],
)
def test_its_goldens_come_out_of_another_distribution(folder: str, networks: list[str], tmp_path: Path) -> None:
    name = moved(folder, tmp_path)
    known(tmp_path, name, networks)
    cases = [case for network in networks for case in load_cases(network, "ok")]
    cases = [case for case in cases if case.name not in JPEG_OF_ANOTHER_LIBRARY]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, networks[0]],
        input=json.dumps([facts_of(case) for case in cases]),
        capture_output=True,
        text=True,
        cwd=DATA,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("package") == name
    assert told == {str(case): [sample["sha256"] for sample in case.samples] for case in cases}
