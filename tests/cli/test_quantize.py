"""``int8cal quantize`` and ``compare`` as a user types them, on the demo's models."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest

from int8cal.demo.evaluate import CLASSIFIER, DETECTOR, pictures
from int8cal.preprocess import imagenet
from int8cal.tensorfile.checksums import image_checksum
from int8cal.tensorfile.chunks import Compression
from int8cal.tensorfile.layout import SampleRow
from int8cal.tensorfile.writer import TensorFileWriter

MODEL = str(CLASSIFIER)


def write_tensorfile(path: Path, seed: int, count: int = 8) -> str:
    compression = Compression.named("fast")
    with TensorFileWriter(str(path), (4, 3, 64, 64), compression) as writer:
        for image, _ in pictures(seed, count):
            writer.append(compression.encode(imagenet.torch(imagenet.channels_first(image))))
        writer.finish({}, [])
    return str(path)


@pytest.fixture(scope="session")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tensorfile(tmp_path_factory.mktemp("cal") / "cal.tensor", seed=5)


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tensorfile(tmp_path_factory.mktemp("cal") / "eval.tensor", seed=6)


def test_model_cache_and_agreement(run_cli: Any, tensor: str, held_out: str, tmp_path: Path) -> None:
    done = run_cli(
        "quantize",
        MODEL,
        tensor,
        "-o",
        "int8.onnx",
        "--eval",
        held_out,
        "--trt-cache",
        "cal.bin",
        "--trt_version",
        "10.3.0",
    )

    assert done.code == 0, done.stderr
    assert "cal.bin: calibration cache, to use with the float model and TensorRT 10.3.0 only" in done.stdout
    onnx.checker.check_model(tmp_path / "int8.onnx", full_check=True)
    assert (tmp_path / "cal.bin").read_text().startswith("TRT-100300-EntropyCalibration2\ninput_1: ")
    assert "in-sample (images used to calibrate), 8 images" in done.stdout
    assert "held-out, 8 images" in done.stdout
    assert "worst layers" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cal.bin", "int8.onnx"]
    again = ["quantize", MODEL, tensor, "-o", "b.onnx", "--trt_cache", "b.bin", "--trt_version", "10.3.0", "--json"]
    unlisted = json.loads(run_cli(*again).stdout)["quantize"]["unlisted"]
    assert unlisted
    assert f"not listed there: {len(unlisted)} tensors merged into others" in done.stdout
    assert not any(f"{name}: " in (tmp_path / "cal.bin").read_text() for name in unlisted)


def test_images_used_to_calibrate_are_not_called_held_out(run_cli: Any, tensor: str, tmp_path: Path) -> None:
    (tmp_path / "copy.tensor").write_bytes(Path(tensor).read_bytes())

    done = run_cli("quantize", MODEL, tensor, "-o", "int8.onnx", "--eval", "copy.tensor", "--no_agreement")

    assert done.code == 0, done.stderr
    assert "NOT held-out (8 images of the file of --eval used to calibrate), 8 images:" in done.stdout


def test_a_picture_stored_with_other_values_is_the_same_picture(run_cli: Any, tmp_path: Path) -> None:
    compression, name = Compression.named("none"), "{}.tensor".format
    for scale in (1, 2):
        checksums = []
        with TensorFileWriter(str(tmp_path / name(scale)), (4, 3, 64, 64), compression) as writer:
            for image, _ in pictures(5, 4):
                values = imagenet.torch(imagenet.channels_first(image)) * np.float32(scale)
                writer.append(compression.encode(values))
                checksums.append(image_checksum(values))
            rows = [
                SampleRow(
                    0,
                    number,
                    0,
                    b"",
                    b"",
                    -1,
                    0,
                    64,
                    64,
                    100,
                    hashlib.sha256(bytes([number, scale // 2 * (number > 0)])).digest(),
                    checksums[number],
                )
                for number in range(4)
            ]
            writer.finish({}, rows)

    done = run_cli("quantize", MODEL, name(1), "-o", "int8.onnx", "--eval", name(2), "--no_agreement", "--json")

    assert json.loads(done.stdout)["quantize"]["shared_images"] == 1


def test_nothing_is_published_when_a_sample_table_is_damaged(run_cli: Any, tensor: str, tmp_path: Path) -> None:
    write_tensorfile(tmp_path / "damaged.tensor", seed=6)
    with h5py.File(tmp_path / "damaged.tensor", "a") as file:
        file.pop("int8cal_samples", None)
        file["int8cal_samples"] = np.zeros(8, np.int64)
    arguments = ["--eval", "damaged.tensor", "--trt_cache", "cal.bin", "--trt_version", "10.3.0", "--no_agreement"]

    done = run_cli("quantize", MODEL, tensor, "-o", "int8.onnx", *arguments)

    assert done.code == 6
    assert "damaged.tensor: the sample table has other columns" in done.stderr
    assert os.listdir(tmp_path) == ["damaged.tensor"]


def test_json_holds_everything(run_cli: Any, tensor: str, held_out: str) -> None:
    arguments = ["--method", "percentile", "--percentile", "99.9", "--exclude", "/predictions/*", "--eval", held_out]
    done = run_cli("quantize", MODEL, tensor, "-o", "int8.onnx", *arguments, "--json")

    facts = json.loads(done.stdout)["quantize"]
    assert (facts["method"], facts["percentile"], facts["images"]) == ("percentile", 99.9, 8)
    assert facts["excluded"] == ["/predictions/Gemm"]
    assert facts["input"] == {"name": "input_1", "layout": "nchw"}
    assert facts["held_out"]["outputs"][0]["name"] == "predictions/Softmax"
    assert facts["held_out"]["outputs"][0]["top1"] == 1.0
    assert facts["bytes"]["float"] == os.path.getsize(MODEL)


def test_compare_prints_and_draws(run_cli: Any, tensor: str, held_out: str, tmp_path: Path) -> None:
    run_cli("quantize", MODEL, tensor, "-o", "int8.onnx", "--no_agreement")

    done = run_cli("compare", MODEL, "int8.onnx", held_out, "--html", "page.html")

    assert done.code == 0, done.stderr
    assert "predictions/Softmax" in done.stdout
    assert "100.00%" in done.stdout
    assert "predictions/Softmax" in (tmp_path / "page.html").read_text()
    facts = json.loads(run_cli("compare", MODEL, MODEL, held_out, "--max-images", "3", "--json").stdout)["compare"]
    assert facts["images"] == 3
    assert facts["outputs"][0]["sqnr_db"] is None
    assert facts["outputs"][0]["varying_sqnr_db"] is None


def test_a_model_that_is_not_quantised_gets_no_praise(run_cli: Any, tensor: str, held_out: str, tmp_path: Path) -> None:
    run_cli("quantize", MODEL, tensor, "-o", "int8.onnx", "--no_agreement")
    for other, is_int8 in (("int8.onnx", True), (MODEL, False)):
        done = run_cli("compare", MODEL, other, held_out, "--html", "page.html", "--overwrite")
        assert done.code == 0, done.stderr
        said = "the second model is not quantised: the figures say nothing of INT8"
        assert (f"warning: {other}: {said}" in done.stderr) != is_int8
        assert (f"verdict: not measured ({said})" in done.stdout) != is_int8
        assert ("What INT8 changes is small" in done.stdout) == ("trtexec" in done.stdout) == is_int8
        makes_one = f"int8cal quantize {MODEL} CALIBRATION.tensor -o MODEL.int8.onnx --eval {held_out}"
        assert (makes_one in done.stdout) != is_int8
        page = (tmp_path / "page.html").read_text()
        assert ("<strong>Not measured</strong>" in page and said in page) != is_int8
        found = run_cli("compare", MODEL, other, held_out, "--json")
        assert found.code == 0
        facts = json.loads(found.stdout)["compare"]
        assert (facts["is_quantised"], facts["verdict"]["level"]) == (is_int8, "good" if is_int8 else "not measured")
        assert (facts["verdict"]["reason"] == said) != is_int8


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_not_finite_are_the_models_fault(
    run_cli: Any, tensor: str, tmp_path: Path, value: float
) -> None:
    model = onnx.load(MODEL)
    read = {name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]}
    weight = next(one for one in model.graph.initializer if one.name in read)
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[3] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "broken.onnx")
    for words in (("quantize", "broken.onnx", tensor, "-o", "q.onnx"), ("verify", tensor, "--model", "broken.onnx")):
        done = run_cli(*words)
        assert done.code == 7
        assert f"weight {weight.name!r} holds infinite or undefined values" in done.stderr
        assert "do not use this file" not in done.stderr


def _behind(model: onnx.ModelProto, operator: str, *constants: float) -> None:
    """Put a node behind the output of a model, whose name it takes over."""
    last, name = model.graph.node[-1], model.graph.output[0].name
    last.output[0] = "before"
    names = [f"constant{number}" for number in range(len(constants))]
    for one, value in zip(names, constants, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), one))
    model.graph.node.append(onnx.helper.make_node(operator, ["before", *names], [name]))


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        pytest.param({"float.onnx": ("Sub", -np.nan)}, 7, "the float model gives undefined values (NaN)", id="NaN"),
        pytest.param(
            {"float.onnx": ("Sub", np.nan), "int8.onnx": ("Sub", np.nan)},
            7,
            "the float model gives undefined values (NaN)",
            id="NaN in both",
        ),
        pytest.param(
            {"int8.onnx": ("Sub", np.nan)},
            0,
            "only the INT8 model gives infinite or undefined values",
            id="NaN in INT8",
        ),
        pytest.param(
            {"float.onnx": ("Add", np.inf)}, 0, "only the float model gives infinite or undefined values", id="infinite"
        ),
        pytest.param(
            {"float.onnx": ("Add", np.inf), "int8.onnx": ("Sub", np.inf)},
            0,
            "both models give infinite or undefined values, and not the same",
            id="infinite in both",
        ),
        pytest.param({"float.onnx": ("Shape",)}, 7, "no output could be compared", id="another shape"),
    ],
)
def test_compare_blames_the_model_that_gives_no_numbers(
    run_cli: Any, tensor: str, tmp_path: Path, changes: dict[str, Any], code: int, said: str
) -> None:
    for name in ("float.onnx", "int8.onnx"):
        model = onnx.load(MODEL)
        if name in changes:
            _behind(model, *changes[name])
        if "Shape" in changes.get(name, ()):
            model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
            model.graph.output[0].type.tensor_type.ClearField("shape")
        (tmp_path / name).write_bytes(model.SerializeToString())

    done = run_cli("compare", "float.onnx", "int8.onnx", tensor)

    assert done.code == code, done.stderr
    assert said in (done.stderr if code else done.stdout)
    assert ("Next:" in done.stdout) == (not code)
    assert "trtexec" not in done.stdout
    facts = run_cli("compare", "float.onnx", "int8.onnx", tensor, "--json")
    assert facts.code == code
    found = json.loads(facts.stdout)["compare"]["outputs"]
    blamed = [word for word, at in (("INT8", "int8.onnx"), ("float", "float.onnx")) if at in changes]
    assert [output["not_finite_in"] for output in found] == ([] if "no output" in said else [blamed])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["quantize", "model.etlt", "TENSOR", "-o", "o"], 7, "tao model NETWORK export"),
        (["quantize", "model.pt", "TENSOR", "-o", "o"], 7, "torch.onnx.export"),
        (["quantize", "nosuch.onnx", "TENSOR", "-o", "o"], 7, "Give the path of a float model in ONNX"),
        (["quantize", MODEL, "TENSOR"], 2, "Missing option"),
        (["quantize", MODEL, "TENSOR", "-o", "o", "--trt_cache", "c"], 2, "--trt_version"),
        (["quantize", MODEL, "TENSOR", "-o", "o", "--trt_cache", "c", "--trt_version", "10.3"], 2, "X.Y.Z"),
        (
            ["quantize", MODEL, "TENSOR", "-o", "o", "--trt_cache", "c", "--trt_version", "11.0.0"],
            2,
            "no calibration caches",
        ),
        (["quantize", MODEL, "TENSOR", "-o", "o", "--eval", "TENSOR"], 2, "evaluation file is the calibration file"),
        (["quantize", MODEL, "TENSOR", "-o", "o", "--exclude", "nosuch"], 7, "no node fits"),
        (["quantize", MODEL, "nosuch.tensor", "-o", "o"], 6, "no such file"),
        (["quantize", MODEL, MODEL, "-o", "o"], 6, "is an ONNX model, and not a tensorfile"),
        (["quantize", MODEL, MODEL, "-o", "o"], 6, "the model first: MODEL.onnx FILE"),
        (["quantize", "TENSOR", MODEL, "-o", "o"], 7, "Name the ONNX model first and the tensorfile behind it"),
        (["compare", MODEL, "TENSOR", MODEL], 7, "Name the ONNX model first and the tensorfile behind it"),
        (["quantize", __file__, "TENSOR", "-o", "o"], 7, "Give the path of a float model in ONNX"),
        (
            ["quantize", MODEL, "TENSOR", "-o", "o", "--method", "percentile", "--percentile", "0.9999"],
            2,
            "It is in percent, e.g. 99.99",
        ),
        (["compare", MODEL, str(DETECTOR), "TENSOR"], 7, "different outputs"),
        (["compare", MODEL, "nosuch.onnx", "TENSOR", "--html", MODEL], 5, "already exists"),
        (["compare", MODEL, "nosuch.onnx", "TENSOR", "--html", "TENSOR", "--overwrite"], 5, "is made from"),
        (["quantize", MODEL, "TENSOR", "-o", "o", "--percentile", "99"], 2, "--percentile is for --method percentile"),
    ],
)
def test_user_errors_are_two_lines_with_the_right_code(
    run_cli: Any, tensor: str, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run_cli(*[tensor if argument == "TENSOR" else argument for argument in arguments])

    assert done.code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_the_pip_line_is_given(run_process: Any, tensor: str, tmp_path: Path, package: str) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / f"{package}.py").write_text("raise ImportError('blocked')\n")
    search = os.pathsep.join([str(blocked), *filter(None, sys.path)])

    done = run_process("quantize", MODEL, tensor, "-o", "int8.onnx", env={"PYTHONPATH": search})

    assert done.code == 8
    assert "the extra [quantize] stands for" in done.stderr


@pytest.mark.parametrize("contributed", [False, True], ids=["standard", "contributed"])
def test_nothing_is_left_in_the_users_home(
    run_process: Any, tensor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contributed: bool
) -> None:
    """ONNX Runtime's telemetry would keep an identity there. Its own operators are asked for before any session."""
    model = onnx.load(MODEL)
    if contributed:
        output = model.graph.output[0].name
        model.graph.node.append(onnx.helper.make_node("Gelu", [output], ["gelu"], domain="com.microsoft"))
        model.graph.output.append(onnx.helper.make_tensor_value_info("gelu", onnx.TensorProto.FLOAT, None))
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    path = str(tmp_path / "model.onnx")
    onnx.save(model, path)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    done = run_process("compare", path, path, tensor, env={"HOME": str(home), "XDG_CACHE_HOME": ""})
    assert done.code == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_a_full_temporary_folder_is_no_fault_of_the_model(
    run_cli: Any, tensor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    real = shutil.disk_usage
    full = real(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full if str(path) == str(folder) else real(path))

    done = run_cli("quantize", MODEL, tensor, "-o", str(tmp_path / "x.onnx"))

    assert done.code == 5
    assert f"error: {folder}: about" in done.stderr
    assert "TMPDIR" in done.stderr


def test_a_limit_on_the_size_of_files_is_not_the_models_fault(tensor: str, tmp_path: Path) -> None:
    command = f"ulimit -f 16; exec {sys.executable} -m int8cal quantize {MODEL} {tensor} -o {tmp_path}/int8.onnx"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "this process may write 0.016 MB" in done.stderr
    assert "ulimit -f" in done.stderr


def test_nan_in_a_tensorfile_is_found(run_cli: Any, tmp_path: Path) -> None:
    compression = Compression.named("none")
    with TensorFileWriter(str(tmp_path / "nan.tensor"), (1, 3, 64, 64), compression) as writer:
        writer.append(compression.encode(np.full((3, 64, 64), np.nan, np.float32)))
        writer.finish({}, [])

    done = run_cli("quantize", MODEL, "nan.tensor", "-o", "int8.onnx")

    assert done.code == 7
    assert "infinite or undefined" in done.stderr


def test_names_from_models_are_shown_harmless_and_aligned(run_cli: Any, tensor: str, tmp_path: Path) -> None:
    model = onnx.load(MODEL)
    name = "\x1b[31mred"
    model.graph.node[-1].output[0] = model.graph.output[0].name = name
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    done = run_cli("compare", "m.onnx", "m.onnx", tensor)

    assert "\x1b" not in done.stdout
    _, heading, row, *_ = done.stdout.splitlines()
    assert row.startswith("  \\x1b[31mred  ")
    assert len(heading) == len(row)
