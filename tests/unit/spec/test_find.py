"""Whose spec is this?"""

from __future__ import annotations

import pytest

from int8cal.errors import SpecError
from int8cal.spec.prototext.find import describe_root, root_of_text
from int8cal.spec.prototext.text import SpecText


def find(text: str, network: str | None = None) -> str:
    return root_of_text(SpecText.from_str(text), "s.txt", f"int8cal.{network}.Experiment" if network else None)


def test_a_misspelt_name_does_not_hide_whose_spec_it_is(sound_text: str) -> None:
    wrong = sound_text.replace("bbox_rasterizer_config", "bbox_rasteriser_config")
    assert find(wrong) == "int8cal.detectnet_v2.Experiment"


@pytest.mark.parametrize("strange", ["x: 1", "our_notes { made_by: 'me' }", "a: 1 b: 2 c { d: 3 } a: 4"])
@pytest.mark.parametrize("network", [None, "detectnet_v2"])
def test_strange_names_do_not_hide_whose_spec_it_is(sound_text: str, strange: str, network: str | None) -> None:
    assert find(f"{strange} {sound_text}", network) == "int8cal.detectnet_v2.Experiment"


def test_a_network_without_strange_names_goes_before_one_with() -> None:
    shared = "dataset_config { } augmentation_config { } training_config { }"
    assert find(f"{shared} ssd_config {{ }} x: 1") == "int8cal.ssd.Experiment"
    assert find(f"{shared} bbox_rasterizer_config {{ }}") == "int8cal.detectnet_v2.Experiment"


def test_strange_names_and_no_difference_between_networks_are_an_error() -> None:
    with pytest.raises(SpecError, match=r"this could be detectnet_v2 Experiment or .*faster_rcnn Experiment"):
        find("random_seed: 1 dataset_config { } x: 1")


def test_as_many_strange_names_as_known_ones_are_nobodys() -> None:
    with pytest.raises(SpecError, match="fits no spec"):
        find("bbox_rasterizer_config { } random_seed: 1 x: 1 y: 2")
    with pytest.raises(SpecError, match="fits no spec"):
        find("bbox_rasterizer_config { } x: 1", "detectnet_v2")


def test_the_same_names_on_top_are_told_apart_by_what_is_inside() -> None:
    assert find("model_config { arch: 'resnet' num_layers: 18 }") == "int8cal.detectnet_v2.Experiment"
    assert find("model_config { arch: 'resnet:18' rpn_stride: 16 }") == "int8cal.faster_rcnn.Experiment"
    assert find("model_config { arch: 'resnet' n_layers: 18 }") == "int8cal.classification.Experiment"


def test_what_fits_two_networks_is_refused_and_decided_by_naming_one() -> None:
    with pytest.raises(SpecError, match="this could be detectnet_v2 Experiment or faster_rcnn Experiment") as caught:
        find("dataset_config { image_extension: 'png' }")
    assert caught.value.where == "s.txt"
    assert find("dataset_config { image_extension: 'png' }", "faster_rcnn") == "int8cal.faster_rcnn.Experiment"


def test_a_spec_of_an_unknown_network_says_which_fields_it_has() -> None:
    with pytest.raises(SpecError, match="this fits no spec") as caught:
        find("yolov9_config { arch: 'darknet' } training_config { num_epochs: 1 }")
    assert caught.value.hint == "Its first fields are: yolov9_config, training_config. Is it the training spec?"


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_an_empty_spec_is_nobodys(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(text)
    assert caught.value.hint == "It holds no field at all."


def test_text_that_cannot_be_read_is_refused_with_its_place() -> None:
    with pytest.raises(SpecError) as caught:
        find("model_config {")
    assert caught.value.where == "s.txt:1:14"


def test_dssd_and_ssd_share_a_message() -> None:
    assert find("dssd_config { arch: 'resnet' }") == find("ssd_config { arch: 'resnet' }") == "int8cal.ssd.Experiment"
    assert describe_root("int8cal.ssd.Experiment") == "ssd/dssd Experiment"
