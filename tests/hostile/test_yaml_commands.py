"""Bad input for each PyTorch network: exit code, at most three lines, nothing under the final name, bounded cost."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.pictures import encode, pixels
from tests.specs import YAML_SPECS, changed

import int8cal
from int8cal.cli.app import run
from int8cal.errors import SpecError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 20)
)
COCO = ("rtdetr", "dino", "deformable_detr")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("images", "train/animals", "seg/images/train"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / folder / f"{number}.png").write_bytes(encode(pixels(20, 30, seed=number)))
    write_coco(tmp_path, 3)
    (tmp_path / "gt.txt").write_text("".join(f"{number}.png word\n" for number in range(3)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_coco(folder: Path, count: int, **more: Any) -> None:
    images = [{"id": number, "file_name": f"{number}.png", "width": 30, "height": 20} for number in range(count)]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": [], **more}))


@pytest.fixture
def refused(here: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    def refused(network: str, text: str, code: int, *words: str, arguments: tuple[str, ...] = ()) -> str:
        (here / "spec.yaml").write_text(text)
        begin = time.process_time()
        command = [network, "calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor", "-m", "-1", *arguments]
        assert run(command) == code
        said = capfd.readouterr().err
        lines = [line for line in said.splitlines() if "warning:" not in line]
        assert len(lines) <= 3, said
        assert all(word in said for word in words), said
        assert "Traceback" not in said
        assert not [name for name in os.listdir(here) if name.startswith("out.tensor")]
        assert time.process_time() - begin < 30
        return said

    return refused


@pytest.mark.parametrize("network", YAML_SPECS)
def test_the_sound_one_runs(here: Path, network: str) -> None:
    (here / "spec.yaml").write_text(YAML_SPECS[network])
    assert run([network, "calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor"]) == 0
    assert run(["verify", "out.tensor", "-e", "spec.yaml"]) == 0
    assert run(["inspect", "out.tensor"]) == 0


@pytest.mark.parametrize(
    ("split", "value", "words"),
    [
        ("test", "[images]", "image_dir of dataset.test_data_sources is a list, not text"),
        ("test", "{a: b}", "image_dir of dataset.test_data_sources is a mapping, not text"),
        ("infer", "{a: b}", "image_dir of dataset.infer_data_sources is a mapping, not text"),
        ("infer", "[[a]]", "image_dir of dataset.infer_data_sources is a list, not text"),
        ("infer", '"???"', "dataset.infer_data_sources has ??? for image_dir"),
    ],
)
def test_a_folder_that_is_no_text(refused: Any, split: str, value: str, words: str) -> None:
    source = f"{split}_data_sources: {{image_dir: {value}, json_file: coco.json}}"
    text = changed(YAML_SPECS["rtdetr"], ("dataset: {", f"dataset: {{{source}, "))
    refused("rtdetr", text, 4, words, arguments=("--split", split))


@pytest.mark.parametrize(
    ("asked", "text", "note"),
    [
        (
            "rtdetr",
            YAML_SPECS["dino"].replace("{input_std: [0.2]}", "{}"),
            "its model_name is dino, and its keys are those of rtdetr: runs as rtdetr",
        ),
        (
            "dino",
            YAML_SPECS["deformable_detr"],
            "its model_name is deformable_detr, and its keys are those of dino: runs as dino",
        ),
        (
            "ocrnet",
            YAML_SPECS["ocrnet"] + "model_name: rtdetr\n",
            "its model_name is rtdetr, and its keys are those of ocrnet: runs as ocrnet",
        ),
        (
            "segformer",
            YAML_SPECS["segformer"] + "model_name: visual_changenet\n",
            "its model_name is visual_changenet, and its keys are those of segformer: runs as segformer",
        ),
    ],
)
def test_a_model_name_of_another_network(
    here: Path, capfd: pytest.CaptureFixture[str], asked: str, text: str, note: str
) -> None:
    (here / "spec.yaml").write_text(text)
    assert run([asked, "plan", "-e", "spec.yaml"]) == 0
    assert note in capfd.readouterr().err
    assert run([asked, "plan", "-e", "spec.yaml", "--strict_network"]) == 3
    assert note.partition(": runs")[0] in capfd.readouterr().err
    assert any(note in one for one in int8cal.read_spec("spec.yaml", asked).warnings)
    with pytest.raises(SpecError):
        int8cal.read_spec("spec.yaml", asked, strict_network=True)


@pytest.mark.parametrize("network", ["dino", "deformable_detr"])
def test_a_file_tells_of_which_network_it_is(here: Path, network: str, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "spec.yaml").write_text(YAML_SPECS[network].replace(f"model_name: {network}\n", ""))
    changed = "export.input_height=16"
    made = [network, "calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor", changed]
    assert run(made) == 0
    assert run(["verify", "out.tensor", "-e", "spec.yaml", "--override", changed]) == 0
    assert "equal in every bit" in capfd.readouterr().out
    assert run(["verify", "out.tensor", "-e", "spec.yaml"]) == 6
    assert run(["verify", "out.tensor", "--override", changed]) == 2


def test_each_command_ends_with_the_one_that_fits_what_was_given(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "spec.yaml").write_text(YAML_SPECS["dino"])
    override = "export.input_height=16"
    given = [
        "--split",
        "train",
        "--order",
        "listing",
        "--seed",
        "7",
        "-m",
        "2",
        "--map",
        "images",
        "./images",
        override,
    ]
    assert run(["dino", "plan", "-e", "spec.yaml", "--form", "export", *given]) == 0
    made = shlex.split(capfd.readouterr().out.splitlines()[-1])
    assert run(made[1:]) == 0
    record = json.loads((here / "FILE.json").read_text())
    assert record["run"]["overrides"] == [override]
    assert record["batches"] == 2
    assert record["manifest"]["options"] == {"form": "export", "order": "listing"}
    verified = next(line for line in capfd.readouterr().out.splitlines() if "int8cal verify" in line)
    assert run(shlex.split(verified)[1:]) == 0
    assert "equal in every bit" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("network", "old", "new", "code", "words"),
    [
        ("rtdetr", "image_dir: images", "image_dir: /workspace/tao/images", 4, ["--map /workspace/tao "]),
        ("rtdetr", "image_dir: images", "image_dir: imges", 4, ["working directory has images", "--map imges "]),
        ("rtdetr", "image_dir: images", "image_dir: coco.json", 4, ["coco.json is a file, not a folder: unpack it"]),
        (
            "rtdetr",
            "json_file: coco.json",
            "json_file: labels.json",
            4,
            ["--map labels.json FILE to", "--map labels.json FILE\n"],
        ),
        ("dino", "image_dir: images", 'image_dir: "???"', 4, ["has ??? for image_dir"]),
        ("dino", "image_dir: images", "image_dir: [images]", 3, ["a list stands where text is needed"]),
        ("dino", "input_std: .0.2.", "input_std: [.inf, 1, 1]", 3, ["one value of all levels"]),
        ("rtdetr", "json_file: coco.json", "json_file: null", 3, ["null stands where text is needed"]),
        ("rtdetr", "json_file: coco.json", "json_file: none.json", 4, ["Nothing is listed in none.json"]),
        ("classification_pyt", "images_dir: train", "images_dir: up", 4, ["one level deeper: name up/train"]),
        ("classification_pyt", "images_dir: train", "images_dir: train/animals", 4, ["holds images itself"]),
        ("classification_pyt", "images_dir: train", "images_dir: upper", 4, ["there are .PNG."]),
    ],
)
def test_what_a_wrong_path_should_be(
    refused: Any, here: Path, network: str, old: str, new: str, code: int, words: list[str]
) -> None:
    (here / "none.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (here / "upper" / "animals").mkdir(parents=True)
    shutil.copytree(here / "train", here / "up" / "train")
    (here / "upper" / "animals" / "0.PNG").write_bytes(b"")
    refused(network, changed(YAML_SPECS[network], (old, new)), code, *words)


LIKE_FASTER_RCNN = """random_seed: 42
verbose: true
model_config:
  input_image_config:
    image_type: RGB
    size_height_width: {height: 160, width: 176}
  arch: resnet:18
dataset_config:
  data_sources:
  - tfrecords_path: records/*
    image_directory_path: images
training_config: {enable_augmentation: true}
"""


def test_a_yaml_with_the_keys_of_faster_rcnn_is_not_taken_for_it(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for text, code in ((LIKE_FASTER_RCNN, 3), (f"model_name: faster_rcnn\n{YAML_SPECS['rtdetr']}", 0)):
        (here / "spec.yaml").write_text(text.replace("model_name: rtdetr\n", ""))
        assert run(["calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor"]) == code
    assert "this YAML fits no network's spec" in capfd.readouterr().err
    assert json.loads((here / "out.tensor.json").read_text())["manifest"]["network"] == "rtdetr"


@pytest.mark.parametrize("network", YAML_SPECS)
class TestEveryNetwork:
    def test_evaluations(self, refused: Any, here: Path, network: str) -> None:
        code = "__import__(''pathlib'').Path(''evaluated'').touch()"
        text = YAML_SPECS[network] + f"results_dir: '${{eval:\"{code}\"}}'\n"
        refused(network, text, 3, "Python code", "spec.yaml:")
        assert not (here / "evaluated").exists()

    def test_circles(self, refused: Any, network: str) -> None:
        refused(
            network,
            YAML_SPECS[network] + "results_dir: ${encryption_key}\nencryption_key: ${results_dir}\n",
            3,
            "circle",
        )

    def test_bombs(self, refused: Any, network: str) -> None:
        refused(network, YAML_SPECS[network] + f"train:\n  x: 1\n{LAUGHS}", 3, "values")

    def test_objects(self, refused: Any, network: str) -> None:
        refused(
            network, YAML_SPECS[network] + "results_dir: !!python/object/apply:os.system [id]\n", 3, "python/object"
        )

    def test_whole_numbers_that_python_could_not_print(self, refused: Any, network: str) -> None:
        for number in ("0b" + "1" * 15000, "0x" + "f" * 4000, "1" + ":59" * 3000, "9" * 4000):
            refused(network, f"results_dir: {number}\n{YAML_SPECS[network]}", 3, "cannot be read as int")
        refused(network, YAML_SPECS[network], 2, "digits", arguments=(f"results_dir={'9' * 4000}",))

    def test_unknown_keys_and_doubles(self, refused: Any, network: str) -> None:
        refused(network, YAML_SPECS[network] + "reslts_dir: /x\n", 3, "Did you mean results_dir?", "spec.yaml:")
        refused(network, YAML_SPECS[network] + "results_dir: a\nresults_dir: b\n", 3, "written twice")

    def test_overrides(self, refused: Any, network: str) -> None:
        for override in ("+results_dir=x", "~results_dir", "results_dir", "dataset[0]=1"):
            refused(network, YAML_SPECS[network], 2, override, arguments=(override,))
        refused(network, YAML_SPECS[network], 3, "no_such_key=1", arguments=("no_such_key=1",))

    def test_a_damaged_image(self, refused: Any, here: Path, network: str) -> None:
        for folder in ("images", "train/animals", "seg/images/train"):
            path = here / folder / "1.png"
            path.write_bytes(path.read_bytes()[:60])
        refused(network, YAML_SPECS[network], 4, "1.png")

    def test_a_split_that_is_not_given(self, refused: Any, network: str) -> None:
        refused(network, YAML_SPECS[network], 4, arguments=("--split", "val"))

    def test_not_enough_images(self, refused: Any, network: str) -> None:
        refused(network, YAML_SPECS[network], 4, "3 train images", arguments=("--batch_size", "4"))


@pytest.mark.parametrize("network", [*COCO, "ocrnet"])
def test_a_missing_image(refused: Any, here: Path, network: str) -> None:
    (here / "images/2.png").unlink()
    refused(network, YAML_SPECS[network], 4, "images/2.png")


@pytest.mark.parametrize("network", YAML_SPECS)
def test_no_image_at_all(refused: Any, here: Path, network: str) -> None:
    for folder in ("images", "train/animals", "seg/images/train"):
        shutil.rmtree(here / folder)
        (here / folder).mkdir()
    write_coco(here, 0)
    (here / "gt.txt").write_text("")
    refused(network, YAML_SPECS[network], 4)


@pytest.mark.parametrize("network", COCO)
def test_broken_annotations(refused: Any, here: Path, network: str) -> None:
    whole = (here / "coco.json").read_text()
    (here / "coco.json").write_text(whole[:-5])
    refused(network, YAML_SPECS[network], 4, "coco.json", "not JSON")
    (here / "coco.json").write_text("[" * 100_000)
    refused(network, YAML_SPECS[network], 4, "coco.json")
    (here / "coco.json").unlink()
    refused(network, YAML_SPECS[network], 4, "coco.json")


@pytest.mark.parametrize("network", COCO)
def test_an_id_twice_is_one_image_and_noted(here: Path, network: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_coco(here, 3, images=[{"id": 1, "file_name": "0.png"}, {"id": 1, "file_name": "1.png"}])
    (here / "spec.yaml").write_text(YAML_SPECS[network])
    assert run([network, "calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor"]) == 0
    said = capfd.readouterr()
    assert "1 images have the id of a later one" in said.err
    assert "1 of 1 image," in said.out


def test_a_database_that_is_cut_off(refused: Any, here: Path) -> None:
    import lmdb

    with lmdb.open(str(here / "words"), map_size=1 << 20) as opened, opened.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"1")
        transaction.put(b"image-000000001", encode(pixels(20, 30)))
    text = YAML_SPECS["ocrnet"].replace("[images], train_gt_file: gt.txt", "[words]")
    (here / "spec.yaml").write_text(text)
    assert run(["ocrnet", "calibration_tensorfile", "-e", "spec.yaml", "-o", "whole.tensor"]) == 0
    data = (here / "words/data.mdb").read_bytes()
    (here / "words/data.mdb").write_bytes(data[:-4096])
    refused("ocrnet", text, 4, "cut off")


def test_a_spec_that_names_no_network(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "spec.yaml").write_text("dataset: {train_data_sources: [{image_dir: images, json_file: coco.json}]}\n")
    assert run(["calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor"]) == 3
    said = capfd.readouterr().err
    assert "deformable_detr or dino or rtdetr" in said
    (here / "spec.yaml").write_text(YAML_SPECS["rtdetr"] + "model_name: my very own\n")
    assert run(["calibration_tensorfile", "-e", "spec.yaml", "-o", "out.tensor"]) == 0
