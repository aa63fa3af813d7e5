"""A component's YAML through azure-ai-ml's own loader, as far as that goes without an account or the network."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoadedComponent:
    """What the service would get.

    Attributes:
        rest: the component as it would be sent: ``inputs``, ``outputs``, ``command`` and so on; all values are texts.
        entity: azure-ai-ml's object.
    """

    rest: dict[str, Any]
    entity: Any

    @property
    def command(self) -> str:
        """The command with its references."""
        return str(self.rest["command"])

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Input name → type, default, optional, min, max, enum, mode."""
        return dict(self.rest.get("inputs", {}))

    @property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Output name → type, mode."""
        return dict(self.rest.get("outputs", {}))

    def value(self, name: str, text: str) -> str:
        """The text that the service would put in for an input.

        Raises:
            ValueError: the input is unknown, or the text is not of its type, range or choices.
        """
        if name not in self.inputs:
            raise ValueError(f"the component has no input {name!r}; it has {', '.join(self.inputs)}")
        facts = self.inputs[name]
        if facts["type"] in ("integer", "number", "boolean"):
            try:
                self.entity.inputs[name]._parse_and_validate(text)
            except Exception as error:  # the SDK raises whatever its parsers raise
                raise ValueError(f"input {name}: {text!r} is refused: {error}") from error
        if facts.get("enum") and text not in facts["enum"]:
            raise ValueError(f"input {name}: {text!r} is none of {', '.join(facts['enum'])}")
        return text

    def copy_uploaded_files(self, folder: Path) -> None:
        """Copy exactly what would be uploaded with the component."""
        from azure.ai.ml._utils._asset_utils import get_ignore_file, get_upload_files_from_folder

        with self.entity._build_code() as code:
            if code is None:
                return
            source = str(code.path)
            for path, name in get_upload_files_from_folder(source, ignore_file=get_ignore_file(source)):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def load(path: Path) -> LoadedComponent:
    """Load and validate a component.

    Raises:
        ValueError: azure-ai-ml refuses it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own, about its own dependencies
        from azure.ai.ml import load_component
        from azure.ai.ml.exceptions import ValidationException

        try:
            entity = load_component(str(path))
        except ValidationException as error:
            raise ValueError(f"{path}: {error}") from error
        found = entity._validate()
        if not found.passed:
            raise ValueError(f"{path}: {found.error_messages}")
        properties = entity._to_rest_object().properties
    spec = properties["componentSpec"] if hasattr(properties, "keys") else properties.component_spec
    return LoadedComponent(spec, entity)
