"""Run-time paths in place of references: by role, by whole components, once, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from int8cal.errors import SpecError, UsageError
from int8cal.networks.detectnet_v2.path_roles import PATH_ROLES as DETECTNET_V2
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.update import Change, Substitution, Update, update_spec

Read = Callable[..., PrototextSpec]

TEXT = """# paths of /home/me
dataset_config {
  data_sources {
    tfrecords_path: "/home/me/data/tfrecords/kitti/*"  # /home/me/data
    image_directory_path: '/home/me/data/training'
  }
  validation_data_source {
    tfrecords_path: "/home/me/data/tfrecords/kitti_val/*"
    image_directory_path: "/home/me/data/training_val/"
  }
}
model_config { pretrained_model_file: "/home/me/models/resnet18.tlt" }
training_config {
  num_epochs: 12
}
"""

TRAINING = "dataset_config.data_sources[0].image_directory_path"
RECORDS = "dataset_config.data_sources[0].tfrecords_path"
VALIDATION = "dataset_config.validation_data_source.image_directory_path"


@pytest.fixture
def update(read: Read) -> Callable[..., Update]:
    def update(*substitutions: tuple[str | None, str, str], text: str = TEXT, num_epochs: int | None = None) -> Update:
        rules = [Substitution(*one) for one in substitutions]
        return update_spec(
            read(text, allow_unknown_fields=True), DETECTNET_V2, rules, num_epochs=num_epochs, epochs_field=EPOCHS
        )

    return update


Updater = Callable[..., Update]
EPOCHS = "training_config.num_epochs"


def news(result: Update) -> dict[str, str]:
    return {change.field: change.new for change in result.changes}


def test_every_byte_but_those_of_the_values_stays(update: Updater) -> None:
    result = update(("training_data", "/home/me/data/training", "/mnt/a"), ("base_model", "/home/me/models", "/mnt/m/"))
    assert result.document.text.text == TEXT.replace("'/home/me/data/training'", '"/mnt/a"').replace(
        "/home/me/models", "/mnt/m"
    )
    assert result.changes == (
        Change(TRAINING, 5, "/home/me/data/training", "/mnt/a"),
        Change("model_config.pretrained_model_file", 12, "/home/me/models/resnet18.tlt", "/mnt/m/resnet18.tlt"),
    )
    assert result.document.message.model_config.pretrained_model_file == "/mnt/m/resnet18.tlt"


def test_one_reference_serves_two_roles_with_two_targets(update: Updater) -> None:
    result = update(("training_data", "/home/me/data", "/mnt/a"), ("validation_data", "/home/me/data", "/mnt/v"))
    assert news(result) == {TRAINING: "/mnt/a/training", VALIDATION: "/mnt/v/training_val/"}


def test_only_whole_components_match(update: Updater) -> None:
    with pytest.raises(SpecError, match="is not the beginning of any validation_data path") as caught:
        update(("validation_data", "/home/me/data/training", "/mnt/a"))
    assert caught.value.where == "s.txt:9:5"
    assert caught.value.hint == (
        "The spec has: /home/me/data/training_val/. The reference is the beginning of paths for: training_data."
    )


@pytest.mark.parametrize("tail", ["", "/", "/.", "/*", "//", "/*/", "/./"])
def test_a_tail_on_the_reference_is_ignored_and_a_glob_in_the_spec_survives(update: Updater, tail: str) -> None:
    reference = f"/home/me/data/tfrecords/kitti{tail}"
    assert news(update(("training_tfrecords", reference, "/mnt/t"))) == {RECORDS: "/mnt/t/*"}


def test_the_longest_reference_goes_first(update: Updater) -> None:
    short, long = ("training_data", "/home/me", "/s"), ("training_data", "/home/me/data", "/l")
    assert news(update(short, long)) == news(update(long, short)) == {TRAINING: "/l/training"}


def test_what_was_put_in_is_not_looked_at_again(update: Updater) -> None:
    result = update(
        ("training_data", "/home/me/data/training", "/home/me/data/training_val/x"),
        ("validation_data", "/home/me/data/training_val", "/home/me/data/training"),
    )
    assert news(result) == {TRAINING: "/home/me/data/training_val/x", VALIDATION: "/home/me/data/training/"}


def test_a_rule_without_role_is_for_every_field_and_gives_way_to_one_with(update: Updater) -> None:
    result = update((None, "/home/me", "/mnt"), ("training_data", "/home/me", "/special"))
    assert news(result) == {
        RECORDS: "/mnt/data/tfrecords/kitti/*",
        TRAINING: "/special/data/training",
        "dataset_config.validation_data_source.tfrecords_path": "/mnt/data/tfrecords/kitti_val/*",
        VALIDATION: "/mnt/data/training_val/",
        "model_config.pretrained_model_file": "/mnt/models/resnet18.tlt",
    }


@pytest.mark.parametrize(
    "target", ['/a"b', "/a'b", r"/a\1&b", "/a%b,c:d;e", "/é日本", "/a\nb", "/$(touch x)`y`", "/a b", "-x", "/\x1b[2J"]
)
def test_a_target_arrives_literally(update: Updater, target: str) -> None:
    result = update(("training_data", "/home/me/data/training", target))
    assert result.document.message.dataset_config.data_sources[0].image_directory_path == target
    assert "\x1b" not in result.document.text.text
    assert result.document.text.text.count("\n") == TEXT.count("\n")


def test_a_target_for_a_glob_field_stands_for_itself(update: Updater) -> None:
    assert news(update(("training_tfrecords", "/home/me/data", "/mnt/[v1]*"))) == {
        RECORDS: "/mnt/[[]v1][*]/tfrecords/kitti/*"
    }


def test_references_are_literal(update: Updater) -> None:
    text = TEXT.replace("/home/me/data/training'", "/data/[v1].x/training'")
    assert news(update(("training_data", "/data/[v1].x", "/mnt"), text=text)) == {TRAINING: "/mnt/training"}
    with pytest.raises(SpecError, match="not the beginning"):
        update(("training_data", "/data/[v1]yx", "/mnt"), text=text)


def test_the_root_is_the_beginning_of_every_absolute_path(update: Updater) -> None:
    assert news(update(("training_data", "/", "/mnt"))) == {TRAINING: "/mnt/home/me/data/training"}
    assert news(update(("training_data", "/home/me/data/training", "/"))) == {TRAINING: "/"}


def test_a_relative_reference_does_not_touch_names_of_fields(update: Updater) -> None:
    text = TEXT.replace("/home/me/data/training'", "data/training'")
    assert news(update(("training_data", "data", "/mnt"), text=text)) == {TRAINING: "/mnt/training"}


def test_a_role_without_a_path_in_the_spec_is_refused(update: Updater) -> None:
    text = "dataset_config { data_sources { image_directory_path: '/a' } validation_fold: 0 }"
    with pytest.raises(SpecError, match="the spec has no path for validation_data, so /a cannot be replaced") as caught:
        update(("validation_data", "/a", "/b"), text=text)
    assert caught.value.where == "s.txt"


@pytest.mark.parametrize(
    ("substitutions", "message"),
    [
        ([("training_data", "", "/b")], "the reference for training_data is empty"),
        ([("training_data", "/home/me", "")], "the path for training_data is empty"),
        ([(None, "/home/me", "/b\0")], "is not text"),
        ([("training_data", "/home/me", "/b\udcff")], "is not text"),
        ([("training_data", "/home/me", "/b"), ("training_data", "/home/me/", "/c")], "two paths are given"),
    ],
)
def test_useless_substitutions_are_refused(
    update: Updater, substitutions: list[tuple[str | None, str, str]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        update(*substitutions)


def test_unknown_and_legacy_fields_stay(update: Updater) -> None:
    text = TEXT.replace("num_epochs: 12", 'num_epochs: 12\n  foo { path: "/home/me/data/training" }')
    result = update(("training_data", "/home/me/data/training", "/mnt"), text=text)
    assert result.document.text.text == text.replace("'/home/me/data/training'", '"/mnt"')
    assert len(result.document.warnings) == 1


def test_crlf_and_adjacent_strings(update: Updater) -> None:
    text = TEXT.replace("'/home/me/data/training'", "'/home/me' \"/data\" # half\n 'x'").replace("\n", "\r\n")
    result = update(("training_data", "/home/me", "/mnt"), text=text)
    assert result.document.text.text == text.replace("'/home/me' \"/data\" # half\r\n 'x'", '"/mnt/datax"')


def test_nothing_to_change_changes_nothing(update: Updater) -> None:
    result = update(("training_data", "/home/me", "/home/me"), num_epochs=12)
    assert (result.changes, result.document.text.text, result.diff()) == ((), TEXT, "")


def test_the_diff_shows_the_lines_and_nothing_that_acts_on_a_terminal(update: Updater) -> None:
    text = TEXT.replace("# paths of", "# \x1b[2J")
    diff = update(("base_model", "/home/me", "/mnt"), text=text).diff()
    assert '-model_config { pretrained_model_file: "/home/me/models/resnet18.tlt" }' in diff
    assert '+model_config { pretrained_model_file: "/mnt/models/resnet18.tlt" }' in diff
    assert "\x1b" not in diff


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  num_epochs: 12\n", "  num_epochs: 40\n"),
        ("  num_epochs: 0x0C # c\n", "  num_epochs: 40 # c\n"),
        ("num_epochs: 1 num_epochs: 2\n", "num_epochs: 1 num_epochs: 40\n"),
        ("    batch_size_per_gpu: 4\n", "    num_epochs: 40\n    batch_size_per_gpu: 4\n"),
        ("", "  num_epochs: 40\n"),
    ],
)
def test_the_number_of_epochs_is_set_or_inserted(update: Updater, old: str, new: str) -> None:
    text = TEXT.replace("  num_epochs: 12\n", old)
    result = update(text=text, num_epochs=40)
    assert result.document.text.text == TEXT.replace("  num_epochs: 12\n", new)
    assert result.document.message.training_config.num_epochs == 40
    assert [change.field for change in result.changes] == ["training_config.num_epochs"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training_config {}", "training_config { num_epochs: 40}"),
        ("training_config { batch_size_per_gpu: 4 }", "training_config { num_epochs: 40 batch_size_per_gpu: 4 }"),
        (
            "\ttraining_config: < # c\r\n\t\tbatch_size_per_gpu: 4\r\n>\r\n",
            "\ttraining_config: < # c\r\n\t\tnum_epochs: 40\r\n\t\tbatch_size_per_gpu: 4\r\n>\r\n",
        ),
        ("training_config {\n}", "training_config {\n  num_epochs: 40\n}"),
        (
            "training_config { batch_size_per_gpu: 4 } training_config {}",
            "training_config { batch_size_per_gpu: 4 } training_config { num_epochs: 40}",
        ),
    ],
)
def test_an_inserted_number_fits_into_the_layout(update: Updater, text: str, expected: str) -> None:
    result = update(text=text, num_epochs=40)
    assert result.document.text.text == expected
    assert result.changes[0].old is None


def test_classification_has_another_name_for_it(read: Read) -> None:
    spec = read("train_config { n_epochs: 80 }", "int8cal.classification.Experiment")
    assert (
        update_spec(spec, {}, [], num_epochs=3, epochs_field="train_config.n_epochs").document.source
        == "train_config { n_epochs: 3 }"
    )


def test_a_number_of_epochs_that_cannot_be_set_is_refused(update: Updater, read: Read) -> None:
    with pytest.raises(UsageError, match="must be from 1"):
        update(num_epochs=0)
    with pytest.raises(SpecError, match="the spec has no training_config"):
        update(text="random_seed: 1", num_epochs=3)
    with pytest.raises(SpecError, match="no number of epochs"):
        update_spec(
            read("inferencer_config {}", "int8cal.detectnet_v2.Inference"), {}, [], num_epochs=3, epochs_field=EPOCHS
        )
