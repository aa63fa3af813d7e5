"""INT8 models from ranges that exist already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner
from tests.tao_exports import EXPORTS
from tests.unit.models.conftest import Images

from int8cal.cli.app import cli
from int8cal.errors import OutputError, UseError
from int8cal.models.quantize import quantize
from int8cal.models.scales import quantize_from_scales
from int8cal.tensorrt.cache import read_cache


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A float model with plug-ins behind and between its layers, its INT8 model, and the cache."""
    folder = tmp_path_factory.mktemp("calibrated")
    model, out, cache = folder / "model.onnx", folder / "int8.onnx", folder / "cal.bin"
    model.write_bytes(EXPORTS["faster_rcnn"]().SerializeToString())
    images = Images(batches=2, shape=(2, 3, 64, 96))
    quantize(model, images, out, trt_cache=cache, trt_version="10.3.0", method="minmax")
    return model, out, cache


def computed_part(path: Path) -> bytes:
    """A model without the record of what it was made from."""
    made = onnx.load(path)
    del made.metadata_props[:]
    return made.SerializeToString()


def float_layers(path: Path) -> set[str]:
    graph = onnx.load(path).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "ConvTranspose", "Gemm")]
    return {node.name for node in layers if made.get(node.input[1]) != "DequantizeLinear"}


def cache_of(folder: Path, cache: Path, change: Any, header: str = "TRT-8501-EntropyCalibration2") -> Path:
    """The cache with other lines: ``change`` gets name → hex digits."""
    lines = dict(line.rsplit(": ", 1) for line in cache.read_text().splitlines()[1:])
    change(lines)
    path = folder / "changed.bin"
    path.write_text("\n".join([header, *(f"{name}: {digits}" for name, digits in lines.items())]) + "\n")
    return path


def test_the_cache_of_a_model_gives_the_model_that_was_made_with_it(
    calibrated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, out, cache = calibrated

    report = quantize_from_scales(model, cache, tmp_path / "again.onnx")

    assert computed_part(tmp_path / "again.onnx") == computed_part(out)
    assert (report.lacking, report.not_in_model, report.unusable, report.held_out) == ({}, (), {}, None)
    assert report.nodes > 10


def test_what_has_no_usable_range_stays_float_and_is_named(calibrated: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, out, cache = calibrated
    impossible = {"add_1": "7f800000", "rpn_conv1/relu": "bf800000"}

    def change(lines: dict[str, str]) -> None:
        lines.update(impossible)
        lines["add_2/relu"], lines["add_3/relu"] = "0", "1"
        del lines["crop_and_resize_1/Reshape_1:0"]
        lines["(Unnamed Layer* 3) [Shuffle]_output"] = lines["fused_away"] = "3c010204"

    path = cache_of(tmp_path, cache, change, header="1")

    report = quantize_from_scales(model, path, tmp_path / "int8.onnx")

    assert set(report.unusable) == set(impossible)
    assert report.without_range == ("add_2/relu", "add_3/relu")
    assert report.not_in_model == ("(Unnamed Layer* 3) [Shuffle]_output", "fused_away")
    expected = {"block_2a_node", "block_2a_shortcut_node", "block_3a_node", "block_3a_shortcut_node", "block_4a_node"}
    assert expected <= set(report.lacking)
    assert report.lacking["block_2a_node"] == "add_1"
    assert float_layers(tmp_path / "int8.onnx") - float_layers(out) == {
        name for name in report.lacking if name in {node.name for node in onnx.load(model).graph.node}
    } & float_layers(tmp_path / "int8.onnx")
    assert "conv1_node" not in float_layers(tmp_path / "int8.onnx")
    scales = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }
    assert all((scale > 0).all() for name, scale in scales.items() if name.endswith("_scale"))


def test_thresholds_of_quantisation_aware_training_are_taken_by_keras_names(
    calibrated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """TAO writes what Keras calls the tensors, with and without ``:0``."""
    model, out, cache = calibrated
    amax = read_cache(cache).amax
    names = {name.removesuffix(":0") if ":0" in name else f"{name}:0": value for name, value in amax.items()}
    (tmp_path / "model.onnx.json").write_text(json.dumps({"tensor_scales": names}))

    report = quantize_from_scales(model, tmp_path / "model.onnx.json", tmp_path / "int8.onnx")

    assert computed_part(tmp_path / "int8.onnx") == computed_part(out)
    assert report.not_in_model == ()


def test_exclusions_hold_and_agreement_is_measured_where_there_are_images(
    calibrated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, _, cache = calibrated

    report = quantize_from_scales(
        model,
        cache,
        tmp_path / "int8.onnx",
        exclude=["rpn_*"],
        evaluation=Images(batches=1, shape=(2, 3, 64, 96), seed=3),
    )

    assert report.held_out is not None
    assert report.held_out.images == 2
    assert report.verdict is not None
    assert {"rpn_conv1_node", "rpn_out_class_node"} <= float_layers(tmp_path / "int8.onnx")
    assert report.lacking == {}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({"other": "3c010204"}, "none of the 1 tensors with a range is one of the model's"),
        ({"input_image": "0", "conv1": "7f800000"}, "the file has no range of any tensor"),
        ({}, "the file has no range of any tensor"),
        ({"nms_out": "3c010204"}, "no range for what any layer reads"),
    ],
)
def test_a_file_that_is_of_no_use_for_the_model(
    lines: dict[str, str], says: str, calibrated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, _, cache = calibrated

    def change(found: dict[str, str]) -> None:
        found.clear()
        found.update(lines)

    path = cache_of(tmp_path, cache, change)
    with pytest.raises(UseError, match=says) as caught:
        quantize_from_scales(model, path, tmp_path / "int8.onnx")
    assert caught.value.exit_code == 7
    assert str(caught.value).startswith(str(path))
    assert not (tmp_path / "int8.onnx").exists()


def test_neither_source_is_replaced(calibrated: tuple[Path, Path, Path]) -> None:
    model, _, cache = calibrated
    for path in (model, cache):
        before = path.read_bytes()
        with pytest.raises(OutputError):
            quantize_from_scales(model, cache, path, overwrite=True)
        assert path.read_bytes() == before


def test_command_line(calibrated: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model, made, cache = calibrated
    out = str(tmp_path / "int8.onnx")

    done = CliRunner().invoke(cli, ["quantize", str(model), "--scales", str(cache), "-o", out])

    assert done.exit_code == 0, done.output
    assert "agreement and verdict: not measured" in done.stdout
    assert computed_part(Path(out)) == computed_part(Path(made))
    told = CliRunner().invoke(cli, ["quantize", str(model), "--scales", str(cache), "-o", out, "--overwrite", "--json"])
    assert json.loads(told.stdout)["quantize"]["verdict"] is None


@pytest.mark.parametrize(
    "more",
    [
        ["f.tensor"], ["--method", "entropy"], ["--bias_correction"], ["--trt_cache", "c", "--trt_version", "8.5.1"],
        ["--deepstream", "d.txt"], ["--min_agreement", "20"], ["--full_range_weights"], ["--size", "32x32"],
        ["--force"], ["--precision", "fp16"], ["--target", "onnxruntime"], ["--keep", "k.tensor"],
    ],
)  # fmt: skip
def test_what_needs_images_is_no_use_with_scales(
    more: list[str], calibrated: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    model, _, cache = calibrated

    done = CliRunner().invoke(cli, ["quantize", str(model), *more, "--scales", str(cache), "-o", str(tmp_path / "o")])

    assert done.exit_code == 2
    assert f"leave out {'FILE' if more == ['f.tensor'] else more[0]}" in done.output
    assert not (tmp_path / "o").exists()
