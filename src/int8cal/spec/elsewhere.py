"""Specs of TAO networks that int8cal does not have: told by their fields, so that they can be called by their names."""

from __future__ import annotations

from collections.abc import Collection

from int8cal.errors import SpecError
from int8cal.io.safe_text import printable

_MARKS: tuple[tuple[str, str], ...] = (
    # a field of protobuf text at the top level, or in one section: section.field; what it marks
    ("yolov3_config", "YOLOv3"),
    ("yolov4_config", "YOLOv4"),
    ("retinanet_config", "RetinaNet"),
    ("lpr_config", "LPRNet"),
    ("lprnet_config", "LPRNet"),
    ("maskrcnn_config", "Mask R-CNN"),
    ("efficientdet_config", "EfficientDet"),
    ("dataset_config.train_images_path", "UNet"),
    ("dataset_config.train_data_sources", "UNet"),
    ("dataset_config.data_class_config", "UNet"),
    ("model_config.num_anchors_per_location", "EfficientDet"),
    ("model_config.aspect_ratios", "EfficientDet"),
    ("model_config.anchor_scale", "EfficientDet"),
    ("dataset_config.training_file_pattern", "EfficientDet"),
    ("dataset_config.characters_list_file", "LPRNet"),
    ("bpnet_config", "BodyPoseNet"),
    ("fpe_model_version", "FPENet"),
    # keys of YAML
    ("dataset.train_tfrecords", "EfficientDet (TF2)"),
    ("dataset.val_tfrecords", "EfficientDet (TF2)"),
    ("dataset.train_dataset_path", "classification (TF2)"),
    ("dataset.validate_dataset", "OCDNet"),
    ("dataset.segment", "VisualChangeNet"),
    ("dataset.classify", "VisualChangeNet"),
    ("dataset.segment.change_image_folder_name", "VisualChangeNet"),  # its other keys are those of SegFormer
    ("dataset.segment.image_folder_name", "VisualChangeNet"),
    ("dataset.segment.list_folder_name", "VisualChangeNet"),
    ("model.mask_former", "Mask2Former"),
    ("model.max_text_len", "Grounding DINO"),
    ("model.text_encoder_type", "Grounding DINO"),
    ("model.log_scale", "Grounding DINO"),
    ("dataset.train_data_sources.images", "YOLOv4"),
    ("model.centerpose", "CenterPose"),
    ("dataset.pose_config", "PoseClassificationNet"),
    ("model.rgb_pretrained_model_path", "ActionRecognitionNet"),
    ("dataset.train_dataset_dir", "ReIdentificationNet"),
    ("model.max_points_per_voxel", "PointPillars"),
)

_MODEL_NAMES = {
    "centerpose": "CenterPose",
    "grounding_dino": "Grounding DINO",
    "mask2former": "Mask2Former",
    "mask_grounding_dino": "Mask Grounding DINO",
    "ocdnet": "OCDNet",
    "visual_changenet": "VisualChangeNet",
    "classification_tf2": "classification (TF2)",
    "efficientdet_tf2": "EfficientDet (TF2)",
    "pointpillars": "PointPillars",
}


def network_elsewhere(fields: Collection[str], model_name: str | None = None) -> str | None:
    """Name of the network that a spec is of, when it is one of those that int8cal does not have.

    Args:
        fields: names at its top level, and ``section.name`` of those one level below.
        model_name: what its key ``model_name`` says.
    """
    said = _MODEL_NAMES.get(model_name or "")
    return said or next((network for mark, network in _MARKS if mark in fields), None)


def not_here(network: str, path: str) -> SpecError:
    """The error for a spec of such a network."""
    article = "an" if network[0] in "AEIO" or network.startswith(("LPR", "FPE")) else "a"
    return SpecError(
        f"this is {article} {network} spec, and int8cal has no such network yet",
        where=printable(path),
        hint="int8cal images makes its calibration data if you state the preprocessing: "
        "int8cal images DIR -o FILE --size HxW --resize HOW --scale S --mean M --std S.",
    )
