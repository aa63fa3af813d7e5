"""The normal form of a spec, for people and programs."""

from __future__ import annotations

from collections.abc import Callable

from int8cal.spec.prototext.document import PrototextSpec

Read = Callable[..., PrototextSpec]
TEXT = r"dataset_config { validation_fold: 0 image_extension: 'é\033[2J\302\205' } random_seed: 0x10 # c"


def test_the_text_is_one_value_per_line_and_harmless(read: Read) -> None:
    assert read(TEXT).as_text() == (
        'random_seed: 16\ndataset_config {\n  image_extension: "é\\033[2J\\302\\205"\n  validation_fold: 0\n}'
    )


def test_the_data_keep_the_names_of_the_file(read: Read) -> None:
    shown = read(TEXT + "\nfoo: 1", allow_unknown_fields=True).as_dict()
    assert shown == {
        "file": "s.txt",
        "networks": ["detectnet_v2"],
        "message": "Experiment",
        "spec": {"random_seed": 16, "dataset_config": {"image_extension": "é\x1b[2J\x85", "validation_fold": 0}},
        "warnings": ['s.txt:2:1: unknown field "foo" at the top level, ignored'],
    }
