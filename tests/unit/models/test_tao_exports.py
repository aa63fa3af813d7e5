"""Networks as TAO exports them, plug-ins and all: quantised, compared, judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from tests.tao_exports import EXPORTS, HEIGHT, WIDTH
from tests.unit.models.conftest import quantize_fast

from int8cal import TensorFile
from int8cal.check.model import try_model
from int8cal.errors import UseError
from int8cal.models.compare import compare
from int8cal.models.onnx_file import foreign_operator, marked
from int8cal.tensorrt.cache import read_cache

INTO_PLUG_INS = {
    "ssd": ["loc_data", "conf_data"],
    "dssd": ["loc_data", "conf_data"],
    "retinanet": ["loc_data", "conf_data"],
    "yolo_v4": ["box", "cls/mul"],
    "efficientdet": ["box_outputs", "class_outputs"],
    "faster_rcnn": [
        "nms_inputs_1/prior_data",
        "nms_inputs_1/loc_data",
        "nms_inputs_1/conf_data",
        "sigmoid_output",
        "rpn_out_regress",
        "add_3/relu",
    ],
}

LAST_LAYERS = {
    "ssd": ["ssd_loc_0_node", "ssd_conf_2_node"],
    "dssd": ["ssd_loc_0_node", "ssd_conf_2_node", "deconv_1_node"],
    "retinanet": ["retinanet_loc:P4_node", "retinanet_conf:P2_merged_node"],
    "yolo_v4": ["conv_big_object_node", "conv_mid_object_node"],
    "efficientdet": ["box_net/predict:fpn/merged_node", "class_net/predict:blocks_1/project_node"],
    "faster_rcnn": ["block_4a_node", "rpn_out_regress_node"],
}


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "calibration.tensor"
    shape = (2, 3, HEIGHT, WIDTH)
    with h5py.File(path, "w") as file:
        file.attrs["count"], file.attrs["shape"] = 2, shape
        for number in range(2):
            values = np.random.default_rng(number).random(shape, dtype=np.float32)
            group = file.create_group(f"_tensorfile_array_key__{number}")
            group.create_dataset("_tensorfile_array_key_", data=values)
    return path


def plug_ins(model: Any) -> dict[str, Any]:
    names = {node.name for node in marked(model).graph.node if foreign_operator(node)}
    return {node.name: node for node in model.graph.node if node.name in names}


@pytest.mark.parametrize("network", EXPORTS)
def test_an_export_is_quantised_up_to_its_plug_ins(network: str, calibration: Path, tmp_path: Path) -> None:
    model = EXPORTS[network]()
    source, out, cache = tmp_path / "model.onnx", tmp_path / "int8.onnx", tmp_path / "cal.bin"
    source.write_bytes(model.SerializeToString())
    with TensorFile(calibration) as images:
        report = quantize_fast(source, images, out, trt_cache=cache, trt_version="10.3.0")
        result = onnx.load(out)

        # the plug-ins, and what the model gives and takes, are as before
        assert plug_ins(result) == plug_ins(model)
        assert [node.name for node in report.foreign] == list(plug_ins(model))
        assert list(result.graph.output) == list(model.graph.output)
        assert [value.name for value in result.graph.input] == [value.name for value in model.graph.input]

        # weighted layers are quantised, in front of plug-ins that are computed for calibration as well; those that
        # placement leaves in float for a reason of its own are named
        assert report.behind == ()
        made = {name: node.op_type for node in result.graph.node for name in node.output}
        layers = [node for node in result.graph.node if node.op_type in ("Conv", "MatMul", "ConvTranspose")]
        assert len(layers) == sum(node.op_type in ("Conv", "MatMul", "ConvTranspose") for node in model.graph.node)
        floats = {node.name for node in layers if made.get(node.input[1]) != "DequantizeLinear"}
        assert floats <= set(report.placement.floated)
        assert not floats.intersection(LAST_LAYERS[network])

        # the cache has a range for all that is computed, under names of the float model
        names = set(read_cache(cache).amax)
        activations = {name for node in model.graph.node for name in node.output} | {model.graph.input[0].name}
        assert names <= activations
        outputs = {name for node in list(plug_ins(model).values())[-1:] for name in node.output}
        assert activations - names == outputs | set(report.unlisted)

        # agreement is that of what goes into the plug-ins; comparing the files gives the same
        assert [output.name for output in report.in_sample.outputs] == INTO_PLUG_INS[network]
        assert all(output.finite for output in report.in_sample.outputs)
        compared = compare(source, out, images)
        figures = [(output.name, output.sqnr_db) for output in report.in_sample.outputs]
        assert [(output.name, output.sqnr_db) for output in compared.agreement.outputs] == figures

    # shown some images, the float model comes alive
    findings = try_model(calibration, source)
    assert "model-alive" in {finding.code for finding in findings}
    assert not [finding for finding in findings if finding.level == "error"]


def test_regions_that_the_float_model_chose_are_those_of_the_int8_model(calibration: Path, tmp_path: Path) -> None:
    """Else a small difference in the scores changes the order of the regions, and nothing can be compared."""
    source = tmp_path / "model.onnx"
    source.write_bytes(EXPORTS["faster_rcnn"]().SerializeToString())
    with TensorFile(calibration) as images:
        report = quantize_fast(source, images, tmp_path / "int8.onnx")

    figures = {output.name: output for output in report.in_sample.outputs}
    assert figures["nms_inputs_1/prior_data"].identical
    assert not figures["sigmoid_output"].identical
    assert figures["nms_inputs_1/conf_data"].sqnr_db > 20


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.attribute.remove(next(a for a in node.attribute if a.name == "anchor_ratios")),
        lambda node: setattr(next(a for a in node.attribute if a.name == "post_nms_top_n"), "i", 1 << 40),
        lambda node: setattr(next(a for a in node.attribute if a.name == "rpn_stride"), "i", 0),
        lambda node: node.input.append("sigmoid_output"),
    ],
    ids=["an attribute missing", "regions without number", "stride 0", "an input more"],
)
def test_a_plug_in_that_cannot_be_computed_leaves_what_is_behind_it_in_float(
    change: Any, calibration: Path, tmp_path: Path
) -> None:
    model = EXPORTS["faster_rcnn"]()
    change(next(node for node in model.graph.node if node.op_type == "ProposalDynamic"))
    source = tmp_path / "model.onnx"
    source.write_bytes(model.SerializeToString())
    with TensorFile(calibration) as images:
        report = quantize_fast(source, images, tmp_path / "int8.onnx")

    assert report.behind == ("block_4a_node", "dense_class_td_node", "dense_regress_td_node")
    assert not any(node.computed for node in report.foreign)
    assert plug_ins(onnx.load(tmp_path / "int8.onnx")) == plug_ins(model)


def test_attributes_that_contradict_the_layers_are_an_error_of_the_model(calibration: Path, tmp_path: Path) -> None:
    model = EXPORTS["faster_rcnn"]()
    proposal = next(node for node in model.graph.node if node.op_type == "ProposalDynamic")
    next(a for a in proposal.attribute if a.name == "anchor_ratios").floats.append(2.0)
    source = tmp_path / "model.onnx"
    source.write_bytes(model.SerializeToString())

    with TensorFile(calibration) as images, pytest.raises(UseError, match="the plug-in 'proposal' cannot be computed"):
        quantize_fast(source, images, tmp_path / "int8.onnx")


def test_a_head_that_takes_regions_of_each_image_apart_is_calibrated_too(calibration: Path, tmp_path: Path) -> None:
    """With a reshape in front of the layers the plug-in's five dimensions are right in ONNX as well."""
    model = EXPORTS["faster_rcnn"]()
    crops = "crop_and_resize_1/Reshape_1:0"
    (conv,) = [node for node in model.graph.node if crops in node.input]
    channels = next(t for t in model.graph.initializer if t.name == conv.input[1]).dims[1]
    conv.input[0] = "flat_regions"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, channels, 5, 5]), "as_four"))
    position = [node.name for node in model.graph.node].index(conv.name)
    reshape = onnx.helper.make_node("Reshape", [crops, "as_four"], ["flat_regions"], name="td_reshape")
    model.graph.node.insert(position, reshape)
    source = tmp_path / "model.onnx"
    source.write_bytes(model.SerializeToString())

    with TensorFile(calibration) as images:
        report = quantize_fast(source, images, tmp_path / "int8.onnx", trt_cache=tmp_path / "c", trt_version="8.5.1")

    assert report.behind == ()
    assert {crops, "flat_regions", "dense_class_td"} <= set(read_cache(tmp_path / "c").amax)
