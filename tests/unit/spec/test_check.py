"""The tables of checks: what the reference's validator refuses, in its words, with the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from int8cal.errors import SpecError
from int8cal.origins.experiment import require_sound
from int8cal.spec.prototext.check import check
from int8cal.spec.prototext.document import PrototextSpec

Read = Callable[..., PrototextSpec]
DETECTNET = "int8cal.detectnet_v2.Experiment"
SSD = "int8cal.ssd.Experiment"
SPECS = Path(__file__).parents[2] / "golden" / "specs"


@pytest.fixture
def ssd_text() -> str:
    return (SPECS / "own" / "ssd.txt").read_text()


def facts(spec: PrototextSpec) -> list[tuple[str, str, str]]:
    prefix = "Experiment Spec Setting Error: "
    return [(one.where, one.field, one.message.removeprefix(prefix)) for one in check(spec)]


def test_a_sound_spec_has_no_findings(read: Read, sound_text: str) -> None:
    spec = read(sound_text)
    assert check(spec) == ()
    require_sound(spec, None)


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        (
            "output_image_width: 1248",
            "output_image_width: 95",
            "augmentation_config.preprocessing.output_image_width",
            "output_image_width should % 16. Wrong value: 95",
        ),
        ("num_epochs: 120", "num_epochs: 0", "training_config.num_epochs", "num_epochs should > 0. Wrong value: 0"),
        (
            "hflip_probability: 0.5",
            "hflip_probability: 1.5",
            "augmentation_config.spatial_augmentation.hflip_probability",
            "hflip_probability should <= 1.0. Wrong value: 1.5",
        ),
    ],
)
def test_a_wrong_value_is_found_where_it_stands(
    read: Read, sound_text: str, old: str, new: str, field: str, message: str
) -> None:
    assert old in sound_text
    text = sound_text.replace(old, new)
    line = text[: text.index(new)].count("\n") + 1
    ((where, found, said),) = facts(read(text))
    assert (found, said) == (field, message)
    assert where.startswith(f"s.txt:{line}:")


def test_an_absent_value_is_found_at_its_message(read: Read, sound_text: str) -> None:
    text = sound_text.replace("  num_epochs: 120\n", "")
    line = text[: text.index("training_config")].count("\n") + 1
    assert facts(read(text)) == [
        (f"s.txt:{line}:1", "training_config.num_epochs", "num_epochs should > 0. Wrong value: 0")
    ]


def test_an_absent_value_has_a_hint_that_names_it(read: Read) -> None:
    text = (SPECS / "classification" / "default_spec.txt").read_text()
    with pytest.raises(SpecError, match="preprocess_mode should in") as caught:
        require_sound(read(text, "int8cal.classification.Experiment"), None)
    assert caught.value.hint == "preprocess_mode is missing: add it to train_config, one of 'tf', 'caffe', 'torch'."


def test_a_missing_section_is_found_at_the_file(read: Read) -> None:
    found = facts(read("random_seed: 1"))
    assert found[0] == ("s.txt", "dataset_config", "dataset_config should be set in experiment spec file.")
    assert {field for _, field, _ in found} == {
        "model_config",
        "training_config",
        "evaluation_config",
        "cost_function_config",
        "augmentation_config",
        "bbox_rasterizer_config",
        "postprocessing_config",
        "dataset_config",
    }


def test_missing_inner_messages_are_found_by_the_name_of_the_outer(read: Read) -> None:
    assert ("s.txt:1:1", "model_config.objective_set", "objective_set should be set in experiment spec file.") in facts(
        read("model_config { arch: 'vgg' }")
    )
    assert ("s.txt:1:16", "model_config.objective_set.cov", "cov should be set in experiment spec file.") in facts(
        read("model_config { objective_set { bbox { scale: 1 } } arch: 'vgg' }")
    )
    assert "dataset_config.target_class_mapping" in {
        field for _, field, _ in facts(read("dataset_config { data_sources {} }"))
    }


def test_an_empty_text_should_be_set(read: Read) -> None:
    found = facts(read("dataset_config { data_sources { tfrecords_path: 'a' } data_sources [{}] }"))
    paths = [(where, message) for where, field, message in found if field.endswith("_path")]
    assert paths == [
        ("s.txt:1:18", "image_directory_path should be set."),
        ("s.txt:1:69", "tfrecords_path should be set."),
        ("s.txt:1:69", "image_directory_path should be set."),
    ]


def test_of_map_entries_with_one_key_the_last_is_checked(read: Read) -> None:
    wrong, right = "{ cov_center_x: 5 }", "{ cov_center_x: 0.5 }"
    entry = "target_class_config { key: 'a' value %s }"
    first = f"bbox_rasterizer_config {{ {entry % wrong} {entry % right} }}"
    last = f"bbox_rasterizer_config {{ {entry % right} {entry % wrong} }}"
    assert not [field for _, field, _ in facts(read(first)) if "cov_center_x" in field]
    ((where, field),) = [(where, field) for where, field, _ in facts(read(last)) if "cov_center_x" in field]
    assert field == "bbox_rasterizer_config.target_class_config[1].value.cov_center_x"
    assert where == f"s.txt:1:{last.index('cov_center_x: 5') + 1}"


def test_what_a_oneof_has_cleared_is_not_checked(read: Read) -> None:
    found = facts(read("dataset_config { validation_data_source { tfrecords_path: '' } validation_fold: 0 }"))
    assert not [field for _, field, _ in found if "validation_data_source" in field]


def test_either_ssd_or_dssd_will_do(read: Read, ssd_text: str) -> None:
    assert facts(read(ssd_text, SSD)) == []
    assert facts(read(ssd_text.replace("ssd_config {", "dssd_config {"), SSD)) == []
    missing = ("s.txt", "ssd_config or dssd_config", "ssd_config or dssd_config should be set in experiment spec file.")
    assert missing in facts(read("random_seed: 1", SSD))


@pytest.mark.parametrize(
    ("variances", "message"),
    [
        ("[0.1, 0.1, 0.2]", "The length of variances should = 4. Wrong value: 3"),
        ("[0.1, 0.1, 0.2, -1/5]", "variances should be > 0. Wrong value: -0.2"),
        ("", "variances should be set."),
        ("[0.1,", "variances can not be parsed correct. Wrong value: [0.1,"),
        ("__import__('os').abort()", "variances can not be parsed correct. Wrong value: __import__('os').abort()"),
    ],
)
def test_numbers_in_texts_are_checked_one_by_one(read: Read, ssd_text: str, variances: str, message: str) -> None:
    text = ssd_text.replace('variances: "[0.1, 0.1, 0.2, 0.2]"', f'variances: "{variances}"')
    ((where, field, said),) = facts(read(text, SSD))
    assert (where, field, said) == ("s.txt:7:3", "ssd_config.variances", message)


def test_lists_that_are_not_set_are_not_checked(read: Read, ssd_text: str) -> None:
    assert facts(read(ssd_text.replace('  scales: "[0.05, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85]"\n', ""), SSD)) == []


def test_the_first_finding_is_raised_and_the_others_are_counted(read: Read) -> None:
    with pytest.raises(SpecError, match=r"dataset_config should be set") as caught:
        require_sound(read("random_seed: 1"), None)
    assert caught.value.hint == "7 more: see int8cal spec check."


def test_values_in_findings_are_harmless(read: Read) -> None:
    (message,) = [said for _, field, said in facts(read("model_config { arch: '\\033[2J' }")) if field.endswith("arch")]
    assert "\x1b" not in message
    assert "\\x1b[2J" in message


@pytest.mark.parametrize(
    ("root", "text", "field", "allowed"),
    [
        (
            DETECTNET,
            "dataset_config {\n dataloader_mode: 9 }",
            "dataset_config.dataloader_mode",
            "MULTISOURCE (0), LEGACY (1), DEFAULT (2)",
        ),
        (
            DETECTNET,
            "training_config { regularizer {\n type: -1 } }",
            "training_config.regularizer.type",
            "NO_REG (0), L1 (1), L2 (2)",
        ),
        (
            SSD,
            "eval_config {\n average_precision_mode: 7 }",
            "eval_config.average_precision_mode",
            "SAMPLE (0), INTEGRATE (1)",
        ),
    ],
)
def test_an_enum_number_without_a_name_is_found_with_those_that_have_one(
    read: Read, root: str, text: str, field: str, allowed: str
) -> None:
    number = text.partition(": ")[2].split()[0]
    name = field.rpartition(".")[2]
    assert ("s.txt:2:2", field, f"{name} has no value {number}. Allowed: {allowed}.") in facts(read(text, root))


def test_enum_numbers_with_a_name_are_sound(read: Read, sound_text: str) -> None:
    assert facts(read(sound_text.replace("type: L1", "type: 1"))) == []
    assert "type: L1" in sound_text
