"""A place where the component can be run: data, specs and output as a pipeline would have them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from int8cal.component.request import parse
from int8cal.component.run import Outcome, run
from int8cal.demo.dataset import DemoDataset, make_dataset
from int8cal.pipeline import read_spec

sys.path[:0] = [str(Path(__file__).parents[2] / "tools"), str(Path(__file__).parent)]

DATA = "/home/jupyter/data/training"
RECORDS = "/home/jupyter/data/tfrecords/kitti_trainval"
VALIDATION_DATA = "/home/jupyter/data/validation"
VALIDATION_RECORDS = "/home/jupyter/data/validation_tfrecords"
MODEL = "/home/jupyter/data/model"


@dataclass
class Site:
    """Folders of one test, and the component run on them.

    The data set's pictures lie in every folder that `pictures` makes, its TFRecords in those of `records`.
    """

    root: Path
    dataset: DemoDataset

    @property
    def specs(self) -> Path:
        return self.root / "specs"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def tensorfile(self) -> Path:
        return self.out / "app" / "experiment_dir_final" / "calibration.tensor"

    def pictures(self, name: str) -> Path:
        return self._linked(name, self.dataset.root / "training")

    def records(self, name: str) -> Path:
        return self._linked(name, self.dataset.root / "tfrecords")

    def _linked(self, name: str, target: Path) -> Path:
        folder = self.root / "mnt" / name
        folder.mkdir(parents=True)
        for child in target.iterdir():
            (folder / child.name).symlink_to(child)
        return folder

    def rewrite(self, pictures: Path, content: Callable[[int, Path], bytes]) -> None:
        """Put files in place of linked pictures, each with what ``content`` makes of its number and the original."""
        images = pictures / "image_2"
        originals = sorted(images.resolve().iterdir())
        images.unlink()
        images.mkdir()
        for number, original in enumerate(originals):
            (images / original.name).write_bytes(content(number, original))

    def write_spec(
        self,
        name: str = "spec.txt",
        *,
        data: str = DATA,
        records: str = f"{RECORDS}/*",
        validation_data: str | None = None,
        validation_records: str | None = None,
        model: str | None = None,
    ) -> str:
        """A spec whose training images and records are said to lie where the arguments say; returns its text."""
        text = self.dataset.spec.read_text(encoding="utf-8")
        text = text.replace(str(self.dataset.root / "training"), data)
        text = text.replace(f"{self.dataset.root / 'tfrecords'}/kitti_trainval-*", records)
        if validation_data is not None:
            source = (
                f'validation_data_source {{ tfrecords_path: "{validation_records}" '
                f'image_directory_path: "{validation_data}" }}'
            )
            text = text.replace("validation_fold: 0", source)
        if model is not None:
            text = text.replace("model_config {", f'model_config {{\n  pretrained_model_file: "{model}"', 1)
        path = self.specs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return text

    def inputs(self, **values: object) -> dict[str, str]:
        """The least that a run on the data set needs, and ``values``; None takes one out."""
        texts: dict[str, object] = {
            "model_app_name": "app",
            "training_data_dir": self.dataset.root / "training",
            "specfile_reference_training_data_dir": DATA,
            "training_tf_records_dir": self.dataset.root / "tfrecords",
            "specfile_reference_training_tf_records_dir": RECORDS,
            "original_specs": self.specs,
            "specs_file": "spec.txt",
            "max_batches": "1",
            "output_dir": self.out,
            **values,
        }
        return {name: str(value) for name, value in texts.items() if value is not None}

    def run(self, *, original_only: bool = False, **values: object) -> Outcome:
        return run(parse(self.inputs(**values), original_only=original_only))

    def paths(self, updated_spec: Path | None = None) -> dict[str, str]:
        """Field → path in the updated spec of the last run."""
        read = read_spec(updated_spec or self.out / "app" / "specs" / "spec.txt")
        return {value.path: value.content for value in read.path_values()}


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> DemoDataset:
    """Nine training and three validation pictures, two to a batch. Shared: not to be written into."""
    folder = tmp_path_factory.mktemp("streets") / "data"
    return make_dataset(folder, images=12, size=(96, 320), network_size=(96, 160), batch_size=2)


@pytest.fixture
def site(tmp_path: Path, streets: DemoDataset) -> Site:
    place = Site(tmp_path / "site", streets)
    place.specs.mkdir(parents=True)
    place.write_spec()
    return place


@pytest.fixture
def program_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a program of one's own first on PATH: (name, script) → its path."""

    def put(name: str, script: str) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        path = folder / name
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        return path

    return put


@pytest.fixture
def int8cal_on_path(program_on_path: Callable[[str, str], Path]) -> Path:
    """The program under its name, from the source that is tested."""
    return program_on_path("int8cal", f'#!/bin/sh\nexec {shutil.which(sys.executable)} -m int8cal "$@"\n')
