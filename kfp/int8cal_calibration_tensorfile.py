"""int8cal as a component of Kubeflow Pipelines v2.

Made by tools/generate_component_docs.py from src/int8cal/component/inputs.py: change that, not this.
For an image of yours: python tools/component_kubeflow.py IMAGE --output FILE
It needs a back end of Kubeflow Pipelines 2.17.1 or later.
"""

# ruff: noqa: UP045  # kfp reads typing.Optional, and not the newer spelling
from typing import Optional

from kfp import dsl


@dsl.container_component
def int8cal_calibration_tensorfile(
    output_dir: dsl.Output[dsl.Artifact],
    model_app_name: str,
    training_data_dir: dsl.Input[dsl.Artifact],
    specfile_reference_training_data_dir: str,
    original_specs: dsl.Input[dsl.Artifact],
    training_data_subdir: str = "",
    validation_data_dir: Optional[dsl.Input[dsl.Artifact]] = None,
    validation_data_subdir: str = "",
    specfile_reference_validation_data_dir: str = "",
    training_tf_records_dir: Optional[dsl.Input[dsl.Artifact]] = None,
    training_tf_records_subdir: str = "",
    specfile_reference_training_tf_records_dir: str = "",
    validation_tf_records_dir: Optional[dsl.Input[dsl.Artifact]] = None,
    validation_tf_records_subdir: str = "",
    specfile_reference_validation_tf_records_dir: str = "",
    base_model_dir: Optional[dsl.Input[dsl.Artifact]] = None,
    base_model_subdir: str = "",
    specfile_reference_model_dir: str = "",
    specs_file: str = "detectnet_v2_retrain_resnet18_kitti.txt",
    max_batches: int = 10,
    use_validation_set: str = "ND",
    output_subfolder: str = "experiment_dir_final",
    output_filename: str = "calibration.tensor",
    network: str = "",
    num_epochs: str = "",
    engine: str = "native",
    seed: str = "",
    on_bad_image: str = "fail",
    max_skipped: int = 0,
    overwrite: bool = False,
    allow_unknown_fields: bool = False,
    log_report: bool = False,
) -> dsl.ContainerSpec:
    """Put the run's paths into a TAO training spec and make its INT8 calibration tensorfile.

    Args:
        output_dir: Receives <model_app_name>/<output_subfolder>/<output_filename> (the tensorfile), the record
            of the run beside it (<output_filename>.json and, to look at, .html), and
            <model_app_name>/specs/<specs_file> (the updated spec).
        model_app_name: Name of the application; the folder below output_dir that the results go to.
        training_data_dir: Folder with the training images.
        training_data_subdir: Path below training_data_dir. Left out: the folder itself.
        specfile_reference_training_data_dir: Path that stands in the spec where the training images lie;
            replaced by training_data_dir/training_data_subdir.
        validation_data_dir: Folder with the validation images.
        validation_data_subdir: Path below validation_data_dir. Left out: the folder itself.
        specfile_reference_validation_data_dir: Path that stands in the spec where the validation images lie;
            replaced by validation_data_dir/validation_data_subdir.
        training_tf_records_dir: Folder with the TFRecords of the training images.
        training_tf_records_subdir: Path below training_tf_records_dir. Left out: the folder itself.
        specfile_reference_training_tf_records_dir: Path that stands in the spec where the training TFRecords
            lie; replaced by training_tf_records_dir/training_tf_records_subdir.
        validation_tf_records_dir: Folder with the TFRecords of the validation images.
        validation_tf_records_subdir: Path below validation_tf_records_dir. Left out: the folder itself.
        specfile_reference_validation_tf_records_dir: Path that stands in the spec where the validation
            TFRecords lie; replaced by validation_tf_records_dir/validation_tf_records_subdir.
        base_model_dir: Folder with the base model. Not needed to make the tensorfile.
        base_model_subdir: Path below base_model_dir/model_app_name. Left out: the folder itself.
        specfile_reference_model_dir: Path that stands in the spec where the base model's files lie; replaced by
            base_model_dir/model_app_name/base_model_subdir.
        original_specs: Folder with the training experiment spec.
        specs_file: The training experiment spec: its path below original_specs.
        max_batches: Number of batches to make; -1: all full ones. 0 is refused.
        use_validation_set: true, 1 or yes: take the samples from the validation set. false, 0, no or ND: from
            the training set.
        output_subfolder: Folder of the tensorfile below output_dir/model_app_name.
        output_filename: Name of the tensorfile.
        network: Network that the spec must be of, such as detectnet_v2. Left out: found from the spec.
        num_epochs: Number of training epochs to write into the updated spec. Left out: the spec's own stays.
        engine: What makes the batches. native: int8cal itself. ray: the same on the Ray cluster of RAY_ADDRESS.
            tao: NVIDIA's own command, where it is installed, gets the updated spec.
        seed: Seed of the sample order. Left out: the spec's own.
        on_bad_image: What to do about an image that cannot be used: fail, or skip up to max_skipped of them.
        max_skipped: How many images may be left out with on_bad_image skip.
        overwrite: Replace what another request left in the output: a tensorfile, its record and page, and the
            updated spec.
        allow_unknown_fields: Take a spec with unknown fields, and warn of them. Off: they are an error.
        log_report: Log the HTML report, with pictures of the samples, to MLflow. Off: no picture leaves the
            output folder.
    """
    return dsl.ContainerSpec(
        image="registry.example.com/int8cal:0.1.0",
        command=["int8cal", "component"],
        args=[
            "--model_app_name",
            model_app_name,
            "--training_data_dir",
            training_data_dir.path,
            "--training_data_subdir",
            training_data_subdir,
            "--specfile_reference_training_data_dir",
            specfile_reference_training_data_dir,
            dsl.IfPresentPlaceholder(
                input_name="validation_data_dir",
                then=["--validation_data_dir", validation_data_dir.path],
            ),
            "--validation_data_subdir",
            validation_data_subdir,
            "--specfile_reference_validation_data_dir",
            specfile_reference_validation_data_dir,
            dsl.IfPresentPlaceholder(
                input_name="training_tf_records_dir",
                then=["--training_tf_records_dir", training_tf_records_dir.path],
            ),
            "--training_tf_records_subdir",
            training_tf_records_subdir,
            "--specfile_reference_training_tf_records_dir",
            specfile_reference_training_tf_records_dir,
            dsl.IfPresentPlaceholder(
                input_name="validation_tf_records_dir",
                then=["--validation_tf_records_dir", validation_tf_records_dir.path],
            ),
            "--validation_tf_records_subdir",
            validation_tf_records_subdir,
            "--specfile_reference_validation_tf_records_dir",
            specfile_reference_validation_tf_records_dir,
            dsl.IfPresentPlaceholder(
                input_name="base_model_dir",
                then=["--base_model_dir", base_model_dir.path],
            ),
            "--base_model_subdir",
            base_model_subdir,
            "--specfile_reference_model_dir",
            specfile_reference_model_dir,
            "--original_specs",
            original_specs.path,
            "--specs_file",
            specs_file,
            "--max_batches",
            max_batches,
            "--use_validation_set",
            use_validation_set,
            "--output_subfolder",
            output_subfolder,
            "--output_filename",
            output_filename,
            "--network",
            network,
            "--num_epochs",
            num_epochs,
            "--engine",
            engine,
            "--seed",
            seed,
            "--on_bad_image",
            on_bad_image,
            "--max_skipped",
            max_skipped,
            "--overwrite",
            overwrite,
            "--allow_unknown_fields",
            allow_unknown_fields,
            "--log_report",
            log_report,
            "--output_dir",
            output_dir.path,
        ],
    )
