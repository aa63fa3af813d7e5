"""The fewest layers in float: near the exhaustive answer, with true measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.unit.models.conftest import Images

from int8cal.errors import UsageError, UseError
from int8cal.models.quantize import quantize
from int8cal.models.search import Search, fewest_in_float

LAYERS = [f"layer{number}" for number in range(10)]


def additive(noise: Any, pairs: Any = ()) -> Callable[[Sequence[str]], float]:
    """A model whose layers add noise to its output; some pairs of layers make it worse together, or cancel out."""

    def score(in_float: Sequence[str]) -> float:
        int8 = [number for number, name in enumerate(LAYERS) if name not in in_float]
        total = sum(noise[number] for number in int8)
        total += sum(more for first, second, more in pairs if first in int8 and second in int8)
        return math.inf if total <= 0 else -10 * math.log10(total)

    return score


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        (additive(10.0 ** -np.arange(1, 11)), 25.0),
        (additive(np.random.default_rng(0).uniform(0.001, 0.1, 10)), 12.0),
        (additive([0.01] * 10, pairs=[(2, 7, 0.3), (4, 5, 0.1), (0, 9, -0.01)]), 11.0),
    ],
)
def test_within_one_layer_of_the_exhaustive_answer(score: Any, wanted: float) -> None:
    found = fewest_in_float(LAYERS, wanted, score)

    fewest = next(
        count for count in range(11) if any(score(layers) >= wanted for layers in combinations(LAYERS, count))
    )
    assert fewest > 0
    assert len(found.layers) <= fewest + 1
    assert found.reached == score(found.layers) >= wanted
    assert found.exclude_arguments.split()[::2] == ["--exclude"] * len(found.layers)
    assert found.layer_device_precision.split(";")[0] == f"{found.layers[0]}:fp32:gpu"


def test_nothing_is_left_in_float_where_nothing_must_be() -> None:
    found = fewest_in_float(LAYERS, 5.0, additive([0.01] * 10))
    assert (found.layers, found.runs) == ((), 1)


@pytest.mark.parametrize("layers", [LAYERS, LAYERS[:1]])
def test_a_figure_that_no_model_with_an_int8_layer_reaches(layers: list[str]) -> None:
    score = additive([0.01] * 10)

    def limited(in_float: Sequence[str]) -> float:
        return score([*in_float, *LAYERS[len(layers) :]])

    with pytest.raises(UseError, match=r"no model with a layer in INT8 reaches 47: the best has 20\.0"):
        fewest_in_float(layers, 47.0, limited)


@pytest.mark.parametrize("wanted", [math.nan, math.inf, -5.0])
def test_what_is_no_agreement(make_model: Callable[..., Path], tmp_path: Path, wanted: float) -> None:
    with pytest.raises(UsageError, match="cannot be reached"):
        quantize(make_model(), Images(), tmp_path / "o", min_agreement=wanted)


def test_names_are_written_for_a_shell() -> None:
    assert Search(20, 21, ("a[0]/conv 1", "b"), 5).exclude_arguments == "--exclude 'a[0]/conv 1' --exclude b"


@pytest.mark.parametrize(("wanted", "reached", "judged", "is_told"), [
    (20.0, 20.4, 18.5, True),
    (20.0, 20.4, 20.0, False),
    (20.0, 19.0, 18.5, False),  # which is told already
    (20.0, 20.4, math.nan, False),
])  # fmt: skip
def test_a_model_that_falls_short_of_what_was_reached_when_searching_is_told_of(
    wanted: float, reached: float, judged: float, is_told: bool
) -> None:
    found = list(Search(wanted, reached, ("a",), 5).missed_by(judged))

    assert [finding.level for finding in found] == ["warning"] * is_told
    assert all(f"{judged:.1f} dB" in finding.message for finding in found)


def test_the_report_says_that_the_model_falls_short(
    make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(layers: Sequence[str], wanted: float, *others: Any, **options: Any) -> Search:
        return Search(wanted, wanted + 1, tuple(layers[:1]), 3)

    monkeypatch.setattr("int8cal.models.decide.fewest_in_float", found)

    report = quantize(make_model(), Images(), tmp_path / "o", method="minmax", min_agreement=90)

    assert "below-min-agreement" in {finding.code for finding in report.findings}


def with_a_coarse_layer(model: onnx.ModelProto) -> None:
    """One weight of the last convolution is so large that the others of its channel are lost in INT8."""
    for item in model.graph.initializer:
        if item.name == "up.w":
            values = onnx.numpy_helper.to_array(item).copy()
            values[0] *= 500
            item.CopyFrom(onnx.numpy_helper.from_array(values, item.name))


def with_an_offset_behind_it(model: onnx.ModelProto) -> None:
    """The same, and every output is large, and nearly the same everywhere."""
    with_a_coarse_layer(model)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1e5), "offset"))
    for value in model.graph.output:
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [f"{name}.inner" if name == value.name else name for name in names]
        model.graph.node.append(onnx.helper.make_node("Add", [f"{value.name}.inner", "offset"], [value.name]))


@pytest.mark.parametrize("change", [with_a_coarse_layer, with_an_offset_behind_it])
def test_the_model_reaches_what_was_asked_for_on_held_out_images(
    make_model: Callable[..., Path], tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    source, told = make_model(change=change), []
    before = quantize(source, Images(), tmp_path / "o", method="minmax", agreement=False)
    assert before.search is None

    plain = quantize(source, Images(), tmp_path / "p", method="minmax").in_sample
    assert plain is not None
    wanted = plain.worst_db() + 3
    assert wanted < 50
    report = quantize(source, Images(), tmp_path / "q", method="minmax", min_agreement=wanted, say=told.append)

    assert report.search is not None
    assert 0 < len(report.search.layers) < len(before.placement.layers)
    assert report.search.reached >= wanted
    assert set(report.search.layers) == set(report.placement.did["excluded"])
    assert "layers one at a time" in told[0]


def test_images_that_come_but_once_are_refused_before_they_are_used(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    taken = []
    batches = (taken.append(number) or batch for number, batch in enumerate(Images()))
    with pytest.raises(UsageError, match="once"):
        quantize(make_model(), batches, tmp_path / "o", method="minmax", min_agreement=10, agreement=False)
    assert len(taken) <= 1


def test_a_score_of_ones_own(make_model: Callable[..., Path], tmp_path: Path) -> None:
    def count_of_float_layers(model: onnx.ModelProto) -> float:
        return sum(node.op_type == "Conv" and node.input[1] in floats(model) for node in model.graph.node)

    def floats(model: onnx.ModelProto) -> set[str]:
        return {item.name for item in model.graph.initializer}

    report = quantize(
        make_model(), Images(), tmp_path / "o", method="mse", min_agreement=1, score=count_of_float_layers
    )
    assert report.search is not None
    assert len(report.search.layers) == 1
    assert "conv" in report.search.layers[0]


def test_a_score_is_a_number_of_any_library(make_model: Callable[..., Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "mse", "min_agreement": 1}
    report = quantize(make_model(), Images(), tmp_path / "o", score=lambda model: np.array(2), **options)
    assert (report.search.layers, report.search.reached) == ((), 2.0)
    with pytest.raises(UsageError, match="score returned None, which is no number"):
        quantize(make_model(), Images(), tmp_path / "p", score=lambda model: None, **options)
    for figure in (math.nan, np.float32("nan"), math.inf, -math.inf):
        with pytest.raises(UsageError, match=r"score returned -?(nan|inf), which is not finite"):
            quantize(make_model(), Images(), tmp_path / "p", score=lambda model, figure=figure: figure, **options)
