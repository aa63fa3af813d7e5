"""The INT8 model on the report of its data."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from tests.unit.check.files import replace_batches

import int8cal
from int8cal.errors import UsageError
from int8cal.models.compare import compare
from int8cal.report.build import build_page


@pytest.fixture(scope="module")
def made(tiny_dataset, tmp_path_factory):
    """(tensorfile, float model, INT8 model) of a detector of one layer and a little more."""
    folder = tmp_path_factory.mktemp("model")
    int8cal.make(int8cal.plan(tiny_dataset.spec), folder / "calibration.tensor")
    random = np.random.default_rng(0)
    shapes = {"w": (16, 3, 3, 3), "v": (16, 16, 3, 3)}
    weights = [
        onnx.numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], "first", pads=[1] * 4),
        onnx.helper.make_node("Relu", ["c"], ["<i>r</i>"], "act"),
        onnx.helper.make_node("Conv", ["<i>r</i>", "v"], ["y"], "second", pads=[1] * 4),
    ]
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", channels, 96, 160])
        for name, channels in (("x", 3), ("y", 16))
    )
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "m.onnx")
    int8cal.quantize(folder / "m.onnx", folder / "calibration.tensor", folder / "q.onnx", method="minmax")
    return folder / "calibration.tensor", folder / "m.onnx", folder / "q.onnx"


def test_the_page_has_verdict_agreement_and_thresholds(made):
    file, model, int8 = made
    page = build_page(file, model=model, int8=int8)
    compared = compare(model, int8, file)
    text = page.render().decode()

    assert "model-alive" in {finding.code for finding in page.found.findings}
    assert page.model.outputs[0].name == "y"
    assert page.model.outputs[0].sqnr == compared.agreement.outputs[0].sqnr_text
    assert "all images of this file" in text
    assert text.index('<p class="verdict', text.index('<p class="verdict') + 1) < text.index('id="findings"')
    assert text.index('id="findings"') < text.index('id="model"') < text.index('id="pictures"')
    assert "<script" not in text
    assert "&lt;i&gt;r&lt;/i&gt;" in text
    assert "<i>" not in text
    assert page.render() == build_page(file, model=model, int8=int8).render()


def test_ranges_are_what_minmax_has_seen(made):
    file, model, int8 = made
    with int8cal.TensorFile(file) as images:
        largest = max(float(batch.max()) for batch in images)
    low, high = compare(model, int8, file).ranges["x"]
    assert high == pytest.approx(largest, rel=1e-5)
    assert low == pytest.approx(-high * 128 / 127)


def test_layers_stand_with_the_lowest_sqnr_first(made):
    page = build_page(made[0], model=made[1], int8=made[2])
    figures = [float(layer.sqnr) for layer in page.model.layers]
    assert figures == sorted(figures)


def test_without_models_nothing_of_them_is_on_the_page(made):
    page = build_page(made[0])
    assert page.model is None
    assert not re.search("SQNR|INT8 can hold|#model", page.render().decode().partition("<body>")[2])


def test_an_int8_model_wants_its_float_model(made, tmp_path, run_cli):
    with pytest.raises(UsageError, match="compared with its float model"):
        build_page(made[0], int8=made[2])
    done = run_cli("report", made[0], "-o", tmp_path / "page.html", "--int8", made[2])
    assert done.code == 2
    assert not (tmp_path / "page.html").exists()
    done = run_cli("report", made[0], "-o", tmp_path / "page.html", "--model", made[1], "--int8", made[2])
    assert done.code == 0, done.stderr
    assert 'id="model"' in (tmp_path / "page.html").read_text()


def test_a_file_with_errors_is_not_compared_and_that_is_said(made, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(made[0].read_bytes())
    replace_batches(broken, lambda batch: batch * 0)
    page = build_page(broken, model=made[1], int8=made[2])
    assert page.model is None
    assert "not compared: the file has errors" in page.render().decode()
