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
    ("model.frustum3d", "NVPanoptix3D"),
    ("dataset.depth_bound", "NVPanoptix3D"),
    ("model.one_former", "OneFormer"),
    ("model.mask_former", "Mask2Former"),
    ("dataset.has_mask", "Mask Grounding DINO"),
    ("model.num_region_queries", "Mask Grounding DINO"),
    ("dataset.max_labels", "Grounding DINO"),
    ("model.max_text_len", "Grounding DINO"),
    ("model.text_encoder_type", "Grounding DINO"),
    ("model.log_scale", "Grounding DINO"),
    ("model.num_co_heads", "Co-DETR"),
    ("model.co_head_num_convs", "Co-DETR"),
    ("dataset.train_data_sources.images", "YOLOv4"),
    ("model.centerpose", "CenterPose"),
    ("dataset.pose_config", "PoseClassificationNet"),
    ("model.graph_layout", "PoseClassificationNet"),
    ("model.rgb_pretrained_model_path", "ActionRecognitionNet"),
    ("model.rgb_seq_length", "ActionRecognitionNet"),
    ("model.of_seq_length", "ActionRecognitionNet"),
    ("dataset.clips_per_video", "ActionRecognitionNet"),
    ("dataset.train_dataset_dir", "ReIdentificationNet"),
    ("dataset.query_dataset_dir", "ReIdentificationNet"),
    ("model.max_points_per_voxel", "PointPillars"),
    ("dataset.data_info_path", "PointPillars"),
    ("model.map_to_bev", "PointPillars"),
    ("model.pts_backbone", "BEVFusion"),
    ("model.backbone.teacher_type", "NVDINOv2"),
    ("train.num_prototypes", "NVDINOv2"),
    ("train.mask_ratio", "MAE"),
    ("model.decoder_embed_dim", "MAE"),
    ("dataset.train_ann_path", "MAL"),
    ("model.mono_backbone", "DepthNet"),
    ("dataset.max_disparity", "DepthNet"),
    ("dataset.max_depth", "DepthNet"),
    ("dataset.num_bev_groups", "Sparse4D"),
    ("model.use_deformable_func", "Sparse4D"),
    ("model.embedding_vectors", "Optical Inspection"),
    ("dataset.validation_dataset", "Optical Inspection"),
    ("model.enlarge_feature_map_size", "OCDNet"),
    ("model.load_pruned_graph", "OCDNet"),
    ("inference.polygon", "OCDNet"),
    ("model.generator", "StyleGAN-XL"),
    ("model.network", "Cosmos-Embed1"),
    ("prune.threshold", "classification or EfficientDet (TF2)"),
)

_NAMES = {
    "action_recognition": "ActionRecognitionNet",
    "bevfusion": "BEVFusion",
    "bpnet": "BodyPoseNet",
    "centerpose": "CenterPose",
    "classification_tf2": "classification (TF2)",
    "codetr": "Co-DETR",
    "depth_net": "DepthNet",
    "efficientdet_tf1": "EfficientDet",
    "efficientdet_tf2": "EfficientDet (TF2)",
    "fpenet": "FPENet",
    "grounding_dino": "Grounding DINO",
    "lprnet": "LPRNet",
    "mae": "MAE",
    "mal": "MAL",
    "mask2former": "Mask2Former",
    "mask_grounding_dino": "Mask Grounding DINO",
    "mask_rcnn": "Mask R-CNN",
    "nvdinov2": "NVDINOv2",
    "nvpanoptix3d": "NVPanoptix3D",
    "ocdnet": "OCDNet",
    "oneformer": "OneFormer",
    "optical_inspection": "Optical Inspection",
    "pointpillars": "PointPillars",
    "pose_classification": "PoseClassificationNet",
    "re_identification": "ReIdentificationNet",
    "retinanet": "RetinaNet",
    "sparse4d": "Sparse4D",
    "stylegan_xl": "StyleGAN-XL",
    "unet": "UNet",
    "visual_changenet": "VisualChangeNet",
    "yolo_v3": "YOLOv3",
    "yolo_v4": "YOLOv4",
    "yolo_v4_tiny": "YOLOv4-tiny",
}
"""What TAO's command line, and the key ``model_name``, call them."""


_NO_SINGLE_IMAGES = {
    "ActionRecognitionNet",  # clips of video
    "BEVFusion",  # several cameras and points
    "Optical Inspection",  # pairs of images
    "PointPillars",  # points
    "PoseClassificationNet",  # sequences of joints
    "Sparse4D",  # several cameras
    "StyleGAN-XL",  # random numbers
    "VisualChangeNet",  # pairs of images
}
"""Networks that are not fed one image at a time."""

_BY_IMAGES = (
    "int8cal images makes its calibration data if you state the preprocessing: "
    "int8cal images DIR -o FILE --size HxW --resize HOW --scale S --mean M --std S."
)


def is_fed_images(network: str) -> bool:
    """Whether a network that int8cal does not have is fed one image at a time."""
    return network not in _NO_SINGLE_IMAGES


def advice_elsewhere(network: str) -> str:
    """What to do about a network that int8cal does not have, by its name."""
    if not is_fed_images(network):
        return "It is not fed single images. The networks that there are: int8cal networks."
    return _BY_IMAGES


def name_elsewhere(name: str) -> str | None:
    """What the network is called that TAO's command line has under a name, when int8cal does not have it."""
    return _NAMES.get(name)


def network_elsewhere(fields: Collection[str]) -> str | None:
    """Name of the network that a spec is of, when it is one of those that int8cal does not have.

    Args:
        fields: names at its top level, and those one and two levels below with the names above them.
    """
    return next((network for mark, network in _MARKS if mark in fields), None)


def not_here(network: str, path: str) -> SpecError:
    """The error for a spec of such a network."""
    article = "an" if network[0] in "AEIO" or network.startswith(("LPR", "FPE", "NV", "MAE", "MAL")) else "a"
    return SpecError(
        f"this is {article} {network} spec, and int8cal has no such network yet",
        where=printable(path),
        hint=advice_elsewhere(network),
    )
