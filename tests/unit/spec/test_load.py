"""Loading: what is read, what is refused, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from int8cal.errors import SpecError
from int8cal.origins.experiment import read_document
from int8cal.spec.prototext.document import PrototextSpec

Read = Callable[..., PrototextSpec]


def test_a_spec_knows_its_values_and_their_places(read: Read) -> None:
    spec = read("random_seed: 7\ndataset_config {\n  data_sources { tfrecords_path: 'a*' }\n}\n")
    assert spec.message.random_seed == 7
    assert spec.message.dataset_config.data_sources[0].tfrecords_path == "a*"
    assert spec.where("dataset_config.data_sources[0].tfrecords_path") == "s.txt:3:18"
    assert spec.where("training_config.num_epochs") == "s.txt"


def test_all_unknown_fields_are_named_with_the_nearest_known_name(read: Read) -> None:
    with pytest.raises(SpecError) as caught:
        read("training_config {\n  batchsize_per_gpu: 4\n  foo {}\n}\nrandom_sed: 1\nx: 1 y: 2 z: 3")
    error = caught.value
    assert error.exit_code == 3
    assert error.where == "s.txt:2:3"
    assert error.message == 'unknown field "batchsize_per_gpu" in training_config'
    assert error.hint == (
        'Did you mean "batch_size_per_gpu"? Mend the spec, or ignore the field: --allow_unknown_fields of '
        "int8cal NETWORK and int8cal spec."
        ' So are: "foo" at 3:3, "random_sed" at 5:1, "x" at 6:1 and 2 others.'
    )


def test_allowed_unknown_fields_are_warnings_and_the_rest_is_read(read: Read) -> None:
    spec = read("random_sed: [1, 2],\nrandom_seed: 3 foo < bar: 'x' > ;", allow_unknown_fields=True)
    assert spec.message.random_seed == 3
    assert spec.warnings == (
        's.txt:1:1: unknown field "random_sed" at the top level, ignored',
        's.txt:2:16: unknown field "foo" at the top level, ignored',
    )


FRACTION = "postprocessing_config { target_class_config { value { clustering_config {\n dbscan_min_samples: %s } } } }"


@pytest.mark.parametrize("fraction", ["0.05", ".05", "1.0", "5e-2", "0.5f", "-0.5"])
def test_a_fraction_in_an_integer_field_is_a_warning_and_stays_unset(read: Read, fraction: str) -> None:
    spec = read(FRACTION % fraction)
    clustering = spec.message.postprocessing_config.target_class_config[""].clustering_config
    assert clustering.dbscan_min_samples == 0
    (warning,) = spec.warnings
    assert warning.startswith("s.txt:2:2: legacy value")


@pytest.mark.parametrize("value", ["'0.05'", "many", "inf"])
def test_what_is_no_number_is_no_legacy_fraction(read: Read, value: str) -> None:
    with pytest.raises(SpecError, match="Couldn't parse integer") as caught:
        read(FRACTION % value)
    assert caught.value.where == "s.txt:2:22"


def test_legacy_values_are_errors_when_strict(read: Read) -> None:
    with pytest.raises(SpecError, match="legacy value") as caught:
        read(FRACTION % "0.05", strict=True)
    assert caught.value.hint == "Take it out, or run without --strict."


def test_a_word_for_a_message_is_an_empty_message(read: Read) -> None:
    spec = read('train_config { optimizer: "sgd" n_epochs: 3 }', "int8cal.classification.Experiment")
    assert spec.message.train_config.HasField("optimizer")
    assert spec.message.train_config.n_epochs == 3
    assert len(spec.warnings) == 1


def test_a_misspelt_field_inside_a_legacy_message_is_unknown(read: Read) -> None:
    root = "int8cal.faster_rcnn.Experiment"
    assert len(read("network_config { freeze_bn: true }", root).warnings) == 1
    with pytest.raises(SpecError, match='unknown field "freeze_bm" in network_config') as caught:
        read("network_config { freeze_bm: true }", root)
    assert caught.value.where == "s.txt:1:18"
    assert "freeze_bn" in str(caught.value.hint)


def test_names_of_types_are_those_of_the_definition(read: Read) -> None:
    with pytest.raises(SpecError) as caught:
        read("training_config { regularizer { type: l1 } }")
    assert caught.value.message == 'Enum type "RegularizerConfig.RegularizationType" has no value named l1.'


def test_a_number_that_protobuf_cannot_store_is_a_spec_error(read: Read) -> None:
    with pytest.raises(SpecError):
        read("training_config { regularizer { type: 99999999999999999999 } }")


@pytest.mark.parametrize(
    ("data", "where", "message"),
    [
        (b"random_seed: 1 # caf\xe9", ":1:21", "byte 0xe9 is not UTF-8 text"),
        (b"\xff\xfea\x00", ":1:1", "byte 0xff is not UTF-8 text"),
        (b"\xef\xbb\xbfrandom_seed: 1", ":1:1", "expected a field name, got \\ufeff"),
        (b"random_seed: \x1b[2J", ":1:14", "expected a value, got \\x1b"),
    ],
)
def test_what_is_no_spec_text_is_refused_with_its_place(tmp_path: Path, data: bytes, where: str, message: str) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        read_document(str(path))
    assert caught.value.where == f"{path}{where}"
    assert caught.value.message == message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "no.txt")
    with pytest.raises(SpecError, match="there is no such spec file") as caught:
        read_document(missing)
    assert caught.value.where == missing
    with pytest.raises(SpecError, match="this is a folder"):
        read_document(str(tmp_path))
    with pytest.raises(SpecError, match="cannot be read"):
        read_document("a\0b")
    with pytest.raises(SpecError, match="cannot be read"):
        read_document(f"{missing}/x" * 1000)


def test_oddities_of_one_kind_are_one_warning_with_their_places(read: Read) -> None:
    entry = "target_class_config { value { clustering_config { dbscan_min_samples: 0.05 } } }\n"
    spec = read(f"postprocessing_config {{\n{entry * 6}\n}}\nrandom_sed: 1", allow_unknown_fields=True)
    value = "postprocessing_config.target_class_config[0].value.clustering_config.dbscan_min_samples"
    places = "; also at 3:51, 4:51, 5:51 and 2 more places"
    assert spec.warnings == (
        f"s.txt:2:51: legacy value 0.05 of the integer field {value}, ignored{places}",
        's.txt:10:1: unknown field "random_sed" at the top level, ignored',
    )


def test_very_many_kinds_of_oddities_are_counted(read: Read) -> None:
    spec = read("".join(f"x{number}: 1\n" for number in range(3000)), allow_unknown_fields=True)
    assert len(spec.warnings) == 51
    assert spec.warnings[-1] == "s.txt: and 2,950 more fields that are unknown or legacy, ignored"


def test_a_place_is_not_that_of_what_a_oneof_has_cleared(read: Read) -> None:
    source = "validation_data_source {\n tfrecords_path: 'a' image_directory_path: 'b' }"
    spec = read(f"dataset_config {{ {source}\nvalidation_fold: 1\nvalidation_data_source {{ tfrecords_path: 'c' }} }}")
    assert spec.where("dataset_config.validation_data_source.tfrecords_path") == "s.txt:4:26"
    assert spec.where("dataset_config.validation_data_source.image_directory_path") == "s.txt"
    assert spec.where("dataset_config.validation_data_source") == "s.txt:4:1"
    assert spec.where("dataset_config.validation_fold") == "s.txt"


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("root:x:0:0:root:/root:/bin/bash", "A spec is protobuf text: name: value, or name { … }"),
        ("training_config {", "Add the } that ends it."),
        ("training_config < ", "Add the > that ends it."),
        ("random_seed: 'x", "End it with the quote that it begins with"),
        ("a {" * 65, "Is this the right file?"),
        ("training_config { num_epochs: many }", "training_config.num_epochs takes a whole number, 0 or more."),
        ("training_config { num_epochs: -1 }", "training_config.num_epochs takes a whole number, 0 or more."),
        ("random_seed: 'x'", "random_seed takes a whole number, 0 or more."),
        ("training_config { regularizer { weight: 'x' } }", "training_config.regularizer.weight takes a number."),
        ("training_config { regularizer { type: l1 } }", "regularizer.type takes one of NO_REG, L1, L2."),
        ("model_config { arch: resnet }", "model_config.arch takes text in quotes."),
        ("model_config { use_batch_norm: yes }", "model_config.use_batch_norm takes true or false."),
        ("model_config: 5", "model_config takes a section: model_config { … }."),
        ("dataset_config { data_sources: 'x' }", "data_sources { … } (it may be given several times)."),
    ],
)
def test_every_refusal_says_what_to_do(read: Read, source: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(source)
    assert hint in str(caught.value.hint)
