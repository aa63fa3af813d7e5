"""A data set of small pictures for each network, in the working directory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.build import record, write_records
from tests.pictures import all_kinds, encode, pixels

from int8cal.origins.experiment import Spec
from int8cal.pipeline import read_spec


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders, image and label folders and TFRecords of one set of pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for folder in ("train/animals", "val/animals", "images", "labels", "kitti", "seg/images/train"):
        (root / folder).mkdir(parents=True)
    for number in range(5):
        picture = encode(pixels(200 + number, 230, seed=number), compress_level=1)
        for folder in ("train/animals", "val/animals", "images", "kitti", "seg/images/train"):
            (root / folder / f"{number}.png").write_bytes(picture)
        (root / "labels" / f"{number}.txt").touch()
    listed = [{"id": number, "file_name": f"{number}.png", "width": 230, "height": 200} for number in range(5)]
    (root / "coco.json").write_text(json.dumps({"images": listed, "annotations": [], "categories": []}))
    (root / "gt.txt").write_text("".join(f"{number}.png word\n" for number in range(5)))
    frames = [record(f"kitti/{number}", 200 + number, 230) for number in range(5)]
    write_records(root / "records" / "fold-000-of-001", frames)
    return root


@pytest.fixture
def here(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pictures for one test; the working directory."""
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_BASE_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Spec]:
    """Read a spec from its text as the pipeline does, all checks included."""

    def read(text: str) -> Spec:
        path = tmp_path / "spec.txt"
        path.write_text(text)
        return read_spec(path)

    return read


@pytest.fixture(scope="session")
def kinds() -> dict[str, bytes]:
    return all_kinds()
