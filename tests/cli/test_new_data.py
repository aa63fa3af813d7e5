"""Starting from nothing: ``int8cal spec new`` and ``int8cal records``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from int8cal import networks
from int8cal.errors import DataError
from int8cal.network_kit.kitti_records import read_labels
from int8cal.samples.tfrecord import Example, iterate_records, parse_features

GOLDEN = Path(__file__).parents[1] / "golden" / "data"
NAMES = sorted(network.name for network in networks.all_networks())


@pytest.mark.parametrize("name", NAMES)
def test_a_new_spec_is_sound_and_of_its_network(name, run_cli, tmp_path):
    done = run_cli("spec", "new", name, "-o", "spec.txt")
    assert done.code == 0, done.stderr
    assert "int8cal spec check spec.txt" in done.stdout
    checked = run_cli("spec", "check", "spec.txt", "--network", name, "--strict")
    assert checked.code == 0, checked.stdout + checked.stderr
    text = (tmp_path / "spec.txt").read_text()
    assert "#" in text
    assert run_cli("spec", "new", name).stdout == text
    again = run_cli("spec", "new", name, "-o", "spec.txt")
    assert again.code == 5
    planned = run_cli(name, "plan", "-e", "spec.txt")
    assert planned.code in (3, 4), planned.stderr  # its paths are not there


def test_a_new_spec_of_nothing(run_cli):
    done = run_cli("spec", "new", "detectnet")
    assert done.code == 2
    assert "there is no network 'detectnet'\n  Did you mean detectnet_v2?" in done.stderr


def features(folder: Path) -> dict[str, dict[str, list]]:
    """Image → feature → values, of all records in a folder."""
    found = {}
    for file in sorted(folder.iterdir()):
        for record in iterate_records(str(file)):
            read = parse_features(record.payload, file.name)
            values = {name: list(getattr(feature, feature.WhichOneof("kind")).value) for name, feature in read.items()}
            found[values["frame/id"][0].decode()] = values
    return found


@pytest.mark.parametrize(
    ("name", "images", "extension", "records"),
    [
        ("small", "png", "png", "tfrecords_png"),
        ("small", "jpg", "jpg", "tfrecords_jpg"),
        ("third", "png", "png", "tfrecords_png"),
        ("cmyk", "jpg", "jpg", "tfrecords_jpg"),
    ],
)
def test_records_have_the_features_of_the_reference(name, images, extension, records, run_cli, tmp_path):
    """Those of NVIDIA's own converter, for the data sets of the goldens."""
    source = GOLDEN / name
    options = ("--image_dir", images, "--image_extension", extension, "--num_shards", "2")
    done = run_cli("records", source, "-o", "made", *options, "--json")
    assert done.code == 0, done.stderr
    expected, made = features(source / records), features(tmp_path / "made")
    assert set(made) >= set(expected)
    for image, values in expected.items():
        assert made[image] == values
    facts = json.loads(done.stdout)["records"]
    assert facts["files"] == sorted(
        f"kitti_trainval-fold-00{fold}-of-002-shard-0000{shard}-of-00002" for fold in (0, 1) for shard in (0, 1)
    )
    again = run_cli("records", source, "-o", "again", *options)
    assert again.code == 0
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "made").iterdir()
    }


def test_the_way_from_a_kitti_folder_to_a_tensorfile(run_cli, tmp_path):
    source = GOLDEN / "small"
    assert run_cli("records", source, "-o", "records", "--image_dir", "png").code == 0
    assert run_cli("spec", "new", "detectnet_v2", "-o", "spec.txt").code == 0
    options = ("--map", "/PATH/TO/TFRECORDS/NAME-*", tmp_path / "records" / "k", "--map", "/PATH/TO/DATA", source)
    spec = tmp_path / "spec.txt"
    spec.write_text(spec.read_text().replace("/PATH/TO/TFRECORDS/NAME-*", f"{tmp_path}/records/kitti_trainval-*"))
    made = run_cli("calibration_tensorfile", "-e", "spec.txt", "-o", "c.tensor", "-m", "1", *options[3:])
    assert made.code == 0, made.stderr
    assert run_cli("verify", "c.tensor", "-e", "spec.txt", *options[3:]).code == 0


def test_sequences_stay_together(run_cli, tmp_path):
    data = Path(shutil.copytree(GOLDEN / "small", tmp_path / "data"))
    names = sorted(file.stem for file in (data / "png").iterdir())
    (tmp_path / "sequences.txt").write_text(f"one {' '.join(names[::2])}\ntwo {' '.join(names[1::2])}\n")
    options = ("--image_dir", "png", "--sequences", "sequences.txt", "--val_split", "50", "--json")
    done = run_cli("records", "data", "-o", "made", *options)
    assert done.code == 0, done.stderr
    assert sorted(json.loads(done.stdout)["records"]["frames"]) == sorted([len(names[::2]), len(names[1::2])])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("car 0 1e30 0 1 2 30 40 0 0 0 0 0 0 0", "occluded is '1e30', not a whole number"),
        ("car 0 2.7 0 1 2 30 40 0 0 0 0 0 0 0", "occluded is '2.7', not a whole number"),
        ("car 0 0 0 1 2 1e39 40 0 0 0 0 0 0 0", "a column is not a finite float of 32 bits: '1e39'"),
        ("car 0 0 0 1 2 nan 40 0 0 0 0 0 0 0", "a column is not a finite float of 32 bits: 'nan'"),
        ("car 0 0 0 1_0 2 30 40 0 0 0 0 0 0 0", "a column is not a number: '1_0'"),
        ("\n" * (1 << 22) + "car 0 0 0 1 2 30 40 0 0 0 0 0 0 0", "more than 4 MiB"),
    ],
)
def test_labels_that_a_record_cannot_hold(columns: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text(columns)
    with pytest.raises(DataError, match=words):
        read_labels(str(tmp_path / "0.txt"))


@pytest.mark.parametrize("occluded", ["1", "1.0", "-1"])
def test_whole_numbers_may_have_a_point(occluded: str, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text(f"car 0 {occluded} 0 1 2 30 40 0 0 0 0 0 0 0\n")
    assert read_labels(str(tmp_path / "0.txt"))[0].occluded == int(float(occluded))


@pytest.mark.parametrize("text", ["car 0 0 0 1 2 30 40 0 0 0 0 0 0 0\n", ""])
def test_a_byte_order_mark_is_no_part_of_a_class(text: str, tmp_path: Path) -> None:
    (tmp_path / "0.txt").write_text(text, encoding="utf-8-sig")
    assert [label.name for label in read_labels(str(tmp_path / "0.txt"))] == text.split()[:1]


def test_images_of_another_suffix_are_told(run_cli, tmp_path):
    data = Path(shutil.copytree(GOLDEN / "small", tmp_path / "data"))
    for name in ("000001", "000002"):
        shutil.copy(data / "png" / f"{name}.png", data / "png" / f"{name}.x.jpg")
    (data / "png" / "notes").touch()
    plain = run_cli("records", "data", "-o", "made", "--image_dir", "png")
    assert plain.code == 0, plain.stderr
    assert "files not named *.png 2 .jpg, 1 without suffix" in " ".join(plain.stdout.split())
    assert "warning: images not named *.png are left out: 2 .jpg" in plain.stderr
    done = run_cli("records", "data", "-o", "again", "--image_dir", "png", "--json")
    assert json.loads(done.stdout)["records"]["left_out"] == {".jpg": 2, "without suffix": 1}


@pytest.mark.parametrize(
    ("spoil", "arguments", "words"),
    [
        (lambda data: None, ("--image_extension", "jpg"), ("no image is named *.jpg", "Add --image_extension png")),
        (lambda data: None, ("--image_dir", "images"), (
            "data/images: there is no such folder of images", "--image_dir and --label_dir. Folders in data: ", "png",
        )),
        (lambda data: None, ("--label_dir", "labels"), ("data/labels: there is no such folder of labels",)),
        (lambda data: (data / "label_2" / "000001.txt").unlink(), (), ("000001.txt", "the label file is missing")),
        (
            lambda data: (data / "label_2" / "000001.txt").write_text("Car 0 0\n"),
            (),
            ("000001.txt:1: a label of 3 col",),
        ),
        (
            lambda data: (data / "label_2" / "000001.txt").write_text(f"Car {'x ' * 14}\n"),
            (),
            ("000001.txt:1: a column is not a number",),
        ),
        (lambda data: (data / "png" / "000001.png").write_bytes(b"broken"), (), ("000001.png",)),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_data_set(spoil, arguments, words, run_cli, tmp_path):
    data = Path(shutil.copytree(GOLDEN / "small", tmp_path / "data"))
    spoil(data)
    done = run_cli("records", "data", "-o", "made", "--image_dir", "png", *arguments)
    assert done.code == 4, done.stderr
    for one in words:
        assert one in done.stderr
    assert not (tmp_path / "made").exists()


def test_labels_are_read_as_they_are_written():
    for file in sorted((GOLDEN / "small" / "label_2").iterdir()):
        written = [[part.lower() for part in line.split()] for line in file.read_text().splitlines()]
        read = [label.line().lower().split() for label in read_labels(str(file))]
        assert [row[0] for row in read] == [row[0] for row in written]
        for mine, theirs in zip(read, written, strict=True):
            assert list(map(float, mine[1:])) == pytest.approx(list(map(float, theirs[1:])), abs=0.005)


def test_an_image_without_objects_still_has_all_features():
    from int8cal.network_kit.kitti_records import example
    from int8cal.types import Size

    parsed = Example.FromString(example("a/b", Size(3, 4), []))
    assert len(parsed.features.feature) == 18
