"""The pipeline of ``demo.yml``, written with the SDK.

Submit it with:

    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    client = MLClient.from_config(DefaultAzureCredential())
    client.jobs.create_or_update(demo())

in a folder with the ``config.json`` of the workspace.
"""

from pathlib import Path

from azure.ai.ml import dsl, load_component

HERE = Path(__file__).parent

# A small sample of a large folder is read, each file once: no file is fetched whole before it is needed, none kept.
MOUNT_SETTINGS = {
    "DATASET_MOUNT_BLOCK_BASED_CACHE_ENABLED": "true",
    "DATASET_MOUNT_BLOCK_FILE_CACHE_ENABLED": "false",
    "DATASET_MOUNT_MEMORY_CACHE_SIZE": "0",
}

prepare_data = load_component(HERE / "prepare.yml")
calibration_tensorfile = load_component(HERE.parent / "components" / "int8cal_calibration_tensorfile" / "spec.yaml")
export_samples = load_component(HERE / "export.yml")


@dsl.pipeline(display_name="INT8 calibration, demo", default_compute="cpu-cluster")
def demo() -> dict[str, object]:
    """From a data set and its training spec to a calibration tensorfile, and on to another tool's form."""
    prepare = prepare_data()
    calibration = calibration_tensorfile(
        model_app_name="streets",
        training_data_dir=prepare.outputs.data,
        training_data_subdir="streets",
        specfile_reference_training_data_dir="/data/streets",
        training_tf_records_dir=prepare.outputs.data,
        training_tf_records_subdir="streets",
        specfile_reference_training_tf_records_dir="/data/streets",
        original_specs=prepare.outputs.specs,
        specs_file="streets.txt",
        max_batches=2,
    )
    calibration.environment_variables = MOUNT_SETTINGS
    export = export_samples(calibration=calibration.outputs.output_dir)
    export.display_name = "export"
    return {"calibration": calibration.outputs.output_dir}
