"""Texts made from the component's table of inputs (`int8cal.component.inputs`): YAML, README tables, Kubeflow."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from int8cal import __version__
from int8cal.component.inputs import (
    INPUTS,
    MAPPINGS,
    OUTPUT_DESCRIPTION,
    OUTPUT_DIR,
    ComponentInput,
    FolderMapping,
)

DELIMITER = "INT8CAL_INPUTS_END"
"""Ends the here-document of the command line; quoted there, so that the shell leaves the values alone."""

EXAMPLE_IMAGE = f"registry.example.com/int8cal:{__version__}"
"""In the Kubeflow component of the tree; ``tools/component_kubeflow.py`` puts the real name in its place."""


@dataclass(frozen=True)
class AzureComponent:
    """What differs between the two Azure ML components.

    Attributes:
        name: registered name, and its folder.
        version: registered version.
        display_name, description: for the studio.
        original_only: only the 22 inputs of the original, with its types.
    """

    name: str
    version: str
    display_name: str
    description: str
    original_only: bool

    @property
    def inputs(self) -> tuple[ComponentInput, ...]:
        """Its inputs, in order."""
        return tuple(item for item in INPUTS if item.original or not self.original_only)


COMPONENTS = (
    AzureComponent(
        "int8cal_calibration_tensorfile",
        __version__,
        "INT8 calibration tensorfile (int8cal)",
        "Makes the INT8 calibration tensorfile of an NVIDIA TAO model from its training experiment spec and data: puts "
        "the run's paths into the spec, then decodes and preprocesses the samples exactly as in training. "
        "No GPU, no TensorFlow.",
        original_only=False,
    ),
    AzureComponent(
        "tao_detectnet_v2_calibration_tensorfile",
        "5.0.0",
        "TAO calibration tensorfile (int8cal in place of version 4)",
        "Takes the place of version 4 of this component in existing pipelines: the same inputs and output paths, made "
        "by int8cal.",
        original_only=True,
    ),
)


def spec_yaml(component: AzureComponent) -> str:
    """``spec.yaml`` of an Azure ML component."""
    only = " --original_inputs" if component.original_only else ""
    lines = [
        "# Made by tools/generate_component_docs.py from src/int8cal/component/inputs.py: change that, not this.",
        "$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json",
        "type: command",
        "",
        f"name: {component.name}",
        f"version: {component.version}",
        f"display_name: {component.display_name}",
        "description: >-",
        *textwrap.wrap(component.description, 110, initial_indent="  ", subsequent_indent="  "),
        "is_deterministic: true",
        "tags:",
        f'  int8cal: "{__version__}"',
        "",
        "inputs:",
        *(line for item in component.inputs for line in _yaml_input(item, original=component.original_only)),
        "",
        "outputs:",
        f"  {OUTPUT_DIR}:",
        "    type: uri_folder",
        f"    description: {json.dumps(OUTPUT_DESCRIPTION)}",
        "",
        f"environment: azureml:int8cal:{__version__}",
        "",
        "# Values are replaced in the text of the command. Inside the quoted here-document the shell takes all of them",
        "# literally, whatever they hold; and since exec ends the shell (or exit does, where bash cannot make the",
        "# here-document), nothing after it is ever run.",
        "command: |-",
        f"  exec int8cal component{only} --inputs_from - <<'{DELIMITER}' || exit 5",
        *(f"  {_command_line(item)}" for item in component.inputs),
        f"  {OUTPUT_DIR}=${{{{outputs.{OUTPUT_DIR}}}}}",
        f"  {DELIMITER}",
    ]
    return "\n".join(lines) + "\n"


def _yaml_input(item: ComponentInput, *, original: bool) -> list[str]:
    number = original and item.name == "max_batches"  # the type that the original registered
    facts: dict[str, object] = {"type": "number" if number else item.type}
    if item.type == "uri_folder":
        facts["mode"] = "ro_mount"
    if item.optional:
        facts["optional"] = True
    if item.default is not None:
        facts["default"] = item.default
    if item.minimum is not None:
        facts["min"] = item.minimum
    if item.maximum is not None:
        facts["max"] = item.maximum
    if item.choices:
        facts["enum"] = list(item.choices)
    plain = {"type", "mode"}
    return [
        f"  {item.name}:",
        *(f"    {key}: {value if key in plain else json.dumps(value)}" for key, value in facts.items()),
        f"    description: {json.dumps(item.description)}",
    ]


def _command_line(item: ComponentInput) -> str:
    line = f"{item.name}=${{{{inputs.{item.name}}}}}"
    return f"$[[{line}]]" if item.optional else line


def table(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *body])


def inputs_table(component: AzureComponent) -> str:
    """Every input with type, default and meaning."""
    rows: list[tuple[str, ...]] = [("input", "type", "default", "meaning")]
    for item in component.inputs:
        kind = "number" if component.original_only and item.name == "max_batches" else item.type
        rows.append((f"`{item.name}`", kind, _default(item), item.description))
    return table(rows)


def _default(item: ComponentInput) -> str:
    if item.required:
        return "**required**"
    return "optional" if item.default is None else f"`{item.default}`"


def command_table() -> str:
    """The arguments of the command and the inputs that make them."""
    return table(
        [
            ("argument", "", "is made of"),
            ("`-e`", "required", "`${original_specs}/${specs_file}`, updated"),
            ("`-o`", "required", "`${output_dir}/${model_app_name}/${output_subfolder}/${output_filename}`"),
            ("`-m`", "", "`${max_batches}`"),
            ("`--use_validation_set`", "optional", "`${use_validation_set}`"),
        ]
    )


def substitution_table(component: AzureComponent) -> str:
    """The arguments of the spec substitution and the inputs that make them."""
    rows: list[tuple[str, ...]] = [("what", "", "full path in the run", "reference in the spec")]
    for mapping in MAPPINGS:
        needed = "required" if _input(mapping.reference).required else "optional"
        rows.append((mapping.title, needed, f"`{_full_path(mapping)}`", f"`${{{mapping.reference}}}`"))
    if _input("num_epochs") in component.inputs:
        rows.append(("number of epochs", "optional", "`${num_epochs}`", "`num_epochs` or `n_epochs` of the training"))
    return table(rows)


def _input(name: str) -> ComponentInput:
    return next(item for item in INPUTS if item.name == name)


def _full_path(mapping: FolderMapping) -> str:
    parts = [mapping.folder, *(["model_app_name"] if mapping.under_app else []), mapping.subfolder]
    return "/".join(f"${{{part}}}" for part in parts)


def outputs_table() -> str:
    """What lies in the output folder."""
    return table(
        [
            ("file in `output_dir`", "what"),
            ("`<model_app_name>/<output_subfolder>/<output_filename>`", "the tensorfile"),
            ("`<model_app_name>/<output_subfolder>/<output_filename>.json`", "the record of the run"),
            ("`<model_app_name>/<output_subfolder>/<output_filename>.html`", "a page to look at"),
            ("`<model_app_name>/specs/<specs_file>`", "the updated spec"),
        ]
    )


_KFP_TYPES = {"string": "str", "integer": "int", "boolean": "bool", "uri_folder": "dsl.Input[dsl.Artifact]"}


OPTIONAL_FOLDERS = tuple(item.name for item in INPUTS if item.type == "uri_folder" and item.optional)


def kubeflow_component(
    image: str = EXAMPLE_IMAGE,
    folders: Sequence[str] | None = None,
    made_by: str = "tools/generate_component_docs.py from src/int8cal/component/inputs.py: change that, not this",
) -> str:
    """Python source of the Kubeflow Pipelines component.

    Parameters are always passed, for many back ends do not resolve ``IfPresent``: an empty text means "not given".

    Args:
        image: name of the container image, with its registry.
        folders: those of `OPTIONAL_FOLDERS` that it has, and then needs; None: it has all, and needs none.
        made_by: what the file says of itself.
    """
    inputs = [item for item in INPUTS if folders is None or item.name not in OPTIONAL_FOLDERS or item.name in folders]
    inputs = [replace(item, required=item.required or item.name in (folders or ())) for item in inputs]
    needed = [item for item in inputs if item.required]
    others = [item for item in inputs if not item.required]
    chosen = f"Of the optional folders it has {', '.join(folders) or 'none'}." if folders is not None else ""
    limit = [chosen or "It needs a back end of Kubeflow Pipelines 2.17.1 or later."]
    lines = [
        '"""int8cal as a component of Kubeflow Pipelines v2.',
        "",
        f"Made by {made_by}.",
        "For an image of yours: python tools/component_kubeflow.py IMAGE --output FILE",
        *limit,
        '"""',
        "",
        "# ruff: noqa: UP045  # kfp reads typing.Optional, and not the newer spelling",
        "from typing import Optional",
        "",
        "from kfp import dsl",
        "",
        "",
        "@dsl.container_component",
        "def int8cal_calibration_tensorfile(",
        f"    {OUTPUT_DIR}: dsl.Output[dsl.Artifact],",
        *(f"    {item.name}: {_KFP_TYPES[item.type]}," for item in needed),
        *(f"    {item.name}: {_kfp_parameter(item)}," for item in others),
        ") -> dsl.ContainerSpec:",
        '    """Put the run\'s paths into a TAO training spec and make its INT8 calibration tensorfile.',
        "",
        "    Args:",
        *_kfp_description(OUTPUT_DIR, OUTPUT_DESCRIPTION),
        *(line for item in inputs for line in _kfp_description(item.name, item.description)),
        '    """',
        "    return dsl.ContainerSpec(",
        f"        image={json.dumps(image)},",
        '        command=["int8cal", "component"],',
        "        args=[",
        *(f"            {line}" for item in inputs for line in _kfp_argument(item)),
        f'            "--{OUTPUT_DIR}",',
        f"            {OUTPUT_DIR}.path,",
        "        ],",
        "    )",
    ]
    return "\n".join(lines) + "\n"


def _kfp_parameter(item: ComponentInput) -> str:
    if item.type == "uri_folder":
        return f"Optional[{_KFP_TYPES[item.type]}] = None"
    if item.optional:  # a number, too: only a text can be empty
        return 'str = ""'
    return f"{_KFP_TYPES[item.type]} = {item.default!r}".replace("'", '"')


def _kfp_description(name: str, text: str) -> list[str]:
    return textwrap.wrap(f"{name}: {text}", 112, initial_indent=" " * 8, subsequent_indent=" " * 12)


def _kfp_argument(item: ComponentInput) -> list[str]:
    if item.type != "uri_folder":
        return [f'"--{item.name}",', f"{item.name},"]
    if item.required:
        return [f'"--{item.name}",', f"{item.name}.path,"]
    return [
        "dsl.IfPresentPlaceholder(",
        f'    input_name="{item.name}",',
        f'    then=["--{item.name}", {item.name}.path],',
        "),",
    ]
