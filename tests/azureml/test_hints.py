"""What errors advise is something that a user of the component can do, who has inputs and no options."""

from __future__ import annotations

import re

import pytest

from int8cal.component.inputs import BY_NAME
from int8cal.errors import Int8calError, SpecError, UsageError


def unknown_field(site):
    path = site.specs / "spec.txt"
    path.write_text(path.read_text() + "our_notes: 1")
    return {}


def misspelt_field(site):
    path = site.specs / "spec.txt"
    path.write_text(path.read_text().replace("num_epochs", "num_epoch"))
    return {}


def spec_of_two_networks(site):
    (site.specs / "spec.txt").write_text("dataset_config { image_extension: 'png' }")
    return {}


def spec_of_another_network(site):
    return {"network": "classification"}


def too_many_batches(site):
    return {"max_batches": "1000"}


def batch_too_large(site):
    path = site.specs / "spec.txt"
    path.write_text(re.sub(r"batch_size_per_gpu: *[0-9]+", "batch_size_per_gpu: 1000", path.read_text()))
    return {"max_batches": "-1"}


def tensorfile_of_another_request(site):
    site.run()
    return {"max_batches": "2"}


def spec_of_another_request(site):
    site.run()
    return {"output_subfolder": "other", "num_epochs": "3"}


def page_without_tensorfile(site):
    site.run()
    site.tensorfile.unlink()
    return {}


def folder_for_the_tensorfile(site):
    site.tensorfile.mkdir(parents=True)
    return {}


def file_for_a_folder(site):
    site.out.mkdir()
    (site.out / "app").write_text("precious")
    return {}


def link_for_the_updated_spec(site):
    path = site.out / "app" / "specs" / "spec.txt"
    path.parent.mkdir(parents=True)
    path.symlink_to(site.out / "elsewhere")
    return {}


def bad_image(site):
    pictures = site.pictures("mine")
    site.rewrite(pictures, lambda number, original: b"no image")
    return {"training_data_dir": pictures}


def bad_images(site):
    return {**bad_image(site), "on_bad_image": "skip", "max_skipped": "1"}


def no_good_image(site):
    return {**bad_image(site), "on_bad_image": "skip", "max_skipped": "1000"}


def skipping_nothing(site):
    return {"on_bad_image": "skip"}


def no_validation_data(site):
    path = site.specs / "spec.txt"
    path.write_text(path.read_text().replace("validation_fold: 0", ""))
    return {"use_validation_set": "true"}


def missing_records(site):
    return {"training_tf_records_dir": None, "specfile_reference_training_tf_records_dir": None}


def ray_cluster_that_does_not_answer(site):
    return {"engine": "ray"}


ARRANGEMENTS = [
    unknown_field,
    misspelt_field,
    spec_of_another_network,
    spec_of_two_networks,
    too_many_batches,
    batch_too_large,
    tensorfile_of_another_request,
    spec_of_another_request,
    page_without_tensorfile,
    folder_for_the_tensorfile,
    file_for_a_folder,
    link_for_the_updated_spec,
    bad_image,
    bad_images,
    no_good_image,
    skipping_nothing,
    no_validation_data,
    missing_records,
    ray_cluster_that_does_not_answer,
]


@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_options_are_inputs_or_named_with_their_command(site, arrange, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    inputs = arrange(site)
    with pytest.raises(Int8calError) as caught:
        site.run(**inputs)
    text = str(caught.value)
    assert caught.value.hint, text
    foreign = [name for name, of in re.findall(r"(?<!\w)--(\w+)( of int8cal)?", text) if name not in BY_NAME and not of]
    assert not foreign, text


@pytest.mark.parametrize("arrange", [name for name in ARRANGEMENTS if name is not ray_cluster_that_does_not_answer])
def test_hints_of_the_replacement_name_what_it_has(site, arrange):
    """Or say which component has the input."""
    inputs = arrange(site)
    if any(not BY_NAME[name].original for name in inputs):
        inputs = {name: value for name, value in inputs.items() if BY_NAME[name].original}
    try:
        site.run(original_only=True, **inputs)
    except Int8calError as error:
        hint = error.hint or ""
        named = re.findall(r"(?:--|input )(\w+)", hint.partition("This component")[0])
        if any(not BY_NAME[name].original for name in named if name in BY_NAME):
            assert "int8cal_calibration_tensorfile" in hint


def test_the_replacement_takes_no_other_inputs(site):
    with pytest.raises(UsageError, match="unknown input 'seed'") as caught:
        site.run(original_only=True, seed="5")
    assert "overwrite" not in caught.value.hint


def test_the_network_of_the_input_is_that_of_the_spec(site):
    with pytest.raises(SpecError) as caught:
        site.run(network="classification")
    assert "is a spec of detectnet_v2, and the input network says classification" in str(caught.value)
    assert caught.value.hint == "Give the input network detectnet_v2, or leave it out."
    assert not site.out.exists()


def test_unknown_fields_can_be_allowed(site, caplog):
    unknown_field(site)
    assert site.run(allow_unknown_fields="true").manifest.batches == 1
    assert "our_notes" in caplog.text
    with pytest.raises(SpecError, match="unknown field"):
        site.run(output_subfolder="other")


@pytest.mark.parametrize("arrange", [unknown_field, misspelt_field])
def test_unknown_fields_are_refused_with_their_place(site, arrange):
    arrange(site)
    with pytest.raises(Int8calError, match="unknown field") as caught:
        site.run()
    assert caught.value.exit_code == 3
    assert re.fullmatch(r".*/spec\.txt:\d+:\d+", caught.value.where)
    assert "Mend the spec" in caught.value.hint
    assert "set the input allow_unknown_fields to true" in caught.value.hint


def test_the_example_of_the_help_runs(site, run_cli, tmp_path):
    site.write_spec(data="/workspace/data/training", records="/workspace/data/tfrecords/*")
    (tmp_path / "specs").symlink_to(site.specs)
    (tmp_path / "data").symlink_to(site.dataset.root)
    shown = run_cli("component", "--help").stdout.partition("Examples:")[2]
    example = shown.replace("\\\n", " ").strip().splitlines()[0].split()
    assert example[:2] == ["int8cal", "component"]
    done = run_cli(*example[1:], "--max_batches", "1")
    assert done.code == 0, done.stderr
    assert (tmp_path / "out" / "streets" / "experiment_dir_final" / "calibration.tensor").is_file()
