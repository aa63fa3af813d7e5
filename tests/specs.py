"""Training specs of every network for small pictures, as text; fields can be replaced."""

from __future__ import annotations

import re

CLASSIFICATION = """
model_config { arch: "resnet" n_layers: 18 input_image_size: "3,24,32" }
train_config {
  train_dataset_path: "train" val_dataset_path: "val"
  optimizer { sgd { lr: 0.01 } } reg_config { type: "L2" scope: "Conv2D" weight_decay: 0.0005 }
  lr_config { step { learning_rate: 0.006 step_size: 10 gamma: 0.1 } }
  batch_size_per_gpu: 2 n_epochs: 8 n_workers: 1 preprocess_mode: "caffe"
}
"""

SSD = """
ssd_config { aspect_ratios_global: "[1.0]" scales: "[0.1]" variances: "[0.1, 0.1, 0.2, 0.2]" arch: "resnet" }
training_config {
  batch_size_per_gpu: 2 num_epochs: 2 regularizer { type: L1 weight: 3e-9 }
  learning_rate { soft_start_annealing_schedule { min_learning_rate: 5e-5 max_learning_rate: 4e-2 soft_start: 0.1
    annealing: 0.3 } }
}
eval_config { validation_period_during_training: 1 batch_size: 1 matching_iou_threshold: 0.5 }
nms_config { confidence_threshold: 0.01 clustering_iou_threshold: 0.8 top_k: 200 }
augmentation_config { output_width: 40 output_height: 36 output_channel: 3 }
dataset_config {
  data_sources { label_directory_path: "labels" image_directory_path: "images" }
  target_class_mapping { key: "car" value: "car" }
}
"""

FASTER_RCNN = """
random_seed: 7
model_config { arch: "resnet:18" input_image_config {
  image_type: RGB image_channel_order: "bgr" image_scaling_factor: 58.8 size_height_width { height: 160 width: 176 }
  image_channel_mean { key: "b" value: 103.939 } image_channel_mean { key: "g" value: 116.779 }
  image_channel_mean { key: "r" value: 123.68 }
} }
dataset_config {
  data_sources { tfrecords_path: "records/*" image_directory_path: "." }
  image_extension: "png"
  target_class_mapping { key: "car" value: "car" }
}
training_config { batch_size_per_gpu: 2 num_epochs: 1 }
"""


def changed(text: str, *replacements: tuple[str, str]) -> str:
    """The text with regular expressions replaced; each must match."""
    for pattern, new in replacements:
        text, count = re.subn(pattern, new, text, flags=re.DOTALL)
        assert count, f"{pattern!r} is not in the spec"
    return text


_COCO = "{train_data_sources: [{image_dir: images, json_file: coco.json}], augmentation: %s}"
YAML_SPECS = {
    "rtdetr": f"dataset: {_COCO % '{eval_spatial_size: [24, 32]}'}\n",
    "dino": f"dataset: {_COCO % '{input_std: [0.2]}'}\nexport: {{input_width: 32, input_height: 24}}\n"
    "model_name: dino\n",
    "deformable_detr": f"dataset: {_COCO % '{}'}\nexport: {{input_width: 32, input_height: 24}}\n"
    "model_name: deformable_detr\n",
    "classification_pyt": "dataset: {root_dir: ., img_size: 24, train_dataset: {images_dir: train}}\n",
    "segformer": "dataset: {segment: {root_dir: seg, img_size: 24}}\n",
    "ocrnet": "dataset: {train_dataset_dir: [images], train_gt_file: gt.txt}\nmodel: {input_channel: 1}\n",
    "ml_recog": "dataset: {train_dataset: train}\nmodel: {input_width: 24, input_height: 32}\n",
}
"""A small training experiment of each network in PyTorch, on the pictures of tests/unit/networks/conftest.py."""
