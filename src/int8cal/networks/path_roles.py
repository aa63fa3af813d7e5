"""Which path field of a spec plays which role: what path substitution goes by, one table per network.

Keys are field patterns (``[]`` for each element of a repeated field, ``{}`` for each value of a map). A value is a
role, or ``none: `` and the reason why no run-time path ever belongs there. Label folders have the role of their images,
since they lie under the same data folder; every kind of model that training starts from is ``base_model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WRITTEN = "none: written by the job, not read"
_RELATIVE = "none: relative to root_directory_path"
_RESULT = "none: a trained model, which calibration data do not need"
_ENGINE = "none: a TensorRT engine belongs to the machine that built it"
_TRAINING = "training_data"
_TRAINING_RECORDS = "training_tfrecords"
_VALIDATION = "validation_data"
_VALIDATION_RECORDS = "validation_tfrecords"
_BASE_MODEL = "base_model"


def _dataset_export(prefix: str) -> dict[str, str]:
    """The path fields of a DatasetExportConfig message."""
    return {
        f"{prefix}coco_config.root_directory_path": _TRAINING,
        f"{prefix}coco_config.img_dir_names[]": _RELATIVE,
        f"{prefix}coco_config.annotation_files[]": _RELATIVE,
        f"{prefix}kitti_config.root_directory_path": _TRAINING,
        f"{prefix}kitti_config.image_dir_name": _RELATIVE,
        f"{prefix}kitti_config.label_dir_name": _RELATIVE,
        f"{prefix}kitti_config.point_clouds_dir": _RELATIVE,
        f"{prefix}kitti_config.calibrations_dir": _RELATIVE,
        f"{prefix}kitti_config.kitti_sequence_to_frames_file": _RELATIVE,
        f"{prefix}image_directory_path": _TRAINING,
    }


_DETECTNET_SOURCES: Final[Mapping[str, str]] = {
    "dataset_config.data_sources[].tfrecords_path": _TRAINING_RECORDS,
    "dataset_config.data_sources[].image_directory_path": _TRAINING,
    "dataset_config.validation_data_source.tfrecords_path": _VALIDATION_RECORDS,
    "dataset_config.validation_data_source.image_directory_path": _VALIDATION,
}

DETECTNET_V2: Final[Mapping[str, str]] = {
    **_DETECTNET_SOURCES,
    "postprocessing_config.target_class_config{}.confidence_config.confidence_model_filename": (
        "none: a second model, which calibration data do not need"
    ),
    "model_config.pretrained_model_file": _BASE_MODEL,
    "training_config.visualizer.wandb_config.wandb_dir": _WRITTEN,
    **_dataset_export("dataset_export_config[]."),
    **_dataset_export(""),
    "inferencer_config.tlt_config.model": _BASE_MODEL,
    "inferencer_config.tensorrt_config.caffemodel": _BASE_MODEL,
    "inferencer_config.tensorrt_config.prototxt": _BASE_MODEL,
    "inferencer_config.tensorrt_config.uff_model": _BASE_MODEL,
    "inferencer_config.tensorrt_config.etlt_model": _BASE_MODEL,
    "inferencer_config.tensorrt_config.trt_engine": _ENGINE,
    "inferencer_config.tensorrt_config.calibrator_config.calibration_cache": _WRITTEN,
    "inferencer_config.tensorrt_config.calibrator_config.calibration_tensorfile": (
        "none: the output of the calibration job, not its input"
    ),
    "bbox_handler_config.wandb_config.wandb_dir": _WRITTEN,
}

CLASSIFICATION: Final[Mapping[str, str]] = {
    "eval_config.eval_dataset_path": _VALIDATION,
    "eval_config.model_path": _RESULT,
    "model_config.byom_model": _BASE_MODEL,
    "train_config.train_dataset_path": _TRAINING,
    "train_config.val_dataset_path": _VALIDATION,
    "train_config.pretrained_model_path": _BASE_MODEL,
    "train_config.visualizer.wandb_config.wandb_dir": _WRITTEN,
}

SSD: Final[Mapping[str, str]] = {
    "dataset_config.data_sources[].label_directory_path": _TRAINING,
    "dataset_config.data_sources[].image_directory_path": _TRAINING,
    "dataset_config.data_sources[].root_path": _TRAINING,
    "dataset_config.data_sources[].tfrecords_path": _TRAINING_RECORDS,
    "dataset_config.validation_data_sources[].label_directory_path": _VALIDATION,
    "dataset_config.validation_data_sources[].image_directory_path": _VALIDATION,
    "dataset_config.validation_data_sources[].root_path": _VALIDATION,
    "dataset_config.validation_data_sources[].tfrecords_path": _VALIDATION_RECORDS,
    "training_config.resume_model_path": _BASE_MODEL,
    "training_config.pretrain_model_path": _BASE_MODEL,
    "training_config.pruned_model_path": _BASE_MODEL,
    "training_config.visualizer.wandb_config.wandb_dir": _WRITTEN,
}

FASTER_RCNN: Final[Mapping[str, str]] = {
    **_DETECTNET_SOURCES,
    "training_config.retrain_pruned_model": _BASE_MODEL,
    "training_config.pretrained_weights": _BASE_MODEL,
    "training_config.resume_from_model": _BASE_MODEL,
    "training_config.output_model": _WRITTEN,
    "training_config.visualizer.wandb_config.wandb_dir": _WRITTEN,
    "inference_config.images_dir": "none: images for inference, not for calibration",
    "inference_config.model": _RESULT,
    "inference_config.detection_image_output_dir": _WRITTEN,
    "inference_config.labels_dump_dir": _WRITTEN,
    "inference_config.trt_inference.trt_engine": _ENGINE,
    "evaluation_config.model": _RESULT,
    "evaluation_config.trt_evaluation.trt_engine": _ENGINE,
}

ALL: Final[Mapping[str, Mapping[str, str]]] = {
    "int8cal.detectnet_v2": DETECTNET_V2,
    "int8cal.classification": CLASSIFICATION,
    "int8cal.ssd": SSD,
    "int8cal.faster_rcnn": FASTER_RCNN,
}
"""By protobuf package of the spec, for specs that are no training experiment and so belong to no `Network`."""
