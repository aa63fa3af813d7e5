"""Every defect that was demonstrated on the component that this one replaces: ours does not have it.

The numbers are those of the table in docs/how-to/azure-ml.md.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from int8cal.component.request import parse
from int8cal.component.values import read_lines
from int8cal.errors import (
    DataError,
    EngineFailedError,
    MissingDataError,
    OutputExistsError,
    SpecError,
    UsageError,
)
from int8cal.tensorfile import TensorFile

TRAIN_IMAGES = "dataset_config.data_sources[0].image_directory_path"
TRAIN_RECORDS = "dataset_config.data_sources[0].tfrecords_path"
VAL_IMAGES = "dataset_config.validation_data_source.image_directory_path"
VAL_RECORDS = "dataset_config.validation_data_source.tfrecords_path"
MODEL = "model_config.pretrained_model_file"
DATA = "/home/jupyter/data/training"
RECORDS = "/home/jupyter/data/tfrecords/kitti_trainval"


def split_of(site):
    with TensorFile(site.tensorfile) as file:
        return file.manifest["split"]


def with_validation(site, data="/home/jupyter/data/validation", records="/home/jupyter/data/validation_tf", **spec):
    """Inputs of a run whose spec has validation data as well."""
    site.write_spec(validation_data=data, validation_records=f"{records}/*", **spec)
    return {
        "validation_data_dir": site.pictures("validation"),
        "specfile_reference_validation_data_dir": data,
        "validation_tf_records_dir": site.records("validation_tf"),
        "specfile_reference_validation_tf_records_dir": records,
    }


def test_row_01_max_batches_does_not_choose_the_split(site):
    site.run(max_batches="2", use_validation_set="ND")
    assert split_of(site) == "training"


@pytest.mark.parametrize(
    ("text", "split"), [("true", "validation"), ("Yes", "validation"), ("1", "validation"), ("ND", "training")]
)
def test_row_02_use_validation_set_decides(site, text, split):
    site.run(use_validation_set=text, max_batches="1")
    assert split_of(site) == split


@pytest.mark.parametrize("text", ["false", "No", "0", "FALSE", ""])
def test_row_03_a_denial_is_no(site, text):
    assert parse(site.inputs(use_validation_set=text)).split == "training"


@pytest.mark.parametrize("text", ["maybe", "2", "use_validation_set", "off"])
def test_row_03_anything_else_is_refused(site, text):
    with pytest.raises(UsageError, match="use_validation_set"):
        parse(site.inputs(use_validation_set=text))


def test_row_04_whole_components_and_longest_first(site):
    validation = with_validation(site, data=f"{DATA}_val")
    site.run(**validation)
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")
    assert site.paths()[VAL_IMAGES] == str(validation["validation_data_dir"])


def test_row_05_one_reference_inside_another(site):
    data = site.root / "mnt" / "a"
    data.mkdir(parents=True)
    (data / "training").symlink_to(site.dataset.root / "training")
    site.run(
        training_data_dir=data,
        specfile_reference_training_data_dir="/home/jupyter/data",
        specfile_reference_training_tf_records_dir=RECORDS,
    )
    assert site.paths()[TRAIN_IMAGES] == str(data / "training")
    assert site.paths()[TRAIN_RECORDS] == str(site.dataset.root / "tfrecords" / "*")


def test_row_06_roles_may_share_a_reference(site):
    validation = with_validation(site, data=DATA, records=RECORDS)
    site.run(**validation)
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")
    assert site.paths()[VAL_IMAGES] == str(validation["validation_data_dir"])
    assert site.paths()[VAL_RECORDS] == f"{validation['validation_tf_records_dir']}/*"


def test_row_07_replaced_text_is_not_replaced_again(site):
    pictures = site.pictures("cap/home/jupyter/data/validation/x")
    site.run(training_data_dir=pictures, **with_validation(site))
    assert site.paths()[TRAIN_IMAGES] == str(pictures)


@pytest.mark.parametrize("reference", ["data", "training", "dataset_config"])
def test_row_08_only_path_values_change(site, reference):
    original = site.write_spec(data=reference)
    site.run(specfile_reference_training_data_dir=reference)
    updated = (site.out / "app" / "specs" / "spec.txt").read_text()
    changed = [old for old, new in zip(original.split("\n"), updated.split("\n"), strict=True) if old != new]
    assert [line.split(":")[0].strip() for line in changed] == ["tfrecords_path", "image_directory_path"]


@pytest.mark.parametrize(
    "reference", ["/data/kitti.v1", "/home/jupyter/data/[v1]/training", "/data/(a|b)$", "/data/^+?"]
)
def test_row_09_references_are_no_patterns(site, reference):
    site.write_spec(data=reference)
    site.run(specfile_reference_training_data_dir=reference)
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")


def test_row_09_a_dot_is_a_dot(site):
    site.write_spec(data="/data/kittiXv1")
    with pytest.raises(SpecError, match="kitti"):
        site.run(specfile_reference_training_data_dir="/data/kitti.v1")


def test_row_09_a_star_at_the_end_of_a_reference_is_not_doubled(site):
    site.run(specfile_reference_training_tf_records_dir=f"{RECORDS}/*")
    assert site.paths()[TRAIN_RECORDS] == str(site.dataset.root / "tfrecords" / "*")


def test_row_10_only_a_last_component_nd_is_dropped(site):
    site.write_spec(model="/home/jupyter/data/model/resnet18.hdf5")
    models = site.root / "NDA_models"
    (models / "app" / "NDT" / "x").mkdir(parents=True)
    site.run(
        base_model_dir=models,
        base_model_subdir="NDT/x/ND",
        specfile_reference_model_dir="/home/jupyter/data/model",
    )
    assert site.paths()[MODEL] == str(models / "app" / "NDT" / "x" / "resnet18.hdf5")


def test_row_11_nd_subfolders_are_the_folder_itself(site):
    validation = with_validation(site)
    site.run(
        training_data_subdir="ND",
        training_tf_records_subdir="ND",
        validation_data_subdir="ND",
        validation_tf_records_subdir="ND",
        **validation,
    )
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")
    assert site.paths()[VAL_IMAGES] == str(validation["validation_data_dir"])
    assert site.paths()[VAL_RECORDS] == f"{validation['validation_tf_records_dir']}/*"


def test_row_12_an_nd_reference_maps_nothing(site):
    validation = with_validation(site, records="/home/jupyter/kitti_trainval_ND")
    validation["specfile_reference_validation_tf_records_dir"] = "ND"
    outcome = site.run(**validation)
    assert site.paths()[VAL_RECORDS] == "/home/jupyter/kitti_trainval_ND/*"
    assert [item.name for item in outcome.request.not_used] == ["validation_tf_records_dir"]


def test_row_13_mappings_do_not_depend_on_each_other(site):
    validation = with_validation(site)
    validation["specfile_reference_validation_data_dir"] = "ND"
    site.run(**validation)
    assert site.paths()[VAL_RECORDS] == f"{validation['validation_tf_records_dir']}/*"


def test_row_14_space_in_a_data_folder(site):
    pictures = site.pictures("my data/training")
    site.run(training_data_dir=pictures, **with_validation(site))
    assert site.paths()[TRAIN_IMAGES] == str(pictures)
    assert site.paths()[VAL_IMAGES] == str(site.root / "mnt" / "validation")


def test_row_15_space_in_output_and_spec_names(site):
    site.write_spec("my spec.txt")
    outcome = site.run(specs_file="my spec.txt", output_dir=site.root / "my out")
    assert Path(outcome.manifest.path).is_file()
    assert (site.root / "my out" / "app" / "specs" / "my spec.txt").is_file()


def test_row_16_an_empty_input_shifts_nothing(site):
    request = parse(site.inputs(validation_data_subdir="", base_model_subdir="", output_filename=""))
    assert request.max_batches == 1
    assert os.path.basename(request.tensorfile) == "calibration.tensor"
    lines = "model_app_name=\nspecs_file=a b.txt\nmax_batches=10"
    assert read_lines(lines, "inputs") == {"model_app_name": "", "specs_file": "a b.txt", "max_batches": "10"}


def test_row_17_space_in_the_model_folder(site):
    site.write_spec(model="/home/jupyter/data/model/resnet18.tlt")
    models = site.root / "my models"
    (models / "app").mkdir(parents=True)
    site.run(base_model_dir=models, base_model_subdir="ND", specfile_reference_model_dir="/home/jupyter/data/model")
    assert site.paths()[MODEL] == str(models / "app" / "resnet18.tlt")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("host:8020", id="row_18_colon"),
        pytest.param("a,b", id="row_19_comma"),
        pytest.param("100%", id="row_20_percent"),
        pytest.param("R&D", id="row_21_ampersand"),
        pytest.param("\\1", id="row_22_back_reference"),
        pytest.param("host*", id="row_23_star"),
        pytest.param('a"b', id="row_24_quote"),
        pytest.param('";touch${IFS}SEDPWN;"%e#', id="row_25_command"),
        pytest.param("x$(touch PWNED)", id="row_26_substitution"),
        pytest.param("back`touch PWNED`tick", id="row_26_backtick"),
        pytest.param("naïve 映像", id="non_ascii"),
        pytest.param("-rf", id="leading_dash"),
        pytest.param("a'; touch PWNED; '", id="apostrophe"),
    ],
)
def test_rows_18_to_26_characters_in_run_paths_are_literal(site, name, monkeypatch):
    monkeypatch.chdir(site.root)
    pictures, records = site.pictures(f"{name}/training"), site.records(f"{name}/tfrecords")
    site.run(training_data_dir=pictures, training_tf_records_dir=records)
    assert site.paths()[TRAIN_IMAGES] == str(pictures)
    assert split_of(site) == "training"  # the images and records were found there and read
    assert {path.name for path in site.root.iterdir()} == {"specs", "mnt", "out"}  # nothing was run or written here


def test_row_18_colon_in_a_reference(site):
    site.write_spec(data="s3://bucket/training")
    site.run(specfile_reference_training_data_dir="s3://bucket/training")
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")


def test_row_27_missing_spec_stops(site):
    with pytest.raises(SpecError):
        site.run(specs_file="other.txt")
    assert not site.out.exists()


def test_row_28_stale_spec_in_the_output_is_not_used(site):
    stale = site.out / "app" / "specs" / "spec.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text((site.specs / "spec.txt").read_text())
    (site.specs / "spec.txt").unlink()
    with pytest.raises(SpecError):
        site.run()
    assert not site.tensorfile.exists()


def test_row_29_reference_that_is_not_in_the_spec(site):
    with pytest.raises(SpecError, match="/elsewhere") as caught:
        site.run(specfile_reference_training_data_dir="/elsewhere")
    assert DATA in str(caught.value)  # says what the spec has


@pytest.mark.parametrize("tail", ["/", "//", "/.", "/*"])
def test_row_29_tail_of_a_reference(site, tail):
    site.run(specfile_reference_training_data_dir=DATA + tail)
    assert site.paths()[TRAIN_IMAGES] == str(site.dataset.root / "training")


def test_row_29_empty_reference(site):
    with pytest.raises(UsageError, match="specfile_reference_training_data_dir"):
        site.run(specfile_reference_training_data_dir="")


def test_row_30_empty_target(site):
    with pytest.raises(UsageError) as caught:
        site.run(training_tf_records_dir="")
    assert "training_tf_records_dir" in str(caught.value)
    assert "specfile_reference_training_tf_records_dir" in str(caught.value)


def test_row_31_failure_of_nvidias_command_is_a_failure(site, program_on_path):
    program_on_path("detectnet_v2", "#!/bin/sh\nexit 3\n")
    with pytest.raises(EngineFailedError, match="exit code 3"):
        site.run(engine="tao")
    record = json.loads(Path(f"{site.tensorfile}.json").read_text())
    assert record["run"]["exit_code"] == 3
    assert not site.tensorfile.exists()


@pytest.mark.parametrize("existing", [True, False])
def test_row_32_output_folder_exists_or_its_parents_are_missing(site, existing):
    output_dir = site.root / "a" / "b" / "c"
    if existing:
        output_dir.mkdir(parents=True)
    outcome = site.run(output_dir=output_dir)
    assert Path(outcome.manifest.path).is_file()
    assert (output_dir / "app" / "specs" / "spec.txt").is_file()


def test_row_33_spec_in_a_subfolder(site):
    site.write_spec("sub/s.txt")
    site.run(specs_file="sub/s.txt")
    assert (site.out / "app" / "specs" / "sub" / "s.txt").is_file()


@pytest.mark.parametrize(
    "inputs",
    [
        {"specs_file": "../evil.txt"},
        {"specs_file": "sub/../../evil.txt"},
        {"specs_file": "/etc/passwd"},
        {"output_filename": "../../../evil"},
        {"output_filename": "/tmp/evil"},
        {"output_subfolder": "../.."},
        {"output_subfolder": "/tmp"},
        {"model_app_name": ".."},
        {"model_app_name": "/tmp"},
        {"training_data_subdir": "../secret"},
        {"training_tf_records_subdir": "a/../../b"},
    ],
    ids=lambda inputs: "-".join(inputs.values()),
)
def test_row_34_nothing_leaves_its_folder(site, inputs):
    (site.root / "evil.txt").write_text((site.specs / "spec.txt").read_text())
    with pytest.raises(UsageError, match=next(iter(inputs))):
        site.run(**inputs)
    assert not site.out.exists()


@pytest.mark.parametrize("name", ["link.txt", "up/outside.txt"])
def test_row_34_no_link_takes_the_spec_out_of_its_folder(site, name):
    (site.root / "outside.txt").write_text((site.specs / "spec.txt").read_text())
    (site.specs / "link.txt").symlink_to(site.root / "outside.txt")
    (site.specs / "up").symlink_to(site.root)
    with pytest.raises(UsageError, match="leads out of original_specs"):
        site.run(specs_file=name)
    assert not site.out.exists()


def test_nothing_runs_when_bash_cannot_make_the_here_document(repository):
    """As on a full disk: the redirection fails, exec returns, and the lines that follow must not be run."""
    for path in (repository / "azureml" / "components").glob("*/spec.yaml"):
        first = yaml.safe_load(path.read_text(encoding="utf-8"))["command"].splitlines()[0]
        broken = first.replace("<<'INT8CAL_INPUTS_END'", "</nonexistent/folder/file")
        done = subprocess.run(["bash", "-c", f"{broken}\necho RAN"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (5, "")


def test_row_35_one_program_and_no_script(repository):
    """The original's checks were shell that tested nothing. Ours has none: the command is one program."""
    for path in (repository / "azureml" / "components").glob("*/spec.yaml"):
        command = yaml.safe_load(path.read_text(encoding="utf-8"))["command"]
        first = command.splitlines()[0].replace(" --original_inputs", "")
        assert first == "exec int8cal component --inputs_from - <<'INT8CAL_INPUTS_END' || exit 5"
    assert not list((repository / "azureml").rglob("*.sh"))


@pytest.mark.parametrize("value", ["0.05", "1"])
def test_row_36_both_spellings_of_dbscan_min_samples(site, value):
    spec = site.specs / "spec.txt"
    spec.write_text(spec.read_text().replace("dbscan_min_samples: 1", f"dbscan_min_samples: {value}"))
    site.run()
    assert f"dbscan_min_samples: {value}" in (site.out / "app" / "specs" / "spec.txt").read_text()


def test_row_37_existing_tensorfile(site):
    site.tensorfile.parent.mkdir(parents=True)
    site.tensorfile.write_bytes(b"\x89HDF\r\n\x1a\n _tensorfile_array_key_ of another run")
    with pytest.raises(OutputExistsError, match="already exists") as caught:
        site.run()
    assert "set the input overwrite to true" in str(caught.value)
    assert site.tensorfile.read_bytes().endswith(b"of another run")
    site.run(overwrite=True)
    assert split_of(site) == "training"


def test_row_38_page_and_interface_agree(repository):
    """Optional is optional, num_epochs is an input, and the sample is a DetectNet_v2 spec."""
    folder = repository / "azureml" / "components" / "int8cal_calibration_tensorfile"
    inputs = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))["inputs"]
    assert inputs["validation_data_dir"]["optional"]
    assert inputs["validation_tf_records_dir"]["optional"]
    assert "num_epochs" in inputs
    page = (folder / "README.md").read_text(encoding="utf-8")
    command = next(line for line in page.splitlines() if "calibration_tensorfile -e" in line)
    assert "classification" not in command


def test_row_39_one_implementation(repository):
    """Both components, Kubeflow and docker run the same program, with one substitution: spec.update."""
    users = [
        str(path.relative_to(repository / "src" / "int8cal"))
        for path in sorted((repository / "src").rglob("*.py"))
        if "update_spec(" in path.read_text(encoding="utf-8")
    ]
    assert users == ["cli/spec.py", "origins/experiment.py", "spec/update.py"]


def test_not_a_defect_crlf_survives(site):
    spec = site.specs / "spec.txt"
    spec.write_bytes(spec.read_bytes().replace(b"\n", b"\r\n"))
    site.run()
    updated = (site.out / "app" / "specs" / "spec.txt").read_bytes()
    assert updated.count(b"\r\n") == updated.count(b"\n") > 50


def test_missing_data_folder_names_its_inputs(site):
    with pytest.raises(MissingDataError) as caught:
        site.run(training_data_subdir="nowhere")
    assert "training_data_dir" in str(caught.value)
    assert isinstance(caught.value, DataError)
