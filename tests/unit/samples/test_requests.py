"""What a file system is asked for: on a network mount each of these is a request to a server.

The shim is a mount whose listings do not say what is a folder (no ``d_type``): there, ``DirEntry.is_dir`` is a stat.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import int8cal
from int8cal.demo.dataset import DemoDataset
from int8cal.samples import tfrecord
from int8cal.samples.sources import DataloaderMode, SourcePaths, TFRecordSelection, read_tfrecord_split

from ...build import record, write_records
from ...specs import CLASSIFICATION, SSD, changed

IMAGES = 20_000
SHARDS = 40


class Requests:
    """Counts of ``open``, ``stat`` and ``list`` of what lies below a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = str(root)
        self._counts: Counter[str] = Counter()
        for name, kind in (("open", "open"), ("stat", "stat"), ("lstat", "stat"), ("listdir", "list")):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name), kind))
        real = os.scandir

        class Entries:
            def __init__(entries, path: str) -> None:
                self._count("list", path)
                entries._real = real(path)

            def __enter__(entries) -> Iterator[Entry]:
                return (Entry(entry) for entry in entries._real)

            def __exit__(entries, *error: object) -> None:
                entries._real.close()

        class Entry:
            def __init__(entry, found: os.DirEntry[str]) -> None:
                entry.name, entry._found = found.name, found

            def is_dir(entry, **options: bool) -> bool:
                self._count("stat", entry._found.path)
                return entry._found.is_dir(**options)

        monkeypatch.setattr(os, "scandir", Entries)

    def _counted(self, real: Callable[..., object], kind: str) -> Callable[..., object]:
        def call(path: object, *arguments: object, **options: object) -> object:
            self._count(kind, path)
            return real(path, *arguments, **options)

        return call

    def _count(self, kind: str, path: object) -> None:
        if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._root):
            self._counts[kind] += 1

    def since(self) -> dict[str, int]:
        """The counts, which begin anew."""
        counts, self._counts = dict(self._counts), Counter()
        return counts


@pytest.fixture(scope="module")
def image(tiny_dataset: DemoDataset) -> Path:
    return next(Path(tiny_dataset.root).glob("training/image_2/*.png"))


def links(image: Path, folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    shutil.copy(image, folder / "000000.png")
    for number in range(1, count):
        os.link(folder / "000000.png", folder / f"{number:06d}.png")


@pytest.fixture(scope="module")
def detectnet_v2(tmp_path_factory: pytest.TempPathFactory, tiny_dataset: DemoDataset, image: Path) -> Path:
    root = tmp_path_factory.mktemp("detectnet_v2")
    links(image, root / "images", 1)
    frames = [record("images/000000", 96, 320)] * (IMAGES // SHARDS)
    for shard in range(SHARDS):
        write_records(root / "records" / f"r-{shard:05d}", frames)
    text = Path(tiny_dataset.spec).read_text()
    source = f'data_sources {{ tfrecords_path: "{root}/records/*" image_directory_path: "{root}" }}'
    text = re.sub(r"data_sources\s*[:]?\s*\{[^}]*\}", source, text)
    (root / "spec.txt").write_text(re.sub(r"validation_fold\s*:\s*\d+", "", text))
    return root


@pytest.fixture(scope="module")
def ssd(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Path:
    root = tmp_path_factory.mktemp("ssd")
    links(image, root / "images", IMAGES)
    (root / "labels").mkdir()
    (root / "labels" / "000000.txt").touch()
    for number in range(1, IMAGES):
        os.link(root / "labels" / "000000.txt", root / "labels" / f"{number:06d}.txt")
    (root / "spec.txt").write_text(changed(SSD, ('"(labels|images)"', rf'"{root}/\1"')))
    return root


@pytest.fixture(scope="module")
def classification(tmp_path_factory: pytest.TempPathFactory, image: Path) -> Path:
    root = tmp_path_factory.mktemp("classification")
    for number in range(10):
        links(image, root / "train" / f"class{number}", IMAGES // 10)
        (root / "train" / f"class{number}" / "notes").touch()
    (root / "spec.txt").write_text(changed(CLASSIFICATION, ('"(train|val)"', rf'"{root}/\1"')))
    return root


@pytest.mark.parametrize(
    ("network", "listing", "making"),
    [
        # the spec; the folders of images and of records; the records
        ("detectnet_v2", {"open": 1 + SHARDS, "stat": 2, "list": 1}, {"open": 16}),
        ("ssd", {"open": 1, "list": 2}, {"open": 16}),
        # each class folder, and the one name in it that does not tell what it is
        ("classification", {"open": 1, "stat": 10 + 10, "list": 1 + 10}, {"open": 16}),
    ],
)
def test_requests_for_20000_images(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    network: str,
    listing: dict[str, int],
    making: dict[str, int],
) -> None:
    root = request.getfixturevalue(network)
    requests = Requests(root, monkeypatch)
    plan = int8cal.plan(root / "spec.txt", batch_size=4, max_batches=4)
    assert len(plan.dataset.samples) == IMAGES
    assert requests.since() == listing
    int8cal.make(plan, tmp_path / "out")
    assert requests.since() == making


def test_shards_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(4):
        write_records(tmp_path / "records" / str(shard), [record(f"{shard}-{number}") for number in range(3)])
    together = threading.Barrier(4, timeout=30)
    real = tfrecord.open_data_file

    def slow(*arguments: object, **options: object) -> object:
        together.wait()
        return real(*arguments, **options)

    monkeypatch.setattr(tfrecord, "open_data_file", slow)
    source = SourcePaths(0, str(tmp_path / "records" / "*"), str(tmp_path), "png")
    dataset = read_tfrecord_split(TFRecordSelection((source,), DataloaderMode.DEFAULT), "training")
    names = [f"{shard}-{number}" for shard in range(4) for number in range(3)]
    assert [sample.frame_id for sample in dataset.samples] == names
