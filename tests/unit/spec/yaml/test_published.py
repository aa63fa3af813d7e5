"""The 268 published YAML specs of TAO: ours load or are refused with the reason; edits change nothing else."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from int8cal import networks
from int8cal.errors import SpecError
from int8cal.origins.experiment import read_document, read_spec
from int8cal.spec.languages import language_of
from int8cal.spec.update import Substitution, update_spec
from int8cal.spec.yaml import known_networks
from int8cal.spec.yaml.document import YamlSpec
from int8cal.spec.yaml.schema import Schema
from int8cal.spec.yaml.text import Scalar, scalars, written_as
from int8cal.spec.yaml.text import read_document as read_text

FOLDER = Path(__file__).parents[3] / "data" / "specs_yaml"
with (FOLDER / "index.csv").open(newline="") as file:
    INDEX = list(csv.DictReader(file))


OURS = [row for row in INDEX if row["network"] in known_networks() and "ParserError" not in row["schema_7_0_1"]]
OLDER = {
    "deformable_detr/tao_tutorials__5.5__specs_gen_trt_engine.yaml": "TAO 5.0 to 5.5",
    "dino/tao_tutorials__5.1__specs_gen_trt_engine.yaml": "TAO 5.0 to 5.5",
    "ocrnet/tao_tutorials__5.2__specs_experiment.yaml": "TAO 5.0 to 5.2",
}
"""Refused by TAO 7.0.1, and of an older release in every key."""

OTHERS = [
    row for row in INDEX if row["network"] in ("ml_recog", "visual_changenet") and "Parser" not in row["schema_7_0_1"]
]
"""Specs that lack what tells them from others, or have all that another network has."""

UNJUDGED_KEY = "ml_recog/tao_tutorials__5.2__specs_train.yaml"
"""Its wrong key lies in the section model, where it decides no pixel."""

OTHER_REASON = {
    "ml_recog/tao_pytorch_backend__5.2__experiment_specs_train.yaml",  # that key is in model; another one is wrong
    "rtdetr/tao_pytorch_backend__6.25.10__experiment_specs_quantize.yaml",  # the value that holds the key is not a list
}


def ids(rows: list[dict[str, str]]) -> list[str]:
    return [row["file"] for row in rows]


def test_the_set_is_whole() -> None:
    assert len(INDEX) == 268
    assert sorted({row["network"] for row in OURS}) == known_networks()


NEW_TEXTS = ("/mnt/new", '/mnt/it\'s a "place": {1}, #2', "true", "\n")


@pytest.mark.parametrize("row", INDEX, ids=ids(INDEX))
def test_it_is_yaml_and_comes_back_byte_for_byte_but_for_what_is_replaced(row: dict[str, str]) -> None:
    data = (FOLDER / row["file"]).read_bytes()
    assert language_of(data).title == "YAML"
    if "ParserError" in row["schema_7_0_1"]:
        with pytest.raises(SpecError) as caught:
            read_text(data, "spec.yaml")
        assert re.fullmatch(r"spec\.yaml:\d+:\d+", caught.value.where or "")
        return
    document = read_text(data, "spec.yaml")
    spec = YamlSpec("spec.yaml", document, document.root, Schema({}), "any")
    assert spec.to_bytes() == data
    assert spec.with_edits([]).to_bytes() == data

    text = data.decode()
    found = list(scalars(document.root))
    expected = {name: one.value for name, one in found}
    texts = [(name, one) for name, one in found if isinstance(one.value, str)]
    for number, (name, one) in enumerate(reversed(texts[:: max(1, len(texts) // 6)])):
        expected[name] = NEW_TEXTS[number % len(NEW_TEXTS)]
        text = f"{text[: one.start]}{written_as(expected[name], text[one.start : one.end])}{text[one.end :]}"
    assert {name: one.value for name, one in scalars(read_text(text.encode(), "").root)} == expected


TOLD_APART_BY_NOTHING = "visual_changenet/tao-deploy__7.2__segment_gen_trt_engine.yaml"
"""All its keys are SegFormer's."""


@pytest.mark.parametrize(
    "row", [row for row in OTHERS if row["file"] != TOLD_APART_BY_NOTHING], ids=lambda row: row["file"]
)
def test_it_is_not_taken_for_a_spec_of_another_network(row: dict[str, str]) -> None:
    ours = row["network"] in known_networks()
    assert (row["network"] if ours else "VisualChangeNet") in told(FOLDER / row["file"])


def told(path: Path) -> str:
    """Whose spec it is, or what is said of it when that is not clear."""
    try:
        return read_document(str(path), allow_unknown_fields=True).root
    except SpecError as error:
        return str(error)


@pytest.mark.parametrize(
    "row", [row for row in INDEX if row["network"] not in known_networks()], ids=lambda row: row["file"]
)
def test_a_spec_of_a_network_that_is_not_here_is_not_read(row: dict[str, str]) -> None:
    if row["file"] != TOLD_APART_BY_NOTHING:
        with pytest.raises(SpecError):
            read_document(str(FOLDER / row["file"]))


QUANTIZE = "results_dir: ???\nmodel: {backbone: %s}\nquantize: {backend: modelopt.pytorch, algorithm: max}\n"
QUANTIZE += "dataset: {quant_calibration_dataset: {images_dir: images}}\n"
FOLDER_OF_IMAGES = "dataset: {batch_size: 16, test_dataset: {images_dir: images}}\ninference: {checkpoint: m.pth}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (QUANTIZE % "deformable_resnet18", "its keys are those of ocrnet, but its model is of another network"),
        (QUANTIZE % "resnet50", "its keys are those of ocrnet, but its model is of another network"),
        (QUANTIZE % "VGG", None),
        (QUANTIZE % "ResNet2X", None),
        (QUANTIZE % "ResNet2X" + "model_name: ocdnet\n", "this is an OCDNet spec"),
        (QUANTIZE % "ResNet2X" + "model_name: rtdetr\n", "its model_name is rtdetr, and its keys are those of ocrnet"),
        (FOLDER_OF_IMAGES + "model: {backbone: {teacher_type: vit_l, img_size: 518}}\n", "this is an NVDINOv2 spec"),
        (FOLDER_OF_IMAGES + "model: {backbone: {type: mit_b0}}\n", "classification_pyt or segformer, or of a network"),
        ("model: {num_co_heads: 2}\ndataset: {train_data_sources: [], dataset_type: default}\n", "a Co-DETR spec"),
        ("model: {rgb_seq_length: 3}\ndataset: {train_dataset_dir: [d]}\n", "this is an ActionRecognitionNet spec"),
    ],
)
def test_the_section_model_and_the_name_tell_networks_apart(tmp_path: Path, text: str, told: str | None) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    if told is None:
        assert read_document(str(tmp_path / "spec.yaml")).root.split(".")[1] in ("ocrnet", "classification_pyt")
        return
    with pytest.raises(SpecError, match=told):
        read_document(str(tmp_path / "spec.yaml"))


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_keys_in_quotes_are_yaml_whatever_ends_a_line(quote: str, end: str) -> None:
    keys = [f"{quote}{key}{quote}:" for key in ("dataset", "segment", "root_dir")]
    lines = ["# model_config {", keys[0], f"  {keys[1]}", f"    {keys[2]} /data", ""]
    assert language_of(end.join(lines).encode()).title == "YAML"


@pytest.mark.parametrize("network", [None, "faster_rcnn"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_yaml_with_the_names_of_faster_rcnn_is_not_its_spec(tmp_path: Path, quote: str, network: str | None) -> None:
    text = (
        "random_seed: 42\nmodel_config:\n  arch: resnet:18\n  rpn_stride: 16\ndataset_config:\n  image_extension: png\n"
    )
    (tmp_path / "spec.yaml").write_text(re.sub(r"(\w+):(?=\s)", rf"{quote}\1{quote}:", text))
    with pytest.raises(SpecError, match="this YAML fits no network's spec"):
        read_document(str(tmp_path / "spec.yaml"), network)


@pytest.mark.parametrize("row", OURS, ids=ids(OURS))
def test_it_loads_or_is_refused_with_the_reason(row: dict[str, str]) -> None:
    path = FOLDER / row["file"]
    if row["schema_7_0_1"] == "ok" or row["file"] in OLDER or row["file"] == UNJUDGED_KEY:
        spec = read_spec(path, row["network"])
        assert spec.name == row["network"]
        if row["file"] in OLDER:
            assert OLDER[row["file"]] in spec.document.describe()
        return
    with pytest.raises(SpecError) as caught:
        read_spec(path, row["network"])
    assert re.search(r"\.yaml:\d+:\d+$", caught.value.where or ""), caught.value.where
    key = re.match(r"ConfigKeyError: Key '(\w+)' not in", row["schema_7_0_1"])
    if key and "TAO 5.0 to 5.5" not in caught.value.message and row["file"] not in OTHER_REASON:
        findings = read_document(path, row["network"]).check()
        assert any(key[1] in finding.field.split(".") for finding in findings)


@pytest.mark.parametrize("row", OURS, ids=ids(OURS))
def test_an_update_changes_paths_of_the_role_or_epochs_and_nothing_else(row: dict[str, str]) -> None:
    spec = read_document(FOLDER / row["file"], row["network"], allow_unknown_fields=True)
    table = networks.get(row["network"]).path_roles
    paths = list(spec.path_values(table))
    for role in sorted({path.role for path in paths}):
        reference = next(path.content for path in paths if path.role == role)
        updated = update_spec(spec, table, [Substitution(role, reference, "/mnt/new place")]).document
        hit = [one for one in paths if one.role == role and f"{one.content}/".startswith(f"{reference.rstrip('/')}/")]
        before, after = spec.source.split("\n"), updated.source.split("\n")
        changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new]
        assert changed == sorted({spec.line_of(path.start) for path in hit})

    # The number of epochs is set where there is a training section.
    assert isinstance(spec, YamlSpec)
    if not isinstance(spec.node("train"), object) or spec.node("train") is None:
        with pytest.raises(SpecError, match="no train"):
            update_spec(spec, {}, [], num_epochs=77, epochs_field="train.num_epochs")
        return
    updated = update_spec(spec, {}, [], num_epochs=77, epochs_field="train.num_epochs").document
    assert isinstance(updated, YamlSpec)
    node = updated.node("train.num_epochs")
    assert isinstance(node, Scalar)
    assert node.value == 77


ALIASED = """dataset:
  train_data_sources: &same
    - {image_dir: /data/images, json_file: /data/a.json}
  val_data_sources: *same
export: {input_width: 320, input_height: 160}
"""


def test_what_an_alias_stands_for_changes_once_and_everywhere(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(ALIASED)
    spec = read_document(str(tmp_path / "spec.yaml"), "dino")
    roles = networks.get("dino").path_roles
    for role in (None, "training_data"):
        update = update_spec(spec, roles, [Substitution(role, "/data", "/mnt")])
        assert update.document.to_bytes().decode() == ALIASED.replace("/data/", "/mnt/")
        assert [change.field for change in update.changes] == [
            "dataset.train_data_sources[0].image_dir",
            "dataset.val_data_sources[0].image_dir",
            "dataset.train_data_sources[0].json_file",
            "dataset.val_data_sources[0].json_file",
        ]
        assert update.forgotten == ()


def test_what_an_alias_stands_for_cannot_become_two(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(ALIASED)
    spec = read_document(str(tmp_path / "spec.yaml"), "dino")
    both = [Substitution("training_data", "/data", "/mnt/a"), Substitution("validation_data", "/data", "/mnt/b")]
    with pytest.raises(SpecError, match="are one text, and would become") as caught:
        update_spec(spec, networks.get("dino").path_roles, both)
    assert caught.value.where is not None
    assert caught.value.where.endswith("spec.yaml:3")
