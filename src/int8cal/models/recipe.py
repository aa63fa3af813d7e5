"""How an INT8 model was made: recorded in its metadata, and done again to see whether the same comes out."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np

import int8cal
from int8cal.errors import UseError
from int8cal.guard.json_text import parsed_json
from int8cal.io.safe_text import short_repr
from int8cal.models import extras
from int8cal.models.onnx_file import load_model
from int8cal.models.overlap import Digested
from int8cal.models.ranges import LEAST_PERCENTILE
from int8cal.tensorfile.batches import BatchesLike, opened
from int8cal.types import METHODS, Layout, Precision, Progress, Target

KEY = "int8cal"
_FLOAT_MODEL = "float_model_sha256"
_PACKAGES = ("numpy", "onnx", "onnxruntime")
_MOST_NAMED = 5


def _is_number(value: object) -> bool:
    """Is that a number which float64 holds?"""
    most = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _is_list(value: object, is_right: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and all(map(is_right, value))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


_CHOICES: Mapping[str, Callable[[Any], bool]] = {
    "method": lambda value: value in METHODS,
    "percentile": lambda value: _is_number(value) and LEAST_PERCENTILE <= value <= 100,
    "exclude": lambda value: _is_list(value, lambda name: isinstance(name, str)),
    "target": lambda value: value in get_args(Target),
    "precision": lambda value: value in get_args(Precision),
    "fold_weights": _is_bool,
    "full_range_weights": _is_bool,
    "equalize": _is_bool,
    "bias_correction": _is_bool,
    "layout": lambda value: value in get_args(Layout),
    "constants": lambda value: isinstance(value, dict) and all(_is_list(one, _is_number) for one in value.values()),
}
"""Arguments of `int8cal.quantize` that a model records → whether a value can be one."""


def recipe(model: Any, images: Digested, choices: Mapping[str, Any], manifest: Mapping[str, Any] | None) -> str:
    """What decided a result, as JSON: hashes of model and images, all choices, versions of packages.

    Args:
        model: the float model.
        images: have been gone through.
        choices: of the caller.
        manifest: of the tensorfile, which names its plan.
    """
    facts = {
        _FLOAT_MODEL: _digest(model),
        "images_sha256": hashlib.sha256(b"".join(images.digests)).hexdigest(),
        "images": len(images.digests),
        "plan_sha256": (manifest or {}).get("plan_sha256"),
        **choices,
        "versions": {"int8cal": int8cal.__version__, **{name: version(name) for name in _PACKAGES}},
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=True)


def _digest(model: Any) -> str:
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def write_recipe(model: Any, text: str) -> None:
    """Put a recipe into a model's metadata."""
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, text


def read_recipe(model: Any, where: str) -> dict[str, Any]:
    """The recipe in a model's metadata.

    Raises:
        UseError: there is none.
    """
    hint = "Only INT8 models that this version of int8cal quantize wrote from images can be made again."
    for entry in model.metadata_props:
        if entry.key == KEY:
            found = parsed_json(
                entry.value, UseError, "the model's record of how it was made is damaged", where=where, hint=hint
            )
            if not isinstance(found, dict) or not found.keys() >= _CHOICES.keys():
                break
            for name, is_right in _CHOICES.items():
                if not is_right(found[name]):
                    value = short_repr(found[name])
                    raise UseError(
                        f"the model's record of how it was made is damaged: {name} is {value}", where=where, hint=hint
                    )
            return found
    raise UseError("the model does not say how it was made", where=where, hint=hint)


@dataclass(frozen=True)
class Reproduction:
    """Whether an INT8 model came out again.

    Attributes:
        is_same: in every bit, but for the versions recorded.
        differences: what differs, in words; what led to it first.
    """

    is_same: bool
    differences: tuple[str, ...]


def reproduce(
    model: str | os.PathLike[str],
    batches: BatchesLike,
    made: str | os.PathLike[str],
    *,
    input_name: str | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Make an INT8 model again from what its metadata say, and compare.

    Args:
        model: the float model.
        batches: the images.
        made: the INT8 model that `int8cal.quantize` wrote.
        input_name: the model's input, to be sure of it.
        progress: told about each image.

    Raises:
        UseError: ``made`` does not say how it was made, or was made of another model; what `int8cal.quantize` raises.
    """
    from int8cal.models.quantize import quantize

    first = load_model(made)
    before = read_recipe(first, os.fspath(made))
    if before.get(_FLOAT_MODEL) not in (None, _digest(load_model(model))):
        raise UseError(
            f"is not the float model that {os.fspath(made)} was made of: the SHA-256 in its record is another",
            where=os.fspath(model),
            hint="Give that model, as it was then: a new export is another file, be the weights the same.",
        )
    options = {name: before[name] for name in _CHOICES}
    with TemporaryDirectory(prefix="int8cal-") as folder, opened(batches) as images:
        out = Path(folder, "again.onnx")
        quantize(model, images, out, **options, agreement=False, force=True, input_name=input_name, progress=progress)
        second = load_model(out)
    after = read_recipe(second, "the model that was made again")
    causes = [
        f"{name}: {_short(before.get(name))} then, {_short(after.get(name))} now"
        for name in sorted(before.keys() | after.keys())
        if name != "chosen_by" and before.get(name) != after.get(name)
    ]
    differences = _differences(first, second)
    return Reproduction(not differences, (*causes, *differences))


def _short(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _differences(first: Any, second: Any) -> list[str]:
    for model in (first, second):
        del model.metadata_props[:]
    if first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True):
        return []
    to_array = extras.onnx().numpy_helper.to_array
    values = [{item.name: to_array(item) for item in model.graph.initializer} for model in (first, second)]
    lines = []
    for name in values[0]:
        other = values[1].get(name)
        if other is not None and values[0][name].shape != other.shape:
            lines.append(f"{name}: shape {list(values[0][name].shape)} then, {list(other.shape)} now")
        elif other is not None and not np.array_equal(values[0][name], other):
            largest = float(np.abs(values[0][name].astype(np.float64) - other).max()) if other.size else 0.0
            lines.append(f"{name}: differs by {largest:.3g} at most")
    nodes = [[node.SerializeToString(deterministic=True) for node in model.graph.node] for model in (first, second)]
    if nodes[0] != nodes[1]:
        lines.append(f"nodes: {len(nodes[0])} then, {len(nodes[1])} now, not all of them the same")
    more = len(lines) - _MOST_NAMED
    return [*lines[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])] or ["other parts of the file differ"]
