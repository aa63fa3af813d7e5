"""Comparing two models: figures against NumPy, pairs that do not belong together, and the page."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.unit.models.conftest import fails_from, quantize_fast

from int8cal.errors import UnavailableError, UsageError, UseError
from int8cal.models.agreement import Agreement, TensorAgreement
from int8cal.models.compare import Comparison, compare
from int8cal.report.comparison import page_of
from int8cal.report.web_page import page_output

MakeModel = Callable[..., Path]
ARRAYS = hnp.arrays(np.float32, (2, 6, 3), elements=st.floats(-100, 100, width=32))


@given(ARRAYS, ARRAYS, st.integers(0, 6))
def test_figures_are_those_of_all_values_together(first: np.ndarray, second: np.ndarray, cut: int) -> None:
    first, second = first.reshape(6, 6), second.reshape(6, 6)
    agreement = TensorAgreement("x")
    for part in (slice(0, cut), slice(cut, 6)):
        agreement.add(first[part], second[part])

    a, b = first.astype(float), second.astype(float)
    assert agreement.max_error == pytest.approx(np.abs(a - b).max())
    assert agreement.top1 == pytest.approx(np.mean(a.argmax(1) == b.argmax(1)))
    if not (a == b).all() and (a != 0).any():
        assert agreement.sqnr_db == pytest.approx(10 * np.log10((a**2).sum() / ((a - b) ** 2).sum()), abs=1e-6)
    if (a != 0).any() and (b != 0).any():
        cosine = (a * b).sum() / np.sqrt((a**2).sum()) / np.sqrt((b**2).sum())
        assert agreement.cosine == pytest.approx(cosine, abs=1e-6)


def test_edge_cases_have_values() -> None:
    zero, one = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    cases = [(one, one, math.inf, 1.0), (zero, zero, math.inf, 1.0), (zero, one, -math.inf, 0.0), (one, zero, 0.0, 0.0)]
    for first, second, decibel, cosine in cases:
        agreement = TensorAgreement("x")
        agreement.add(first, second)
        assert (agreement.sqnr_db, agreement.cosine) == (decibel, pytest.approx(cosine))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("damaged", [0, 1])
def test_values_that_are_not_finite_are_no_agreement(bad: float, damaged: int) -> None:
    agreement = TensorAgreement("x")
    for value in (1.0, bad, 1.0):
        pair = [np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)]
        pair[damaged][0, 0] = value
        agreement.add(*pair)

    assert not agreement.finite
    assert not agreement.identical
    assert math.isnan(agreement.sqnr_db)
    assert math.isnan(agreement.cosine)
    assert math.isnan(agreement.max_error)
    assert agreement.top1 is None
    good = TensorAgreement("y")
    good.add(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
    assert [layer.name for layer in Agreement(2, (), (good, agreement)).worst_layers()] == ["x", "y"]
    page = page_of(Comparison(Agreement(2, (agreement,)), 1, 1), title="t").decode()
    assert "not finite" in page
    assert "identical" not in page
    assert 'width="0.0"' in page


def with_outputs(*nodes: Any, **types: tuple[int, int]) -> Callable[[onnx.ModelProto], None]:
    """Adds nodes whose outputs, of these element types and ranks, are outputs of the model."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node.extend(nodes)
        for name, (element, rank) in types.items():
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, element, [None] * rank))

    return change


def sequence_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("SequenceConstruct", ["up"], ["sequence"]))
    model.graph.output.append(onnx.helper.make_tensor_sequence_value_info("sequence", onnx.TensorProto.FLOAT, None))


NODE = onnx.helper.make_node
UNCOMPARABLE = {
    "text": with_outputs(NODE("Cast", ["up"], ["text"], to=onnx.TensorProto.STRING), text=(onnx.TensorProto.STRING, 4)),
    "places": with_outputs(
        NODE("ReduceMean", ["up"], ["up.mean"], keepdims=1),
        NODE("Greater", ["up", "up.mean"], ["loud"]),
        NODE("NonZero", ["loud"], ["places"]),
        places=(onnx.TensorProto.INT64, 2),
    ),
    "sequence": sequence_output,
}


@pytest.mark.parametrize("name", UNCOMPARABLE)
def test_outputs_that_cannot_be_compared_are_named_and_the_rest_is_compared(
    make_model: MakeModel, images: Any, tmp_path: Path, name: str
) -> None:
    source = make_model(change=UNCOMPARABLE[name])

    report = quantize_fast(source, images(), tmp_path / "int8.onnx", evaluation=images(seed=4))

    assert report.held_out is not None
    chosen_by = ["up.mean"] if name == "places" else []  # and by "up", which is an output anyway
    assert [output.name for output in report.held_out.outputs] == ["up", "prob", *chosen_by]
    assert report.held_out.skipped.keys() == {name}
    assert all(output.sqnr_db > 25 for output in report.held_out.outputs)


def test_outputs_whose_first_axis_is_not_the_batch_are_compared(
    make_model: MakeModel, images: Any, tmp_path: Path
) -> None:
    change = with_outputs(
        NODE("ReduceMean", ["up"], ["scalar"], keepdims=0),
        NODE("Transpose", ["up"], ["turned"], perm=[1, 0, 2, 3]),
        scalar=(onnx.TensorProto.FLOAT, 0),
        turned=(onnx.TensorProto.FLOAT, 4),
    )

    report = quantize_fast(make_model(change=change), images(), tmp_path / "int8.onnx", method="mse")

    assert report.in_sample is not None
    assert [output.name for output in report.in_sample.outputs] == ["up", "prob", "scalar", "turned"]
    assert report.in_sample.outputs[3].sqnr_db == report.in_sample.outputs[0].sqnr_db


@pytest.mark.parametrize(("output", "judged_by_class"), [("rows", False), ("prob", True)])
def test_rows_that_are_no_images_choose_no_class(
    make_model: MakeModel, images: Any, output: str, judged_by_class: bool
) -> None:
    model = onnx.load(make_model())
    rows = onnx.numpy_helper.from_array(np.array([-1, 6], np.int64), "of_six")
    model.graph.initializer.append(rows)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["scores", "of_six"], ["rows"]))  # one of every pixel
    model.graph.output.append(onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, None))
    path = make_model()
    onnx.save(model, path)
    found = {one.name: one for one in compare(path, path, images()).agreement.outputs}[output]
    assert (found.top1 is not None) == judged_by_class
    assert found.identical


def test_whole_numbers_and_truth_values_are_compared(make_model: MakeModel, images: Any, tmp_path: Path) -> None:
    change = with_outputs(
        NODE("ArgMax", ["up"], ["best"], axis=1),
        NODE("Equal", ["best", "best"], ["same"]),
        best=(onnx.TensorProto.INT64, 4),
        same=(onnx.TensorProto.BOOL, 4),
    )
    report = quantize_fast(make_model(change=change), images(), tmp_path / "int8.onnx")

    assert report.in_sample is not None
    assert [output.name for output in report.in_sample.outputs] == ["up", "prob", "best", "same"]
    assert report.in_sample.outputs[3].identical


def test_a_model_agrees_with_itself_and_less_with_its_int8_self(
    make_model: MakeModel, images: Any, tmp_path: Path
) -> None:
    source = make_model()
    quantize_fast(source, images(), tmp_path / "int8.onnx", agreement=False)

    same = compare(source, source, images(seed=3), max_images=5)
    other = compare(source, tmp_path / "int8.onnx", images(seed=3))

    assert same.agreement.images == 5
    assert all(output.sqnr_db == math.inf for output in same.agreement.outputs)
    assert all(20 < output.sqnr_db < 80 for output in other.agreement.outputs)
    assert [layer.name for layer in other.agreement.layers] == ["first.norm", "second.norm", "product", "hidden"]
    assert other.agreement.outputs[1].top1 == 1.0
    with pytest.raises(UsageError, match="the first model is quantised, and the second one is not"):
        compare(tmp_path / "int8.onnx", source, images(seed=3))


def test_models_that_do_not_belong_together(make_model: MakeModel, images: Any) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = model.graph.output[1].name = "classes"

    with pytest.raises(UseError, match=r"different outputs: up, prob and up, classes"):
        compare(make_model("a.onnx"), make_model("b.onnx", change=rename), images())


def test_the_model_that_fails_is_named(make_model: MakeModel, images: Any) -> None:
    robust, fragile = make_model("a.onnx", change=fails_from(2)), make_model("b.onnx", change=fails_from(1))
    bright = images(scale=2.0)

    for pair in ((robust, fragile), (fragile, robust)):
        with pytest.raises(UseError, match="the model fails on the samples") as caught:
            compare(*pair, bright)
        assert caught.value.where == str(fragile)


def named(name: str) -> Comparison:
    tensor = TensorAgreement(name)
    tensor.add(np.ones((2, 3), np.float32), np.full((2, 3), 1.01, np.float32))
    return Comparison(Agreement(2, (tensor,), (tensor,)), 1000, 500)


class Tags(HTMLParser):
    """Names of all tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_page_shows_figures_and_runs_nothing() -> None:
    page = page_of(named("<script>alert(1)</script>\x1b[2J"), title="<img src=x onerror=alert(1)>")

    text = page.decode()
    tags = Tags()
    tags.feed(text)
    assert not {"script", "img", "link", "iframe"} & set(tags.seen)
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "http://" not in text.replace('http-equiv="', "")
    assert "40.0" in text
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-{digest}&#39;" in text


def test_page_without_jinja2_names_the_extra_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UnavailableError, match=r"the extra \[report\] stands for"):
        page_output(str(tmp_path / "page.html"), overwrite=False, inputs=())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_extra_is_named_with_the_pip_line(
    make_model: MakeModel, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    source = make_model()
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnavailableError, match=r"the extra \[quantize\] stands for"):
        quantize_fast(source, images(), tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()
