from __future__ import annotations

from pathlib import Path

import pytest

from int8cal.errors import DataError, MissingDataError, RecordError
from int8cal.samples.sources import DataloaderMode, SourcePaths, TFRecordSelection, read_tfrecord_split

from ...build import BOX, LABELS, record, write_records


def source(root: Path, name: str, index: int = 0) -> SourcePaths:
    return SourcePaths(index, str(root / name / "records" / "*"), str(root / name), "png")


def select(
    *sources: SourcePaths, mode: DataloaderMode = DataloaderMode.MULTISOURCE, **others: object
) -> TFRecordSelection:
    return TFRecordSelection(sources=sources, mode=mode, **others)  # type: ignore[arg-type]


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """Source ``a`` with the folds 0 and 1 of two files each, written in another order than their names'."""
    for name, frames in (("1-of-2-s1", "hg"), ("0-of-2-s1", "dc"), ("0-of-2-s0", "ba"), ("1-of-2-s0", "fe")):
        file = tmp_path / "a" / "records" / f"fold-00{name[0]}-of-002-shard{name[-1]}"
        write_records(file, [record(f"png/{frame}", 10, 20) for frame in frames])
    return tmp_path


def test_fold_decides_by_file_name_and_files_are_sorted(folds: Path) -> None:
    selection = select(source(folds, "a"), validation_fold=0)
    validation, training = (read_tfrecord_split(selection, split) for split in ("validation", "training"))
    assert [sample.frame_id for sample in validation.samples] == ["png/b", "png/a", "png/d", "png/c"]
    assert [sample.frame_id for sample in training.samples] == ["png/f", "png/e", "png/h", "png/g"]
    first = validation.samples[0]
    assert first.path == f"{folds}/a/png/b.png"
    assert (first.height, first.width, first.source) == (10, 20, 0)
    assert first.record is not None
    assert first.record.offset == 0
    assert first.record.path.endswith("fold-000-of-002-shard0")


def test_without_a_split_everything_is_training(folds: Path) -> None:
    assert len(read_tfrecord_split(select(source(folds, "a")), "training").samples) == 8
    with pytest.raises(DataError, match="no validation split"):
        read_tfrecord_split(select(source(folds, "a")), "validation")


def test_validation_source_is_the_validation_split(folds: Path) -> None:
    write_records(folds / "v" / "records" / "r", [record("png/v")])
    selection = select(source(folds, "a"), validation_source=source(folds, "v"))
    assert [sample.frame_id for sample in read_tfrecord_split(selection, "validation").samples] == ["png/v"]
    assert len(read_tfrecord_split(selection, "training").samples) == 8


def test_missing_validation_source_matters_only_where_it_decides_numbers(folds: Path) -> None:
    selection = select(source(folds, "a"), validation_source=source(folds, "gone"))
    dataset = read_tfrecord_split(selection, "training")
    assert len(dataset.samples) == 8
    assert any("gone" in warning for warning in dataset.warnings)
    with pytest.raises(MissingDataError, match="gone"):
        read_tfrecord_split(selection, "validation")
    decisive = select(source(folds, "a"), validation_source=source(folds, "gone"), needs_validation_sizes=True)
    with pytest.raises(MissingDataError, match="gone"):
        read_tfrecord_split(decisive, "training")


def test_sizes_of_the_validation_split_are_read_on_demand(folds: Path) -> None:
    write_records(folds / "v" / "records" / "r", [record("png/v", 7, 9)])
    selection = select(source(folds, "a"), validation_source=source(folds, "v"), needs_validation_sizes=True)
    sources = read_tfrecord_split(selection, "training").validation_sources
    assert sources is not None
    assert [(sample.height, sample.width) for sample in sources[0].samples] == [(7, 9)]
    assert read_tfrecord_split(select(source(folds, "a")), "training").validation_sources is None


def test_source_without_records_in_the_split_stays_and_is_reported(folds: Path) -> None:
    write_records(folds / "b" / "records" / "fold-001-of-002", [record("png/only-training")])
    selection = select(source(folds, "a"), source(folds, "b", 1), validation_fold=0)
    dataset = read_tfrecord_split(selection, "validation")
    assert [len(part.samples) for part in dataset.sources] == [4, 0]
    assert any("Data source 1" in warning and "no records" in warning for warning in dataset.warnings)


def test_split_without_any_record_is_an_error(folds: Path) -> None:
    with pytest.raises(DataError, match="no record is in the validation split") as caught:
        read_tfrecord_split(select(source(folds, "a"), validation_fold=5), "validation")
    assert "fold-005-of-" in str(caught.value)


def test_a_fold_that_no_file_has_leaves_all_in_the_training_split_which_is_said(folds: Path) -> None:
    everything = read_tfrecord_split(select(source(folds, "a")), "training")

    found = read_tfrecord_split(select(source(folds, "a"), validation_fold=5), "training")

    assert found.samples == everything.samples
    assert found.warnings == (
        "validation_fold is 5, and no TFRecord file has 'fold-005-of-' in its path: all are in the training split.",
    )
    assert read_tfrecord_split(select(source(folds, "a"), validation_fold=0), "training").warnings == ()


def test_legacy_mode_has_no_validation_fold(folds: Path) -> None:
    with pytest.raises(DataError, match="LEGACY"):
        read_tfrecord_split(select(source(folds, "a"), mode=DataloaderMode.LEGACY, validation_fold=0), "validation")


def test_image_folder_must_be_there(folds: Path) -> None:
    lost = SourcePaths(0, source(folds, "a").pattern, str(folds / "nowhere"), "png")
    with pytest.raises(MissingDataError, match=r"No dataset image directory found at path: '.*nowhere'"):
        read_tfrecord_split(select(lost), "training")


@pytest.mark.parametrize(
    ("mode", "labels", "missing"),
    [
        (DataloaderMode.MULTISOURCE, BOX, "target/object_class"),
        (DataloaderMode.MULTISOURCE, LABELS[:-1], "target/coordinates_y2"),
        (DataloaderMode.LEGACY, BOX[1:], "target/coordinates_x1"),
    ],
)
def test_label_features_that_the_reference_needs(
    tmp_path: Path, mode: DataloaderMode, labels: tuple[str, ...], missing: str
) -> None:
    write_records(tmp_path / "a" / "records" / "r", [record(labels=labels)])
    with pytest.raises(RecordError, match=missing) as caught:
        read_tfrecord_split(select(source(tmp_path, "a"), mode=mode), "training")
    assert "records/r:+0" in str(caught.value)


def test_labels_may_be_polygons_and_later_records_may_lack_them(tmp_path: Path) -> None:
    polygon = ("target/object_class", *(f"target/coordinates/{part}" for part in ("x", "y", "index")))
    write_records(tmp_path / "a" / "records" / "r", [record(labels=polygon), record("png/1", labels=())])
    assert len(read_tfrecord_split(select(source(tmp_path, "a")), "training").samples) == 2
    write_records(tmp_path / "a" / "records" / "r", [record(labels=())])
    assert len(read_tfrecord_split(select(source(tmp_path, "a"), mode=DataloaderMode.DEFAULT), "training").samples) == 1


@pytest.mark.parametrize(
    ("payload", "missing"),
    [
        (record(None), "frame/id"),
        (record(height=None), "frame/height"),
        (record(width=None), "frame/width"),
    ],
)
def test_record_without_a_needed_feature(tmp_path: Path, payload: bytes, missing: str) -> None:
    write_records(tmp_path / "a" / "records" / "r", [record(), payload])
    with pytest.raises(RecordError, match=missing) as caught:
        read_tfrecord_split(select(source(tmp_path, "a")), "training")
    assert "records/r:+" in str(caught.value)


def test_sizes_may_be_absent_outside_mode_0(tmp_path: Path) -> None:
    write_records(tmp_path / "a" / "records" / "r", [record(height=None, width=None)])
    (sample,) = read_tfrecord_split(select(source(tmp_path, "a"), mode=DataloaderMode.DEFAULT), "training").samples
    assert (sample.height, sample.width) == (0, 0)
