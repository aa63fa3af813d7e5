"""The DetectNet_v2 experiment spec of the demo: a usual ResNet-18 training of three classes."""

from __future__ import annotations

from string import Template

from google.protobuf.text_encoding import CEscape

from int8cal.demo.scene import CLASSES
from int8cal.types import Size


def experiment_spec(
    *,
    tfrecords: str,
    image_directory: str,
    image_extension: str,
    network_size: Size,
    batch_size: int,
    seed: int,
    validation_fold: int | None,
    auto_resize: bool,
) -> str:
    """Text of the spec.

    Args:
        tfrecords: pattern of the TFRecord files.
        image_directory: folder above the image folder that the records name.
        image_extension: without the dot.
        network_size: input of the network; both must be multiples of 16.
        batch_size: images per batch.
        seed: decides the order of the training samples.
        validation_fold: fold that is the validation split; None: there is no such split.
        auto_resize: resize images to the network's input instead of padding and cropping them.
    """
    return _SPEC.substitute(
        seed=seed,
        tfrecords=CEscape(tfrecords.encode(), as_utf8=True),
        image_directory=CEscape(image_directory.encode(), as_utf8=True),
        image_extension=image_extension,
        class_mapping=_per_class('  target_class_mapping {{ key: "{0}" value: "{0}" }}'),
        validation="" if validation_fold is None else f"  validation_fold: {validation_fold}\n",
        width=network_size.width,
        height=network_size.height,
        auto_resize="    enable_auto_resize: true\n" if auto_resize else "",
        batch_size=batch_size,
        postprocessing=_per_class(_POSTPROCESSING),
        minimum_overlap=_per_class('  minimum_detection_ground_truth_overlap {{ key: "{0}" value: 0.5 }}'),
        evaluation_box=_per_class(_EVALUATION_BOX),
        target_classes=_per_class(_TARGET_CLASS),
        rasterizer=_per_class(_RASTERIZER),
    )


def _per_class(template: str) -> str:
    return "\n".join(template.format(name) for name in CLASSES)


_POSTPROCESSING = """\
  target_class_config {{
    key: "{0}"
    value {{
      clustering_config {{
        coverage_threshold: 0.005
        dbscan_eps: 0.15
        dbscan_min_samples: 1
        minimum_bounding_box_height: 20
      }}
    }}
  }}"""

_EVALUATION_BOX = """\
  evaluation_box_config {{
    key: "{0}"
    value {{ minimum_height: 20 maximum_height: 9999 minimum_width: 10 maximum_width: 9999 }}
  }}"""

_TARGET_CLASS = """\
  target_classes {{
    name: "{0}"
    class_weight: 1.0
    coverage_foreground_weight: 0.05
    objectives {{ name: "cov" initial_weight: 1.0 weight_target: 1.0 }}
    objectives {{ name: "bbox" initial_weight: 10.0 weight_target: 10.0 }}
  }}"""

_RASTERIZER = """\
  target_class_config {{
    key: "{0}"
    value {{ cov_center_x: 0.5 cov_center_y: 0.5 cov_radius_x: 0.4 cov_radius_y: 0.4 bbox_min_radius: 1.0 }}
  }}"""

_SPEC = Template("""\
random_seed: $seed
dataset_config {
  data_sources {
    tfrecords_path: "$tfrecords"
    image_directory_path: "$image_directory"
  }
  image_extension: "$image_extension"
$class_mapping
$validation}
augmentation_config {
  preprocessing {
    output_image_width: $width
    output_image_height: $height
    output_image_channel: 3
    min_bbox_width: 1.0
    min_bbox_height: 1.0
$auto_resize  }
  spatial_augmentation {
    hflip_probability: 0.5
    zoom_min: 1.0
    zoom_max: 1.0
    translate_max_x: 8.0
    translate_max_y: 8.0
  }
  color_augmentation {
    hue_rotation_max: 25.0
    saturation_shift_max: 0.2
    contrast_scale_max: 0.1
    contrast_center: 0.5
  }
}
postprocessing_config {
$postprocessing
}
model_config {
  arch: "resnet"
  num_layers: 18
  objective_set {
    bbox { scale: 35.0 offset: 0.5 }
    cov {}
  }
}
evaluation_config {
  validation_period_during_training: 10
  first_validation_epoch: 10
$minimum_overlap
$evaluation_box
}
cost_function_config {
$target_classes
  enable_autoweighting: true
  max_objective_weight: 0.9999
  min_objective_weight: 0.0001
}
training_config {
  batch_size_per_gpu: $batch_size
  num_epochs: 80
  learning_rate {
    soft_start_annealing_schedule {
      min_learning_rate: 5e-06
      max_learning_rate: 0.0005
      soft_start: 0.1
      annealing: 0.7
    }
  }
  regularizer { type: L1 weight: 3e-09 }
  optimizer { adam { epsilon: 1e-08 beta1: 0.9 beta2: 0.999 } }
  cost_scaling { enabled: false initial_exponent: 20.0 increment: 0.005 decrement: 1.0 }
}
bbox_rasterizer_config {
$rasterizer
  deadzone_radius: 0.67
}
""")
