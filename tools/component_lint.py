"""Faults of a command component's YAML that neither azure-ai-ml nor, before the job runs, the service reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from component_command import here_documents, optional_blocks, outside_optional_blocks, references

_TOP = frozenset(
    [
        *("$schema", "type", "name", "version", "display_name", "description", "tags", "is_deterministic"),
        *("inputs", "outputs", "code", "environment", "command", "resources", "distribution"),
    ]
)
_INPUT = frozenset(["type", "mode", "optional", "default", "min", "max", "enum", "description"])
_OUTPUT = frozenset(["type", "mode", "description"])
_INPUT_MODES = frozenset({"ro_mount", "download", "direct"})
_OUTPUT_MODES = frozenset({"rw_mount", "upload", "direct"})
_NUMBERS = frozenset({"integer", "number"})
_SEMANTIC_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
_PINNED_ENVIRONMENT = re.compile(r"azureml:(//registries/[\w-]+/environments/)?[\w.-]+(:|/versions/)[\w.-]+")


def lint(component: Mapping[str, Any]) -> list[str]:
    """Every fault of a component, as one sentence with the name of the input or field; empty when there is none."""
    return [
        *_top_level(component),
        *_inputs(component.get("inputs", {})),
        *_outputs(component.get("outputs", {})),
        *_command(component),
    ]


def _top_level(component: Mapping[str, Any]) -> Iterator[str]:
    for field in component.keys() - _TOP:
        yield f"field {field}: unknown in a command component"
    if not component.get("description"):
        yield "the component has no description"
    if not _SEMANTIC_VERSION.fullmatch(str(component.get("version"))):
        yield f"version {component.get('version')}: not MAJOR.MINOR.PATCH"
    if not _PINNED_ENVIRONMENT.fullmatch(str(component.get("environment"))):
        yield f"environment {component.get('environment')}: not pinned to a version"


def _inputs(inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, facts in inputs.items():
        for field in facts.keys() - _INPUT:
            yield f"input {name}: unknown field {field}"
        if not facts.get("description"):
            yield f"input {name}: no description"
        if facts.get("mode", "ro_mount") not in _INPUT_MODES:
            yield f"input {name}: mode {facts['mode']} is not for inputs"
        if facts.get("default") == "":
            yield f"input {name}: an empty default; the service refuses empty values"
        if facts.get("optional") and "default" in facts:
            yield f"input {name}: optional with a default; the service then wants a value"
        yield from (f"input {name}: {fault}" for fault in _limits(facts))


def _limits(facts: Mapping[str, Any]) -> Iterator[str]:
    low, high, default = facts.get("min"), facts.get("max"), facts.get("default")
    if facts.get("type") not in _NUMBERS:
        if low is not None or high is not None:
            yield "min and max are for numbers"
        if facts.get("enum") and default is not None and default not in facts["enum"]:
            yield f"default {default} is not in enum"
        return
    if low is not None and high is not None and low > high:
        yield f"min {low} is above max {high}"
    if default is None:
        return
    if facts["type"] == "integer" and not isinstance(default, int):
        yield f"default {default} is not an integer"
    if (low is not None and default < low) or (high is not None and default > high):
        yield f"default {default} is out of range"


def _outputs(outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, facts in outputs.items():
        for field in facts.keys() - _OUTPUT:
            yield f"output {name}: unknown field {field}"
        if not facts.get("description"):
            yield f"output {name}: no description"
        if facts.get("mode", "rw_mount") not in _OUTPUT_MODES:
            yield f"output {name}: mode {facts['mode']} is not for outputs"


def _command(component: Mapping[str, Any]) -> Iterator[str]:
    command = str(component.get("command", ""))
    inputs, outputs = component.get("inputs", {}), component.get("outputs", {})
    used = references(command)
    for kind, name in used:
        if name not in (inputs if kind == "inputs" else outputs):
            yield f"command: {kind}.{name} does not exist"
    for name in inputs:
        if ("inputs", name) not in used:
            yield f"input {name}: never used"
    for name in outputs:
        if ("outputs", name) not in used:
            yield f"output {name}: never used"
    yield from _optional_blocks(command, inputs)
    yield from _protection(command)


def _optional_blocks(command: str, inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for block in optional_blocks(command):
        if "$[[" in block:
            yield f"command: $[[ ]] inside $[[ ]]: {block}"
        names = [name for kind, name in references(block) if kind == "inputs"]
        if not names:
            yield f"command: $[[ ]] without an input: {block}"
        for name in names:
            if not inputs.get(name, {}).get("optional"):
                yield f"input {name}: inside $[[ ]], but not optional"
    for kind, name in references(outside_optional_blocks(command)):
        if kind == "inputs" and inputs.get(name, {}).get("optional"):
            yield f"input {name}: optional, but outside $[[ ]]"


def _protection(command: str) -> Iterator[str]:
    """Values are put into the text of the command: only a quoted here-document takes all of them literally."""
    protected = [place for body in here_documents(command) for place in references(body)]
    for kind, name in references(command):
        if (kind, name) in protected:
            protected.remove((kind, name))
        else:
            yield f"command: {kind}.{name} is not inside a quoted here-document"
    if not command.startswith("exec "):
        yield "command: does not begin with exec, so signals end the shell and not the program"
