"""Words for tables of path roles: which path field of a spec plays which role, what path substitution goes by.

Keys are field patterns (``[]`` for each element of a repeated field, ``{}`` for each value of a map). A value is a
role, or ``none: `` and the reason why no run-time path ever belongs there. Label folders have the role of their images,
since they lie under the same data folder; every kind of model that training starts from is ``base_model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WRITTEN = "none: written by the job, not read"
RELATIVE = "none: relative to root_directory_path"
RESULT = "none: a trained model, which calibration data do not need"
ENGINE = "none: a TensorRT engine belongs to the machine that built it"
TRAINING = "training_data"
TRAINING_RECORDS = "training_tfrecords"
VALIDATION = "validation_data"
VALIDATION_RECORDS = "validation_tfrecords"
BASE_MODEL = "base_model"

TFRECORD_SOURCES: Final[Mapping[str, str]] = {
    "dataset_config.data_sources[].tfrecords_path": TRAINING_RECORDS,
    "dataset_config.data_sources[].image_directory_path": TRAINING,
    "dataset_config.validation_data_source.tfrecords_path": VALIDATION_RECORDS,
    "dataset_config.validation_data_source.image_directory_path": VALIDATION,
}
"""The path fields of the ``dataset_config`` that DetectNet_v2 and FasterRCNN share."""
