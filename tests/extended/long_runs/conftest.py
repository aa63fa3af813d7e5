"""Programs and data that the extended tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.specs import CLASSIFICATION, changed

from int8cal.demo.dataset import make_dataset

HERE = Path(__file__).parent


@dataclass
class Cluster:
    """A running cluster of one processor per node.

    Attributes:
        address: for ``--ray_address``.
        raylets: process ids of all nodes but the head.
    """

    address: str
    raylets: list[int]


@pytest.fixture
def ray_cluster() -> Iterator[Cluster]:
    """Three nodes on this machine; a new cluster for every test, because tests kill parts of it."""
    process = subprocess.Popen(
        [sys.executable, HERE / "ray_nodes.py", "3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Cluster(**json.loads(process.stdout.readline()))
    finally:
        process.communicate(timeout=120)


class Driver:
    """A run in a process of its own that says how far it is."""

    def __init__(self, request: dict) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HERE / "told_run.py", json.dumps(request, default=os.fspath)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.images = 0

    def wait_for(self, images: int) -> None:
        """Until so many images are in the file."""
        while self.images < images:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.images = json.loads(line)["images"]

    def kill(self) -> None:
        """End it with SIGKILL; nothing happens when it has ended."""
        self.process.kill()
        self.process.communicate(timeout=60)

    def finish(self) -> dict:
        """The last line: peak memory and facts of the run."""
        out, err = self.process.communicate(timeout=900)
        assert self.process.returncode == 0, err
        last = json.loads(out.splitlines()[-1])
        last["stderr"] = err
        return last


@pytest.fixture
def start_run() -> Iterator[Callable[..., Driver]]:
    """Start a `Driver` by the fields of its request; those that are left over are killed."""
    started: list[Driver] = []

    def start(**request: object) -> Driver:
        started.append(Driver(request))
        return started[-1]

    yield start
    for run in started:
        if run.process.returncode is None:
            run.kill()


@pytest.fixture(scope="session")
def detection_specs(tmp_path_factory) -> dict[int, Path]:
    """Specs of DetectNet_v2, by data loader mode, over 96 small pictures."""
    folder = tmp_path_factory.mktemp("detection")
    dataset = make_dataset(
        folder / "data", images=96, size=(96, 320), network_size=(96, 160), batch_size=2, validation_split=False
    )
    other = dataset.spec.with_name("mode2.txt")
    other.write_text(dataset.spec.read_text().replace("dataset_config {", "dataset_config {\n  dataloader_mode: 2", 1))
    return {0: dataset.spec, 2: other}


def classification_spec(folder: Path, images: int, batch_size: int = 4) -> Path:
    """A classification spec over so many tiny pictures; all but a few are hard links."""
    pictures = folder / "train" / "car"
    pictures.mkdir(parents=True)
    random = np.random.default_rng(0)
    originals = min(images, 50)
    for number in range(originals):
        Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).save(pictures / f"{number:06d}.png")
    for number in range(originals, images):
        os.link(pictures / f"{number % originals:06d}.png", pictures / f"{number:06d}.png")
    spec = folder / "spec.txt"
    spec.write_text(
        changed(
            CLASSIFICATION,
            ('"train"', f'"{folder}/train"'),
            ('"val"', f'"{folder}/train"'),
            (r"batch_size_per_gpu: \d+", f"batch_size_per_gpu: {batch_size}"),
        )
    )
    return spec
