"""``int8cal verify --model``: what the values alone do not show, a float model does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tests.unit.check.files import write_like_tao

import int8cal

CAFFE = np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1)


@pytest.fixture(scope="module")
def pixels(tiny_dataset):
    """Pictures of the demo as 3 batches of 4, RGB, 0..255 float32."""
    pictures = [np.asarray(Image.open(path).convert("RGB"), np.float32) for path in tiny_dataset.images]
    return np.stack(pictures).transpose(0, 3, 1, 2).reshape(3, 4, 3, 96, 160)


def classifier(path, images, *, fold=False, classes=3, height=96, dead=False):
    """A small classifier that was trained, as far as its batch normalisation remembers, on these images."""
    random = np.random.default_rng(0)
    dense = (0.0 if dead else 20.0) * random.standard_normal((8, classes)).astype(np.float32)
    kernel = random.standard_normal((8, 3, 1, 1)).astype(np.float32)
    seen = np.einsum("oi,bnihw->bnohw", kernel[:, :, 0, 0], images)
    if not fold:
        seen = (seen - seen.mean(axis=(0, 1, 3, 4), keepdims=True)) / seen.std(axis=(0, 1, 3, 4), keepdims=True)
    features = np.maximum(seen, 0).mean(axis=(0, 1, 3, 4))
    seen = np.einsum("oi,bnihw->bnohw", kernel[:, :, 0, 0], images)
    mean, variance = seen.mean(axis=(0, 1, 3, 4)), seen.var(axis=(0, 1, 3, 4))
    weights = {
        "kernel": kernel,
        "scale": np.ones(8, np.float32),
        "bias": np.zeros(8, np.float32),
        "mean": mean.astype(np.float32),
        "variance": variance.astype(np.float32),
        "dense": dense,
        "offset": -features.astype(np.float32) @ dense,
    }
    norm = [helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "variance"], ["n"])]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["n" if fold else "c"]),
            *([] if fold else norm),
            helper.make_node("Relu", ["n"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "dense", "offset"], ["s"]),
            helper.make_node("Softmax", ["s"], ["probabilities"], axis=1),
        ],
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, height, 160])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def with_outputs(path, *nodes, **added):
    """Adds nodes, outputs of these element types and ranks, and constants of these arrays."""
    model = onnx.load(path)
    model.graph.node.extend(nodes)
    for name, what in added.items():
        if isinstance(what, np.ndarray):
            model.graph.initializer.append(numpy_helper.from_array(what, name))
        else:
            element, rank = what
            model.graph.output.append(helper.make_tensor_value_info(name, element, [None] * rank))
    onnx.save(model, path)
    return path


def test_outputs_without_numbers_for_each_image_do_not_stop_the_others(pixels, tmp_path):
    model = with_outputs(
        classifier(tmp_path / "m.onnx", pixels / 255),
        helper.make_node("ReduceMean", ["s"], ["scalar"], keepdims=0),
        helper.make_node("Cast", ["s"], ["text"], to=TensorProto.STRING),
        helper.make_node("NonZero", ["r"], ["places"]),
        helper.make_node("ReduceMean", ["s"], ["middle"], axes=[1]),
        helper.make_node("Less", ["s", "middle"], ["truth"]),
        scalar=(TensorProto.FLOAT, 0),
        text=(TensorProto.STRING, 2),
        places=(TensorProto.INT64, 2),
        truth=(TensorProto.BOOL, 2),
    )
    found = int8cal.verify(write_like_tao(tmp_path / "f", pixels / 255), model=model)
    said = {finding.code: finding.message for finding in found.findings}
    assert found.sound
    assert said["model-output-unseen"].endswith(": scalar, text, places")
    assert said["model-alive"].partition("; ")[0].endswith(": probabilities, truth, r")  # r: places are chosen by it


def test_right_images(pixels, tmp_path, run_cli):
    right = pixels / 255
    model, file = classifier(tmp_path / "m.onnx", right), write_like_tao(tmp_path / "f", right)
    done = run_cli("verify", file, "--model", model)
    assert done.code == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert "the model takes the images (image, NCHW)" in done.stdout


def test_of_very_large_outputs_those_of_two_images_are_looked_at(pixels, tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr("int8cal.models.probe._MOST_BYTES", 0)
    model = classifier(tmp_path / "m.onnx", pixels / 255)
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert done.code == 0
    assert "alive on 2 of them: probabilities" in done.stdout


def test_mean_without_scale_shows_in_the_model_only(pixels, tmp_path, run_cli):
    model = classifier(tmp_path / "m.onnx", pixels / 255)
    file = write_like_tao(tmp_path / "f", pixels[:, :, ::-1] - CAFFE)
    assert run_cli("verify", file).code == 0
    done = run_cli("verify", file, "--model", model)
    assert done.code == 6
    assert "[model-scale]" in done.stdout


def test_a_network_that_wants_pixels_minus_mean(pixels, tmp_path, run_cli):
    caffe = pixels[:, :, ::-1] - CAFFE
    model = classifier(tmp_path / "m.onnx", caffe)
    assert run_cli("verify", write_like_tao(tmp_path / "f", caffe), "--model", model).code == 0
    flat = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert flat.code == 6
    assert "the images are not scaled as it was trained" in flat.stdout


def test_outputs_that_do_not_depend_on_the_image(pixels, tmp_path, run_cli):
    model = classifier(tmp_path / "m.onnx", pixels / 255, fold=True, dead=True)
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert done.code == 6
    assert "output probabilities is the same for 12 different images" in done.stdout


def test_saturated_outputs_are_dead(pixels, tmp_path, run_cli):
    """Without batch normalisation nothing is remembered, but a softmax that always says the same does show."""
    model = classifier(tmp_path / "m.onnx", pixels / 255, fold=True)
    assert run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model).code == 0
    file = write_like_tao(tmp_path / "f", pixels[:, :, ::-1] - CAFFE)
    done = run_cli("verify", file, "--model", model)
    assert done.code == 6
    assert "[model-dead]" in done.stdout


def test_a_model_for_another_size(pixels, tmp_path, run_cli):
    model = classifier(tmp_path / "m.onnx", pixels / 255, height=48)
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert done.code == 6
    assert "[model-input]" in done.stdout
    assert "'image'" in done.stdout


def test_other_channels_are_the_files_fault_as_well(pixels, tmp_path, run_cli):
    model = classifier(tmp_path / "m.onnx", pixels / 255)
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels[:, :, :1] / 255), "--model", model)
    assert done.code == 6
    assert "[model-input]" in done.stdout


def test_outputs_that_are_constant_by_nature(pixels, tmp_path, run_cli):
    """Anchors for each image, made from its shape, by branches, too; the class chosen, the same for all; a number."""
    near, far = (
        helper.make_graph(
            [helper.make_node("Identity", ["anchors"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for name in ("near", "far")
    )
    model = with_outputs(
        classifier(tmp_path / "m.onnx", pixels / 255),
        helper.make_node("Shape", ["image"], ["sizes"], end=1),
        helper.make_node("Concat", ["sizes", "anchor_shape"], ["anchors_shape"], axis=0),
        helper.make_node("Expand", ["anchor", "anchors_shape"], ["anchors"]),
        helper.make_node("If", ["yes"], ["offsets"], then_branch=near, else_branch=far),
        helper.make_node("ArgMin", ["probabilities"], ["least"], axis=1),
        helper.make_node("Mul", ["least", "none"], ["count"]),
        anchors=(TensorProto.FLOAT, 3),
        offsets=(TensorProto.FLOAT, 3),
        yes=np.array(True),
        count=(TensorProto.INT64, 2),
        anchor_shape=np.array([5, 4]),
        anchor=np.arange(20, dtype=np.float32).reshape(1, 5, 4),
        none=np.array([0]),
    )
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert done.code == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout
    assert "alive on 12 of them: probabilities [model-alive]" in done.stdout
    assert "not from its pixels, were not judged: anchors, offsets [model-output-unseen]" in done.stdout
    assert "note     output count is the same for 12 different images [model-output-same]" in done.stdout


def test_a_dead_output_beside_a_live_one_is_a_warning(pixels, tmp_path, run_cli):
    model = with_outputs(
        classifier(tmp_path / "m.onnx", pixels / 255),
        helper.make_node("Mul", ["s", "none"], ["silent"]),
        silent=(TensorProto.FLOAT, 2),
        none=np.array([0], np.float32),
    )
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert done.code == 0, done.stdout
    assert "warning  output silent is the same for 12 different images [model-output-same]" in done.stdout


def with_input(path, dims, element=TensorProto.FLOAT, *, first=None):
    """Changes what the model's input is said to be, and what is done ``first`` to make images of it."""
    model = onnx.load(path)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", element, dims))
    if first:
        model.graph.node[0].input[0] = first.output[0]
        model.graph.node.insert(0, first)
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 3, 96, 160]), "image_shape"))
    onnx.save(model, path)
    return path


def of_any_size(path):
    return with_input(path, ["N", "C", "H", "W"])


def of_bytes(path):
    first = helper.make_node("Cast", ["image"], ["fed"], to=TensorProto.FLOAT)
    return with_input(path, ["N", 3, 96, 160], TensorProto.UINT8, first=first)


def of_rows(path):
    return with_input(path, ["N", 92160], first=helper.make_node("Reshape", ["image", "image_shape"], ["fed"]))


def of_two_inputs(path):
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Identity", ["size"], ["copy"]))
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.FLOAT, [1]))
    model.graph.output.append(helper.make_tensor_value_info("copy", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("change", "said", "hint"),
    [
        (of_any_size, "its layout cannot be told", "--layout nchw or --layout nhwc"),
        (of_bytes, "input 'image' takes uint8, whole numbers from 0 to 255", "images without scaling"),
        (of_two_inputs, "2 inputs ('image', 'size'), a tensorfile feeds one", "--input size=VALUE, such as 1."),
        (of_rows, "input 'image' takes ?×92160, no batches of", "in four dimensions"),
    ],
)
def test_a_model_that_cannot_be_fed_is_no_fault_of_the_file(pixels, tmp_path, run_cli, change, said, hint):
    model = change(classifier(tmp_path / "m.onnx", pixels / 255))
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", model)
    assert (done.code, done.stdout) == (7, "")
    assert f"error: {model}: " in done.stderr
    assert said in done.stderr
    assert hint in done.stderr
    assert "do not use this file" not in done.stderr


def test_another_input_is_given_a_constant(pixels, tmp_path, run_cli):
    model = of_two_inputs(classifier(tmp_path / "m.onnx", pixels / 255))
    file = write_like_tao(tmp_path / "f", pixels / 255)
    assert run_cli("verify", file, "--model", model, "--input", "size=96").code == 0
    for wrong in (["--input", "size=x"], ["--input", "size=1,2"], ["--input", "size=1", "--input", "size=2"]):
        assert run_cli("verify", file, "--model", model, *wrong).code == 2
    assert run_cli("verify", file, "--input", "size=96").code == 2


def test_input_and_layout_can_be_said(pixels, tmp_path, run_cli):
    model = of_any_size(classifier(tmp_path / "m.onnx", pixels / 255))
    file = write_like_tao(tmp_path / "f", pixels / 255)
    done = run_cli("verify", file, "--model", model, "--layout", "nchw", "--input", "image")
    assert done.code == 0, done.stdout + done.stderr
    assert "the model takes the images (image, NCHW)" in done.stdout

    other = run_cli("verify", file, "--model", model, "--layout", "nchw", "--input", "picture")
    assert other.code == 7
    assert "the model has no input 'picture'" in other.stderr
    fixed = run_cli("verify", file, "--model", classifier(tmp_path / "m.onnx", pixels / 255), "--layout", "nhwc")
    assert fixed.code == 7
    assert "leave --layout out" in fixed.stderr


@pytest.mark.parametrize("option", [("--input", "image"), ("--layout", "nchw")])
def test_input_and_layout_are_for_a_model(pixels, tmp_path, run_cli, option):
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), *option)
    assert (done.code, done.stdout) == (2, "")
    assert "are for --model" in done.stderr


def test_what_is_no_model_is_exit_7(pixels, tmp_path, run_cli):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    done = run_cli("verify", write_like_tao(tmp_path / "f", pixels / 255), "--model", tmp_path / "m.onnx")
    assert (done.code, done.stdout) == (7, "")


def test_without_onnx(pixels, tmp_path):
    file = write_like_tao(tmp_path / "f", pixels / 255)
    program = (
        "import sys\n"
        "sys.modules['onnx'] = sys.modules['onnxruntime'] = None\n"
        "from int8cal.cli.app import run\n"
        f"sys.exit(run(['verify', {str(file)!r}, '--model', 'm.onnx']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "the extra [quantize] stands for" in done.stderr
