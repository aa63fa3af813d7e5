"""The data set on disk: complete, in KITTI form, replaced only when it is ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int8cal.demo.dataset import DemoDataset, make_dataset
from int8cal.errors import OutputError, OutputExistsError, UsageError
from int8cal.network_kit.kitti_records import example
from int8cal.samples.tfrecord import iterate_records, parse_features
from int8cal.types import Size

SMALL = {"images": 5, "size": (64, 160), "network_size": (64, 160)}


def frame_ids(dataset: DemoDataset, fold: str) -> list[str]:
    paths = [path for path in dataset.tfrecords if fold in path.name]
    records = (record for path in paths for record in iterate_records(str(path)))
    return [parse_features(record.payload, "here")["frame/id"].bytes_list.value[0].decode() for record in records]


def test_every_picture_is_in_exactly_one_fold(tiny_dataset: DemoDataset) -> None:
    validation, training = (frame_ids(tiny_dataset, fold) for fold in ("fold-000-of-002", "fold-001-of-002"))
    assert len(validation) == 3
    assert sorted(validation + training) == [f"image_2/{path.stem}" for path in tiny_dataset.images]


def test_records_agree_with_pictures_and_labels(tiny_dataset: DemoDataset) -> None:
    for path in tiny_dataset.tfrecords:
        for record in iterate_records(str(path)):
            features = parse_features(record.payload, "here")
            stem = Path(features["frame/id"].bytes_list.value[0].decode()).name
            with Image.open(tiny_dataset.root / "training" / "image_2" / f"{stem}.png") as picture:
                assert picture.height == features["frame/height"].int64_list.value[0]
                assert picture.width == features["frame/width"].int64_list.value[0]
            lines = (tiny_dataset.root / "training" / "label_2" / f"{stem}.txt").read_text().splitlines()
            columns = [line.split() for line in lines]
            assert all(len(column) == 15 for column in columns)
            names = [name.decode() for name in features["target/object_class"].bytes_list.value]
            assert names == [column[0].lower() for column in columns]
            for index, edge in enumerate(("x1", "y1", "x2", "y2"), start=4):
                values = features[f"target/coordinates_{edge}"].float_list.value
                assert np.allclose(values, [float(column[index]) for column in columns], atol=0.006)


def test_a_frame_without_objects_still_has_typed_lists() -> None:
    features = parse_features(example("image_2/000000", Size(375, 1242), []), "here")
    assert features["target/object_class"].WhichOneof("kind") == "bytes_list"
    assert features["target/occlusion"].WhichOneof("kind") == "int64_list"
    assert features["target/coordinates_x1"].WhichOneof("kind") == "float_list"


def test_equal_seeds_write_equal_bytes(tmp_path: Path) -> None:
    folders = [make_dataset(tmp_path / name, seed=seed, **SMALL) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    same, again, other = (
        [
            path.read_bytes()
            for path in sorted(dataset.root.rglob("*"))
            if path.suffix not in {".txt", ".json"} and path.is_file()
        ]
        for dataset in folders
    )
    assert same == again
    assert same != other


def test_without_validation_split_all_pictures_train(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "data", validation_split=False, **SMALL)
    assert "validation_fold" not in dataset.spec.read_text()
    assert len(frame_ids(dataset, "fold-001-of-002")) == 5


def test_paths_with_quotes_are_escaped_in_the_spec(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / 'a "quoted" place', **SMALL)
    assert 'a \\"quoted\\" place/training"' in dataset.spec.read_text()


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            make_dataset(tmp_path / "data", overwrite=overwrite, **SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine.txt"]


def test_overwrite_replaces_what_the_demo_made(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", **SMALL)
    with pytest.raises(OutputExistsError):
        make_dataset(tmp_path / "data", **SMALL)
    replaced = make_dataset(tmp_path / "data", overwrite=True, **{**SMALL, "images": 3})
    assert len(replaced.images) == 3


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        make_dataset(tmp_path / "file" / "data", **SMALL)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "data", progress=Interrupting(), **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_run_left_is_taken_over_and_the_old_data_set_stays_until_the_new_one_is_complete(
    tmp_path: Path,
) -> None:
    spec = make_dataset(tmp_path / "data", **SMALL).spec
    (tmp_path / ".data.part" / "training").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "data", overwrite=True, progress=Interrupting(), **SMALL)
    assert spec.is_file()
    (tmp_path / ".data.part" / "training").mkdir(parents=True)
    make_dataset(tmp_path / "data", overwrite=True, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


class Interrupting:
    """A user who presses Ctrl-C after the first picture."""

    def start(self, total_images: int) -> None:
        assert total_images == SMALL["images"]

    def advance(self, images: int) -> None:
        raise KeyboardInterrupt

    def finish(self) -> None:
        return


@pytest.mark.parametrize(
    "wrong", [{"images": 1}, {"seed": -1}, {"network_size": (100, 160)}, {"network_size": (0, 160)}]
)
def test_senseless_numbers_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_dataset(tmp_path / "data", **{**SMALL, **wrong})  # type: ignore[arg-type]
