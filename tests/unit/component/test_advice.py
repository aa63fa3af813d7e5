"""Which inputs an error about missing data names."""

from __future__ import annotations

import pickle

import pytest

from int8cal.component.advice import missing_data_advised
from int8cal.errors import MissingDataError
from int8cal.samples.nearby import near_by
from int8cal.spec.document import PathValue


def check(missing: str, inputs: str) -> str:
    """What lies near the path, and which inputs to look at."""
    return f"{near_by(missing)} Check the inputs {inputs}_dir and {inputs}_subdir.".lstrip()


def hint(missing: str | None, **paths: str) -> str | None:
    """The hint for a missing path when the spec has these paths, by role, all of them given by inputs."""
    values = [PathValue(role, "field", 0, 0, content) for role, content in paths.items()]
    with pytest.raises(MissingDataError) as caught, missing_data_advised(values, set(paths)):
        raise MissingDataError("Whatever it says.", hint="as before", filename=missing)
    assert caught.value.filename == missing
    return caught.value.hint


@pytest.mark.parametrize("missing", ["/mnt/train", "/mnt/train/image_2", "/mnt/train/image_2/1.png"])
def test_the_path_tells_the_inputs_whatever_the_message_says(missing: str) -> None:
    assert hint(missing, training_data="/mnt/train/", validation_data="/mnt") == check(missing, "training_data")


def test_a_folder_whose_name_begins_like_another_is_another() -> None:
    assert hint("/mnt/training", training_data="/mnt/train", validation_data="/mnt/training") == check(
        "/mnt/training", "validation_data"
    )
    assert hint("/mnt/training", training_data="/mnt/train") == "as before"


def test_relative_paths_start_at_some_root() -> None:
    assert hint("/root/streets/1.png", training_data="streets", validation_data="/streets") == check(
        "/root/streets/1.png", "training_data"
    )
    assert hint("/root/mainstreets/1.png", training_data="streets") == "as before"


def test_a_pattern_is_a_path() -> None:
    assert hint("/root/records/a*", training_tfrecords="records/a*") == check("/root/records/a*", "training_tf_records")


def test_an_unknown_path_keeps_the_hint() -> None:
    assert hint(None, training_data="/mnt/train") == "as before"


def test_the_path_crosses_a_process_border() -> None:
    error = MissingDataError("gone", where="there", hint="look", filename="/mnt/train")
    arrived = pickle.loads(pickle.dumps(error))
    assert (arrived.filename, str(arrived)) == ("/mnt/train", str(error))
