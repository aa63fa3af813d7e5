"""ONNX files that cost nothing to write and much to use: the commands refuse them, within a second and 200 MB."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.hostile.command import MEBIBYTES, SECONDS, assert_refused, measure
from tests.hostile.test_onnx import HOSTILE, Make, field, saved, varint, with_external

from int8cal.models.binding import MAX_FIXED_BATCH

SHAPE = (2, 3, 8, 8)
MANY = 100_000


def tensorfile(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["count"] = 1
        file.attrs["shape"] = SHAPE
        values = np.linspace(0, 1, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
        file.create_group("_tensorfile_array_key__0").create_dataset("_tensorfile_array_key_", data=values)


def conv(*nodes: onnx.NodeProto, output: str = "y", batch: int | str = "N", **weights: np.ndarray) -> onnx.ModelProto:
    """A model with something to quantise, and more nodes after it."""
    weights = {"w": np.ones((4, 3, 1, 1), np.float32), **weights}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"]), *nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *SHAPE[1:]])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chain(first: str, count: int = 200) -> list[onnx.NodeProto]:
    names = [first, *(f"e{number}" for number in range(count))]
    return [helper.make_node("Relu", [one], [two]) for one, two in itertools.pairwise(names)]


def with_raw(path: Path, *fields: bytes) -> None:
    """More bytes behind the model's own, which protobuf takes for more of its graph."""
    path.write_bytes(conv().SerializeToString() + field(7, b"".join(fields)))


def many_dimensions_of_a_tensor(path: Path) -> None:
    dims = field(1, varint((1 << 63) - 1) * 40_000)
    with_raw(path, field(5, dims + varint(2 << 3) + varint(1) + field(8, b"q")))


def many_dimensions_of_a_value(path: Path) -> None:
    model = conv()
    model.graph.value_info.append(helper.make_tensor_value_info("q", TensorProto.FLOAT, [1 << 62] * 20_000))
    saved(path, model)


def many_dimensions_of_noise(path: Path) -> None:
    saved(path, conv(helper.make_node("RandomNormal", [], ["r"], shape=[1] * MANY), *chain("r")))


def many_dimensions_of_a_reshape(path: Path) -> None:
    reshape = helper.make_node("Reshape", ["one", "shape"], ["r"])
    saved(path, conv(reshape, *chain("r"), one=np.ones(1, np.float32), shape=np.ones(MANY, np.int64)))


def dimensions_that_double(path: Path) -> None:
    """Each Gather has twice the dimensions of the one before."""
    gathers = [helper.make_node("Gather", [f"k{level}", f"k{level}"], [f"k{level + 1}"]) for level in range(24)]
    saved(path, conv(helper.make_node("Cast", ["x"], ["k0"], to=TensorProto.INT64), *gathers))


def packed_values(path: Path) -> None:
    with_raw(path, field(5, varint(2 << 3) + varint(7) + field(7, bytes(32 << 20)) + field(8, b"q")))


def packed_attribute(path: Path) -> None:
    attribute = field(1, b"foo") + field(8, bytes(32 << 20)) + varint(20 << 3) + varint(7)
    with_raw(path, field(1, field(4, b"Relu") + field(1, b"y") + field(2, b"z") + field(5, attribute)))


def floats_of_an_attribute(path: Path) -> None:
    attribute = field(1, b"foo") + field(7, bytes(32 << 20)) + varint(20 << 3) + varint(6)
    with_raw(path, field(1, field(4, b"Relu") + field(1, b"y") + field(2, b"z") + field(5, attribute)))


def _sparse(path: Path, number: int, size: int) -> None:
    """A hole of that size as a field of a tensor of one value."""
    tensor = field(1, varint(1)) + varint(2 << 3) + varint(1) + field(8, b"q") + varint(number << 3 | 2) + varint(size)
    model = conv().SerializeToString()
    graph = varint(5 << 3 | 2) + varint(len(tensor) + size) + tensor
    with path.open("wb") as file:
        file.write(model + varint(7 << 3 | 2) + varint(len(graph) + size) + graph)
        file.truncate(file.tell() + size)


def external_too_large(path: Path) -> None:
    with (path.parent / "w.bin").open("wb") as file:
        file.truncate(1500 << 20)
    with_external(path, "w.bin")


def computed_size(path: Path) -> None:
    """Two gigabytes, by way of an exponential that no shape inference follows."""
    nodes = [
        helper.make_node("Exp", ["k"], ["e"]),
        helper.make_node("Cast", ["e"], ["i"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["i"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0),
        helper.make_node("Add", ["y", "s"], ["z"]),
    ]
    saved(path, conv(*nodes, output="z", k=np.array([20], np.float32)))


def size_by_the_images(path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "k"], ["p"]),
        helper.make_node("Cast", ["p"], ["i"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["i", "one"], ["r"]),
        helper.make_node("ConstantOfShape", ["r"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0),
        helper.make_node("Add", ["y", "s"], ["z"]),
    ]
    saved(path, conv(*nodes, output="z", k=np.array(4e10, np.float32), one=np.array([1], np.int64)))


def long_pooling(path: Path, batch: int | str = "N") -> None:
    """One node that compares for minutes, in little memory."""
    nodes = [
        helper.make_node("Resize", ["y", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[801, 801], pads=[400] * 4),
        helper.make_node("ReduceMean", ["p"], ["m"], keepdims=0),
        helper.make_node("Add", ["y", "m"], ["z"]),
    ]
    saved(path, conv(*nodes, output="z", batch=batch, scales=np.array([1, 1, 128, 128], np.float32)))


def long_pooling_of_a_batch(path: Path) -> None:
    """Most of the batch is filled up."""
    long_pooling(path, batch=16)


def long_folding(path: Path) -> None:
    """The same of constants, which are computed when the model is loaded."""
    nodes = [
        helper.make_node("Resize", ["k", "", "scales"], ["r"], mode="nearest"),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[801, 801], pads=[400] * 4),
        helper.make_node("ReduceMean", ["p"], ["m"], keepdims=0),
        helper.make_node("Add", ["y", "m"], ["z"]),
    ]
    constants = {"k": np.ones((1, 1, 32, 32), np.float32), "scales": np.array([1, 1, 32, 32], np.float32)}
    saved(path, conv(*nodes, output="z", **constants))


def many_outputs(path: Path) -> None:
    model = conv(*(helper.make_node("Relu", ["y"], [f"z{number}"]) for number in range(3000)))
    model.graph.output.extend(
        helper.make_tensor_value_info(f"z{number}", TensorProto.FLOAT, ["N", 4, 8, 8]) for number in range(3000)
    )
    saved(path, model)


def huge_batch(path: Path) -> None:
    saved(path, conv(batch=1 << 20))


COSTLY: dict[str, Make] = {
    "dimensions of a tensor": many_dimensions_of_a_tensor,
    "dimensions of a value": many_dimensions_of_a_value,
    "dimensions of noise": many_dimensions_of_noise,
    "dimensions of a reshape": many_dimensions_of_a_reshape,
    "dimensions that double": dimensions_that_double,
    "packed values": packed_values,
    "packed attribute": packed_attribute,
    "floats of an attribute": floats_of_an_attribute,
    "a hole of packed values": lambda path: _sparse(path, 7, 300 << 20),
    "a hole of raw data": lambda path: _sparse(path, 9, 1500 << 20),
    "a hole of nothing known": lambda path: _sparse(path, 99, 1500 << 20),
    "external data too large": external_too_large,
    "many outputs": many_outputs,
}
COSTLY_TO_RUN: dict[str, Make] = {
    "a computed size": computed_size,
    "a size by the images": size_by_the_images,
    "a huge batch": huge_batch,
}


@pytest.mark.parametrize("name", [*COSTLY, *COSTLY_TO_RUN, *HOSTILE])
def test_quantize_refuses(name: str, tmp_path: Path) -> None:
    tensorfile(tmp_path / "f")
    {**HOSTILE, **COSTLY, **COSTLY_TO_RUN}[name](tmp_path / "model.onnx")

    assert_refused(7, "quantize", "model.onnx", "f", "-o", "int8.onnx", cwd=tmp_path)

    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize(
    "command",
    [["verify", "f", "--model", "model.onnx"], ["compare", "model.onnx", "model.onnx", "f"]],
    ids=lambda command: command[0],
)
def test_other_commands_refuse(name: str, command: list[str], tmp_path: Path) -> None:
    tensorfile(tmp_path / "f")
    COSTLY[name](tmp_path / "model.onnx")

    assert_refused(7, *command, cwd=tmp_path)


@pytest.mark.parametrize("make", COSTLY_TO_RUN.values(), ids=COSTLY_TO_RUN)
def test_verify_refuses_a_model_that_cannot_be_run(make: Make, tmp_path: Path) -> None:
    """It is not a fault of the file."""
    tensorfile(tmp_path / "f")
    make(tmp_path / "model.onnx")

    said = assert_refused(7, "verify", "f", "--model", "model.onnx", cwd=tmp_path)

    assert "error: model.onnx: " in said
    assert "do not use this file" not in said


_IN_A_SECOND = """
from int8cal.cli import main
from int8cal.guard import onnx_bounds
onnx_bounds._ANY_SECONDS = 1.0
main()
"""


@pytest.mark.parametrize(("make", "seconds"), [(long_pooling, 1), (long_pooling_of_a_batch, 2), (long_folding, 1)])
@pytest.mark.parametrize(
    "command",
    [
        ["quantize", "model.onnx", "f", "-o", "int8.onnx"],
        ["compare", "model.onnx", "model.onnx", "f", "--json"],
        ["verify", "f", "--model", "model.onnx"],
    ],
    ids=lambda command: command[0],
)
def test_what_computes_too_long_ends(command: list[str], make: Make, seconds: int, tmp_path: Path) -> None:
    """No signal and no flag reaches ONNX Runtime within a node."""
    tensorfile(tmp_path / "f")
    make(tmp_path / "model.onnx")
    before = sorted(os.listdir(tmp_path))

    done = subprocess.run(
        [sys.executable, "-c", _IN_A_SECOND, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 7, done.stderr
    if "--json" in command:
        error = json.loads(done.stdout)["error"]
        place, said = error["where"], error["message"]
    else:
        _, _, place, said = done.stderr.splitlines()[-2].split(": ", 3)
    assert (place, said) == ("model.onnx", f"the model has computed for more than {seconds} s of processor time")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("limit", ["-d 1000000", "-Sd 1000000", "-s 4000000"], ids=["data", "soft", "stacks"])
def test_limits_of_the_user_are_no_fault_of_the_model(limit: str, tmp_path: Path) -> None:
    """A hard limit is not raised; a thread whose stack is as large as the user's limit does not start."""
    tensorfile(tmp_path / "f")
    saved(tmp_path / "model.onnx", conv())
    command = f"ulimit {limit} && exec {sys.executable} -m int8cal quantize model.onnx f -o int8.onnx"

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_model_without_its_bomb_is_quantised(tmp_path: Path) -> None:
    """The same model and file that the bombs above are added to."""
    tensorfile(tmp_path / "f")
    saved(tmp_path / "model.onnx", conv(batch=MAX_FIXED_BATCH))

    measured = measure("quantize", "model.onnx", "f", "-o", "int8.onnx", cwd=tmp_path)

    assert measured.code == 0, measured.said
    assert measured.seconds < SECONDS
    assert measured.mebibytes < MEBIBYTES


def test_outputs_whose_size_the_images_decide_are_run(tmp_path: Path) -> None:
    """As exported detectors end: what is found, by NonMaxSuppression."""
    tensorfile(tmp_path / "f")
    nodes = [
        helper.make_node("Reshape", ["y", "boxes"], ["b"]),
        helper.make_node("Reshape", ["y", "scores"], ["s"]),
        helper.make_node("NonMaxSuppression", ["b", "s", "most"], ["found"]),
    ]
    shapes = {"boxes": np.array([0, -1, 4]), "scores": np.array([0, 4, -1]), "most": np.array([5])}
    model = conv(*nodes, output="found", **shapes)
    model.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.INT64, ["K", 3]))
    saved(tmp_path / "model.onnx", model)

    measured = measure("quantize", "model.onnx", "f", "-o", "int8.onnx", "--no_agreement", cwd=tmp_path)

    assert measured.code == 0, measured.said
