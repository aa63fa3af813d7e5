"""The path fields of DetectNet_v2's specs, by role (see `int8cal.network_kit.path_roles`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from int8cal.network_kit.path_roles import BASE_MODEL, ENGINE, RELATIVE, TFRECORD_SOURCES, TRAINING, WRITTEN


def _dataset_export(prefix: str) -> dict[str, str]:
    """The path fields of a DatasetExportConfig message."""
    return {
        f"{prefix}coco_config.root_directory_path": TRAINING,
        f"{prefix}coco_config.img_dir_names[]": RELATIVE,
        f"{prefix}coco_config.annotation_files[]": RELATIVE,
        f"{prefix}kitti_config.root_directory_path": TRAINING,
        f"{prefix}kitti_config.image_dir_name": RELATIVE,
        f"{prefix}kitti_config.label_dir_name": RELATIVE,
        f"{prefix}kitti_config.point_clouds_dir": RELATIVE,
        f"{prefix}kitti_config.calibrations_dir": RELATIVE,
        f"{prefix}kitti_config.kitti_sequence_to_frames_file": RELATIVE,
        f"{prefix}image_directory_path": TRAINING,
    }


PATH_ROLES: Final[Mapping[str, str]] = {
    **TFRECORD_SOURCES,
    "postprocessing_config.target_class_config{}.confidence_config.confidence_model_filename": (
        "none: a second model, which calibration data do not need"
    ),
    "model_config.pretrained_model_file": BASE_MODEL,
    "training_config.visualizer.wandb_config.wandb_dir": WRITTEN,
    **_dataset_export("dataset_export_config[]."),
    **_dataset_export(""),
    "inferencer_config.tlt_config.model": BASE_MODEL,
    "inferencer_config.tensorrt_config.caffemodel": BASE_MODEL,
    "inferencer_config.tensorrt_config.prototxt": BASE_MODEL,
    "inferencer_config.tensorrt_config.uff_model": BASE_MODEL,
    "inferencer_config.tensorrt_config.etlt_model": BASE_MODEL,
    "inferencer_config.tensorrt_config.trt_engine": ENGINE,
    "inferencer_config.tensorrt_config.calibrator_config.calibration_cache": WRITTEN,
    "inferencer_config.tensorrt_config.calibrator_config.calibration_tensorfile": (
        "none: the output of the calibration job, not its input"
    ),
    "bbox_handler_config.wandb_config.wandb_dir": WRITTEN,
}
