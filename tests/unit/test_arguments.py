"""Arguments of the Python API: what is not what the signature says is refused in words, before any work."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import int8cal
from int8cal.demo.evaluate import DETECTOR
from int8cal.errors import UsageError
from int8cal.io import arguments
from int8cal.manifest import OWN_FIELDS

FUNCTIONS = [function for name in int8cal.__all__ if inspect.isfunction(function := getattr(int8cal, name))]
READERS = [int8cal.readers.nncf, int8cal.readers.ort, int8cal.readers.polygraphy, int8cal.readers.rebatch]
CHECKED_THEMSELVES = {"BatchesLike", "Claim", "Origin", "Plan", "Source", "TensorFile"}
"""Annotations of which the functions tell themselves what they take."""


@pytest.fixture
def plan(tiny_dataset):
    return int8cal.plan(tiny_dataset.spec, max_batches=1)


@pytest.mark.parametrize(
    "function",
    [*FUNCTIONS, *READERS, int8cal.Plan.batches, int8cal.Plan.candidates, int8cal.Spec.checked_options],
    ids=lambda one: one.__name__,
)
def test_every_argument_of_a_public_function_is_checked(function: Any) -> None:
    assert function.__wrapped__
    for name, annotation in function.__annotations__.items():
        if name != "return":
            parts = set(annotation.split(" | ")) - CHECKED_THEMSELVES
            assert parts <= arguments._KINDS.keys(), name


MODEL = str(DETECTOR)
BATCH = np.zeros((1, 3, 8, 8), np.float32)


@pytest.mark.parametrize(
    ("function", "wrong", "hint"),
    [
        ("quantize", {"precision": "FP16"}, "Give one of: fp32, fp16."),
        ("quantize", {"target": "trt"}, "Give one of: tensorrt, onnxruntime."),
        ("quantize", {"target": None}, "Give one of: tensorrt, onnxruntime."),
        ("quantize", {"layout": "NCHW"}, "Give one of: nchw, nhwc."),
        ("quantize", {"method": "kl"}, "Give one of: auto, mse, percentile, entropy, minmax."),
        ("quantize", {"exclude": "/stem/Conv"}, "Give a list of str."),
        ("quantize", {"exclude": 5}, "Give a list of str."),
        ("quantize", {"exclude": [5]}, "Give a list of str."),
        ("quantize", {"overwrite": "no"}, "Give True or False."),
        ("quantize", {"agreement": 0}, "Give True or False."),
        ("quantize", {"bias_correction": "off"}, "Give True or False."),
        ("quantize", {"percentile": "99"}, "Give a number."),
        ("quantize", {"percentile": True}, "Give a number."),
        ("quantize", {"min_agreement": "x"}, "Give a number."),
        ("quantize", {"score": 5}, "Give a function of one argument that returns a number."),
        ("quantize", {"say": "x"}, "Give a function of one argument."),
        ("quantize", {"constants": 5}, "Give a mapping of names to values."),
        ("quantize", {"trt_cache": 5}, "Give a str or a pathlib.Path."),
        ("quantize", {"progress": print}, "Give an object with the methods start(total_images), advance(images) and "),
        ("quantize_from_scales", {"exclude": "x"}, "Give a list of str."),
        ("compare", {"max_images": 0}, "Give a whole number, 1 or more."),
        ("compare", {"max_images": -1}, "Give a whole number, 1 or more."),
        ("compare", {"max_images": "2"}, "Give a whole number, 1 or more."),
        ("compare", {"reference": b"m"}, "Give a str or a pathlib.Path."),
        ("export", {"name": 5}, "Give a str."),
        ("export", {"to": "zip"}, "Give one of: npz, npy, raw, polygraphy, tensorfile."),
        ("export", {"rebatch": 0}, "Give a whole number, 1 or more."),
        ("read_spec", {"network": 5}, "Give a str."),
        ("read_spec", {"overrides": "a=b"}, "Give a list of str."),
        ("read_spec", {"strict": "no"}, "Give True or False."),
        ("verify", {"watchers": 5}, "Give a list of objects with the method add(first, batch)."),
        ("verify", {"watchers": [5]}, "Give a list of objects with the method add(first, batch)."),
        ("verify", {"workers": 0}, "Give a whole number, 1 or more."),
        ("write_report", {"pictures": -1}, "Give a whole number, 0 or more."),
        ("inspect", {"quick": "no"}, "Give True or False."),
        ("plan", {"split": 5}, "Give a str."),
        ("plan", {"recursive": "no"}, "Give True or False."),
        ("plan", {"seed": "7"}, "Give a whole number."),
        ("make", {"compression": "zip"}, "Give one of: fast, small, none."),
        ("make", {"on_bad_image": "ignore"}, "Give one of: fail, skip."),
        ("make", {"workers": 0}, "Give a whole number, 1 or more."),
        ("make", {"max_skipped": -1}, "Give a whole number, 0 or more."),
        ("make", {"engine": 5}, "Give a str."),
        ("make", {"scratch_dir": 5}, "Give a str or a pathlib.Path."),
        ("make", {"record": [1]}, "Give a mapping of names to values."),
    ],
    ids=str,
)
def test_wrong_values_are_refused_by_name(function: str, wrong: dict[str, Any], hint: str) -> None:
    needed = {"out": "out", "to": "npz", "scales": "c", "reference": "m", "other": "m"}
    called = getattr(int8cal, function)
    given = {
        name: needed.get(name, "file")
        for name, parameter in inspect.signature(called).parameters.items()
        if parameter.default is parameter.empty
    }
    with pytest.raises(UsageError) as caught:
        called(**{**given, **wrong})
    assert caught.value.message.startswith(f"{next(iter(wrong))} cannot be ")
    assert caught.value.hint.startswith(hint)


def test_arguments_by_place_are_checked_and_too_many_are_pythons_error(plan, tmp_path) -> None:
    with pytest.raises(UsageError, match="to cannot be 5"):
        int8cal.export(plan, tmp_path / "out", 5)
    with pytest.raises(TypeError, match="positional"):
        int8cal.export(plan, tmp_path / "out", "npz", "input_1")
    with pytest.raises(TypeError, match="unexpected keyword"):
        int8cal.export(plan, tmp_path / "out", "npz", nmae="input_1")


def test_claims_and_batches_of_plans_are_checked_too(plan) -> None:
    with pytest.raises(UsageError, match="any_order cannot be 'no'"):
        int8cal.Claim(plan.origin, any_order="no")
    with pytest.raises(UsageError, match="workers cannot be 'all'"):
        plan.batches(workers="all")
    with pytest.raises(UsageError, match="limit cannot be '3'"):
        plan.candidates("3")
    with pytest.raises(UsageError, match="chosen cannot be 'x'"):
        plan.origin.checked_options("x")
    with pytest.raises(UsageError, match=r"name cannot be array\(\[\[0., 0.\],  "):
        int8cal.readers.ort(plan, np.zeros((2, 2)))
    with pytest.raises(UsageError, match="name cannot be None"):
        int8cal.readers.ort(plan, None)


def test_numbers_of_numpy_are_numbers(tiny_dataset) -> None:
    plan = int8cal.plan(tiny_dataset.spec, max_batches=np.int64(1), seed=np.uint32(7))
    assert json.dumps(plan.to_json())


def test_no_images_are_not_the_images_of_the_evaluation(tmp_path) -> None:
    with pytest.raises(UsageError, match="batches cannot be of the type NoneType"):
        int8cal.quantize(MODEL, None, tmp_path / "out")


def test_a_score_is_for_a_search(tmp_path) -> None:
    with pytest.raises(UsageError, match="score judges the models of a search") as caught:
        int8cal.quantize(MODEL, [BATCH], tmp_path / "out", score=lambda model: 1.0)
    assert "min_agreement" in caught.value.hint


def test_a_scratch_folder_is_a_path_and_lies_in_a_folder_that_is_there(plan, tmp_path) -> None:
    scratch = tmp_path / "scratch"
    int8cal.make(plan, tmp_path / "a.tensor", scratch_dir=scratch)
    typo = tmp_path / "scrach" / "folder"
    with pytest.raises(UsageError, match="scratch_dir would lie in a folder that is not there") as caught:
        int8cal.make(plan, tmp_path / "b.tensor", scratch_dir=typo)
    assert caught.value.where == str(typo)
    assert not typo.parent.exists()
    assert not (tmp_path / "b.tensor").exists()


def test_data_root_is_a_path(tiny_dataset) -> None:
    plans = [int8cal.plan(tiny_dataset.spec, data_root=root) for root in ("/", Path("/"))]
    assert plans[0].sha256 == plans[1].sha256


@pytest.mark.parametrize("value", [datetime.now(UTC), {1, 2}, MappingProxyType({})], ids=["date", "set", "mapping"])
def test_what_cannot_be_recorded_is_refused_before_the_work(plan, tmp_path, monkeypatch, value) -> None:
    monkeypatch.setattr("int8cal.engine.native.NativeEngine.make", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(UsageError, match="record cannot be written as JSON"):
        int8cal.make(plan, tmp_path / "c.tensor", record={"when": value})
    assert list(tmp_path.iterdir()) == []


def test_a_mapping_is_recorded(plan, tmp_path) -> None:
    manifest = int8cal.make(plan, tmp_path / "c.tensor", record=MappingProxyType({"by": "hand"}))
    assert manifest.to_json()["by"] == "hand"
    assert manifest.to_json().keys() - {"by"} == OWN_FIELDS


def test_plans_batches_and_specs_say_that_they_cannot_be_pickled(plan) -> None:
    for subject in (plan, plan.batches(), plan.origin):
        with pytest.raises(UsageError, match="cannot be pickled") as caught:
            pickle.dumps(subject)
        assert "path" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be pickled"):
        copy.copy(plan)


@pytest.mark.parametrize(("record", "words"), [
    ({"manifest": 2, "by": "hand"}, "record cannot hold manifest"),
    ({"share": float("nan")}, "cannot be written as JSON"),
])  # fmt: skip
def test_a_record_says_nothing_that_it_says_itself(tiny_dataset, tmp_path, record, words):
    with pytest.raises(UsageError, match=words):
        int8cal.make(int8cal.plan(tiny_dataset.spec), tmp_path / "c.tensor", record=record)
    assert not (tmp_path / "c.tensor").exists()
