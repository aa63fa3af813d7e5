"""What the PyTorch networks have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.pictures import encode, pixels

import int8cal
from int8cal.errors import ImageError, SpecError


def coco(name: str, boxes: list[list[int]]) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": name, "width": 13, "height": 11}],
            "annotations": [
                {"id": number, "image_id": 1, "category_id": 1, "bbox": box} for number, box in enumerate(boxes)
            ],
            "categories": [{"id": 1, "name": "car"}],
        }
    )


@pytest.fixture
def detection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec of RT-DETR whose two splits have an image of the same name, in folders of their own."""
    monkeypatch.chdir(tmp_path)
    for split, boxes in (("train", [[1, 2, 3, 4]]), ("val", [[5, 6, 7, 1]])):
        (tmp_path / split).mkdir()
        (tmp_path / split / "0001.png").write_bytes(encode(pixels()))
        (tmp_path / f"{split}.json").write_text(coco("0001.png", boxes))
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "dataset:\n"
        "  train_data_sources: [{image_dir: train, json_file: train.json}]\n"
        "  val_data_sources: {image_dir: val, json_file: val.json}\n"
    )
    return spec


@pytest.fixture
def detr(detection: Path) -> Path:
    """The same for DINO and Deformable DETR, whose validation data are a list."""
    detection.write_text(
        detection.read_text().replace(
            "{image_dir: val, json_file: val.json}", "[{image_dir: val, json_file: val.json}]"
        )
    )
    return detection


@pytest.mark.parametrize(("split", "box"), [("train", (1, 2, 4, 6)), ("val", (5, 6, 12, 7))])
def test_the_boxes_are_those_of_the_folder(detection: Path, split: str, box: tuple[int, ...]) -> None:
    plan = int8cal.plan(int8cal.read_spec("spec.yaml", "rtdetr"), split=split)
    (sample,) = plan.samples()
    (found,) = plan.origin.objects(sample)
    assert (found.name, found.box) == ("car", box)


@pytest.mark.parametrize(("split", "box"), [("train", (1, 2, 4, 6)), ("val", (5, 6, 12, 7))])
def test_the_boxes_are_found_from_the_folder_that_paths_start_from(
    detection: Path, monkeypatch: pytest.MonkeyPatch, split: str, box: tuple[int, ...]
) -> None:
    (detection.parent / "elsewhere").mkdir()
    monkeypatch.chdir(detection.parent / "elsewhere")
    for root in (str(detection.parent), ".."):
        plan = int8cal.plan(int8cal.read_spec(detection, "rtdetr"), split=split, data_root=root)
        (sample,) = plan.samples()
        (found,) = plan.origin.objects(sample) or [None]
        assert found is not None
        assert found.box == box


@pytest.mark.parametrize("name", ["cal_batch_size", "cal_batches"])
@pytest.mark.parametrize("number", [0, -3])
def test_a_number_that_makes_no_sense_is_not_taken_for_1(detection: Path, name: str, number: int) -> None:
    with detection.open("a") as file:
        file.write(f"gen_trt_engine:\n  tensorrt:\n    calibration:\n      {name}: {number}\n")
    line = len(detection.read_text().splitlines())
    with pytest.raises(SpecError, match=f"{name} is {number}; it must be > 0") as caught:
        int8cal.read_spec("spec.yaml", "rtdetr")
    assert caught.value.where == f"spec.yaml:{line}:7"


def test_all_that_a_network_refuses_is_found_at_once(detection: Path) -> None:
    with detection.open("a") as file:
        file.write("gen_trt_engine: {tensorrt: {calibration: {cal_batch_size: 0, cal_batches: 0}}}\n")
    with pytest.raises(SpecError, match=r"cal_batch_size is 0") as caught:
        int8cal.read_spec("spec.yaml", "rtdetr")
    assert "1 more: see int8cal spec check." in str(caught.value.hint)


@pytest.mark.parametrize("name", ["classification_pyt", "segformer"])
def test_the_size_that_is_exported_by_default_is_told(name: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("dataset: {}\n")
    notes = [note for note in int8cal.read_spec(spec, name).warnings if "by TAO's default" in note]
    assert len(notes) == 1
    assert "write export: {input_height: " in notes[0]
    spec.write_text("dataset: {}\nexport: {input_height: 224, input_width: 224}\n")
    assert not any("by TAO's default" in note for note in int8cal.read_spec(spec, name).warnings)


OLD = "gen_trt_engine: {tensorrt: {data_type: fp32}, input_width: %d, input_height: %d}\n"


@pytest.mark.parametrize("name", ["dino", "deformable_detr"])
@pytest.mark.parametrize(
    ("text", "width", "height", "told"),
    [
        ("", 640, 640, "by default"),
        ("gen_trt_engine: {opset_version: 12}\n", 960, 544, "by default"),
        (OLD % (960, 544), 960, 544, "as gen_trt_engine has it"),
        (OLD % (1280, 736), 1280, 736, "as gen_trt_engine has it"),
        (
            OLD % (1280, 736) + "export: {input_width: 320, input_height: 160}\n",
            320,
            160,
            "gen_trt_engine has 1280 × 736",
        ),
        (OLD % (320, 160) + "export: {input_width: 320, input_height: 160}\n", 320, 160, None),
        ("evaluate: {input_width: 960, input_height: 544}\n", 640, 640, "evaluate has 960 × 544"),
        ("export: {input_width: 320}\n", 320, 640, "by default"),
        ("export: {input_width: 320, input_height: 160}\n", 320, 160, None),
    ],
)
def test_the_exported_size(name: str, text: str, width: int, height: int, told: str | None, detr: Path) -> None:
    detr.write_text(f"{detr.read_text()}{text}")
    read = int8cal.read_spec("spec.yaml", name)
    assert int8cal.plan(read).image_shape == (3, height, width)
    notes = [note for note in read.warnings if "the exported size is" in note]
    assert len(notes) == (told is not None)
    for note in notes:
        assert told in note
        assert f"the exported size is {width} × {height}" in note


def test_an_engine_of_another_size_is_told(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"dataset: {{}}\n{OLD % (200, 64)}")
    (note,) = [note for note in int8cal.read_spec(spec, "ocrnet").warnings if "the engine's input" in note]
    assert "200 × 64" in note
    assert "model: {input_width: 200, input_height: 64}" in note
    spec.write_text(f"model: {{input_width: 200, input_height: 64}}\n{OLD % (200, 64)}")
    assert not any("the engine's input" in note for note in int8cal.read_spec(spec, "ocrnet").warnings)


@pytest.mark.parametrize(
    ("sides", "wrong"),
    [("input_width: 0, input_height: 32", "input_width"), ("input_width: 32, input_height: 0", "input_height")],
)
def test_the_side_that_is_wrong_is_named(sides: str, wrong: str, detr: Path) -> None:
    with detr.open("a") as file:
        file.write(f"export: {{{sides}}}\n")
    with pytest.raises(SpecError, match=f"export.{wrong} gives"):
        int8cal.plan(int8cal.read_spec("spec.yaml", "dino"))


@pytest.mark.parametrize(("numbers", "told"), [
    ("input_mean: [123.675, 116.28, 103.53]", ["input_mean"]),
    ("input_std: [58.4, 57.1, 57.4]", ["input_std"]),
    ("input_mean: [0.5, 0.5, 0.5], input_std: [1, 1, 1]", []),
])  # fmt: skip
def test_a_mean_for_levels_of_0_to_255_is_told_before_anything_is_made(
    numbers: str, told: list[str], detr: Path
) -> None:
    detr.write_text(detr.read_text() + f"  augmentation: {{{numbers}}}\n")
    plan = int8cal.plan(int8cal.read_spec("spec.yaml", "dino"), split="val")
    said = [one for one in plan.warnings if "divide it by 255" in one]
    assert [name in one for name, one in zip(told, said, strict=True)] == [True] * len(told)


def test_a_frame_that_is_not_named_has_a_place(detection: Path, tmp_path: Path) -> None:
    (tmp_path / "val.json").write_text(coco("h5://bgr", []))
    with pytest.raises(ImageError, match="names no frame") as caught:
        int8cal.plan(int8cal.read_spec("spec.yaml", "rtdetr"), split="val")
    assert str(caught.value.where).endswith("val.json")
