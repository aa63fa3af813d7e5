"""The component's inputs and outputs as data.

The Azure ML YAML, the Kubeflow component, the tables of the READMEs and the command line are all made from the tables
of this file, or checked against them.

The first 22 names, their order and their meaning are those of ``tao_detectnet_v2_calibration_tensorfile``, which this
component replaces; the others are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from int8cal.engine import ENGINE_HELP, ENGINES
from int8cal.types import ON_BAD_IMAGE

InputType: TypeAlias = Literal["string", "uri_folder", "integer", "boolean"]

NOT_DEFINED: Final = "ND"
"""What existing pipelines pass for a value that is not given."""

OUTPUT_DIR: Final = "output_dir"
OUTPUT_DESCRIPTION: Final = (
    "Receives <model_app_name>/<output_subfolder>/<output_filename> (the tensorfile), the record of the run beside it "
    "(<output_filename>.json and, to look at, .html), and <model_app_name>/specs/<specs_file> (the updated spec)."
)


@dataclass(frozen=True)
class ComponentInput:
    """One named input.

    Attributes:
        name: as Azure ML, Kubeflow and the command line spell it.
        type: Azure ML's word for its type.
        description: one or two sentences, for the YAML and the READMEs.
        required: the run cannot do without it. Neither required nor with a default: optional.
        default: used when it is absent, empty or ``ND``.
        minimum, maximum: limits of an integer.
        choices: the only texts allowed, if not empty.
        says_yes_or_no: a text, as the replaced component declares it, that is read as a boolean; ``ND`` is no.
        original: one of the 22 of the component that this one replaces.
    """

    name: str
    type: InputType
    description: str
    required: bool = False
    default: str | int | bool | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    says_yes_or_no: bool = False
    original: bool = True

    @property
    def optional(self) -> bool:
        """May be left out, and nothing takes its place."""
        return not self.required and self.default is None


@dataclass(frozen=True)
class FolderMapping:
    """A reference in the spec, and the inputs that say where its data lie in this run.

    Attributes:
        role: what the spec's fields mean (see `int8cal.spec.document`).
        title: the role in words.
        folder: input with the folder of the run.
        subfolder: input with the path below it.
        reference: input with the path that stands in the spec.
        under_app: the data lie in ``<folder>/<model_app_name>/<subfolder>``, not ``<folder>/<subfolder>``.
        needed: False when the tensorfile can be made without the data.
    """

    role: str
    title: str
    folder: str
    subfolder: str
    reference: str
    under_app: bool = False
    needed: bool = True


MAPPINGS: Final = (
    FolderMapping(
        "base_model",
        "base model",
        "base_model_dir",
        "base_model_subdir",
        "specfile_reference_model_dir",
        under_app=True,
        needed=False,
    ),
    FolderMapping(
        "training_data",
        "training data",
        "training_data_dir",
        "training_data_subdir",
        "specfile_reference_training_data_dir",
    ),
    FolderMapping(
        "training_tfrecords",
        "training TFRecords",
        "training_tf_records_dir",
        "training_tf_records_subdir",
        "specfile_reference_training_tf_records_dir",
    ),
    FolderMapping(
        "validation_data",
        "validation data",
        "validation_data_dir",
        "validation_data_subdir",
        "specfile_reference_validation_data_dir",
    ),
    FolderMapping(
        "validation_tfrecords",
        "validation TFRecords",
        "validation_tf_records_dir",
        "validation_tf_records_subdir",
        "specfile_reference_validation_tf_records_dir",
    ),
)
"""In the order in which the original's page lists them."""

_SUBFOLDER = "Path below {}. Left out: the folder itself."
_REFERENCE = "Path that stands in the spec where {} lie; replaced by {}."


def _folder(name: str, what: str, *, required: bool = False) -> ComponentInput:
    return ComponentInput(name, "uri_folder", what, required=required)


def _text(name: str, what: str, *, required: bool = False, default: str | None = None) -> ComponentInput:
    return ComponentInput(name, "string", what, required=required, default=default)


INPUTS: Final = (
    _text(
        "model_app_name", "Name of the application; the folder below output_dir that the results go to.", required=True
    ),
    _folder("training_data_dir", "Folder with the training images.", required=True),
    _text("training_data_subdir", _SUBFOLDER.format("training_data_dir")),
    _text(
        "specfile_reference_training_data_dir",
        _REFERENCE.format("the training images", "training_data_dir/training_data_subdir"),
        required=True,
    ),
    _folder("validation_data_dir", "Folder with the validation images."),
    _text("validation_data_subdir", _SUBFOLDER.format("validation_data_dir")),
    _text(
        "specfile_reference_validation_data_dir",
        _REFERENCE.format("the validation images", "validation_data_dir/validation_data_subdir"),
    ),
    _folder("training_tf_records_dir", "Folder with the TFRecords of the training images."),
    _text("training_tf_records_subdir", _SUBFOLDER.format("training_tf_records_dir")),
    _text(
        "specfile_reference_training_tf_records_dir",
        _REFERENCE.format("the training TFRecords", "training_tf_records_dir/training_tf_records_subdir"),
    ),
    _folder("validation_tf_records_dir", "Folder with the TFRecords of the validation images."),
    _text("validation_tf_records_subdir", _SUBFOLDER.format("validation_tf_records_dir")),
    _text(
        "specfile_reference_validation_tf_records_dir",
        _REFERENCE.format("the validation TFRecords", "validation_tf_records_dir/validation_tf_records_subdir"),
    ),
    _folder("base_model_dir", "Folder with the base model. Not needed to make the tensorfile."),
    _text("base_model_subdir", _SUBFOLDER.format("base_model_dir/model_app_name")),
    _text(
        "specfile_reference_model_dir",
        _REFERENCE.format("the base model's files", "base_model_dir/model_app_name/base_model_subdir"),
    ),
    _folder("original_specs", "Folder with the training experiment spec.", required=True),
    _text(
        "specs_file",
        "The training experiment spec: its path below original_specs.",
        default="detectnet_v2_retrain_resnet18_kitti.txt",
    ),
    ComponentInput(
        "max_batches",
        "integer",
        "Number of batches to make; -1: all full ones. 0 is refused.",
        default=10,
        minimum=-1,
    ),
    ComponentInput(
        "use_validation_set",
        "string",
        "true, 1 or yes: take the samples from the validation set. false, 0, no or ND: from the training set.",
        default=NOT_DEFINED,
        says_yes_or_no=True,
    ),
    _text(
        "output_subfolder", "Folder of the tensorfile below output_dir/model_app_name.", default="experiment_dir_final"
    ),
    _text("output_filename", "Name of the tensorfile.", default="calibration.tensor"),
    ComponentInput(
        "network",
        "string",
        "Network that the spec must be of, such as detectnet_v2. Left out: found from the spec.",
        original=False,
    ),
    ComponentInput(
        "num_epochs",
        "integer",
        "Number of training epochs to write into the updated spec. Left out: the spec's own stays.",
        minimum=1,
        maximum=(1 << 31) - 1,
        original=False,
    ),
    ComponentInput(
        "engine",
        "string",
        ENGINE_HELP,
        default="native",
        choices=tuple(ENGINES),
        original=False,
    ),
    ComponentInput(
        "seed",
        "integer",
        "Seed of the sample order. Left out: the spec's own.",
        minimum=0,
        maximum=(1 << 32) - 1,
        original=False,
    ),
    ComponentInput(
        "on_bad_image",
        "string",
        "What to do about an image that cannot be used: fail, or skip up to max_skipped of them.",
        default="fail",
        choices=ON_BAD_IMAGE,
        original=False,
    ),
    ComponentInput(
        "max_skipped",
        "integer",
        "How many images may be left out with on_bad_image skip.",
        default=0,
        minimum=0,
        original=False,
    ),
    ComponentInput(
        "overwrite",
        "boolean",
        "Replace what another request left in the output: a tensorfile, its record and page, and the updated spec.",
        default=False,
        original=False,
    ),
    ComponentInput(
        "allow_unknown_fields",
        "boolean",
        "Take a spec with unknown fields, and warn of them. Off: they are an error.",
        default=False,
        original=False,
    ),
    ComponentInput(
        "log_report",
        "boolean",
        "Log the HTML report, with pictures of the samples, to MLflow. Off: no picture leaves the output folder.",
        default=False,
        original=False,
    ),
)

BY_NAME: Final = {item.name: item for item in INPUTS}
