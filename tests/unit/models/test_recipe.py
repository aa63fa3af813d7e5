"""INT8 models that say how they were made, and DeepStream's configuration beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
from tests.unit.models.conftest import Images

from int8cal.errors import OutputError, OutputExistsError, UsageError, UseError
from int8cal.io.files import OutputFile
from int8cal.models.quantize import quantize
from int8cal.models.recipe import reproduce

MakeModel = Callable[..., Path]


def recipe_of(path: Path) -> dict[str, Any]:
    return next(json.loads(entry.value) for entry in onnx.load(path).metadata_props if entry.key == "int8cal")


class TestReproduce:
    def test_the_same_model_comes_out_again_from_its_own_record(self, make_model: MakeModel, tmp_path: Path) -> None:
        source, out = make_model(), tmp_path / "o"
        report = quantize(source, Images(), out, exclude=["head"], fold_weights=True)

        record = recipe_of(out)
        assert (record["method"], record["chosen_by"], record["images"]) == (report.method, "auto", 16)
        assert record["exclude"] == ["head"]
        assert not any(str(tmp_path) in str(value) for value in record.values())
        done = reproduce(source, Images(), out)
        assert (done.is_same, done.differences) == (True, ())

    def test_what_differs_is_named(self, make_model: MakeModel, tmp_path: Path) -> None:
        source, out = make_model(), tmp_path / "o"
        quantize(source, Images(), out, method="minmax")

        done = reproduce(source, Images(seed=3), out)
        assert not done.is_same
        assert [line.split(":")[0] for line in done.differences[:2]] == ["images_sha256", "image_scale"]

    def test_another_float_model_is_told_before_the_work(self, make_model: MakeModel, tmp_path: Path) -> None:
        def other(model: onnx.ModelProto) -> None:
            for node in model.graph.node:
                node.name = f"other/{node.name}"

        quantize(make_model(), Images(), tmp_path / "o", method="minmax", exclude=["head"])

        with pytest.raises(UseError, match=r"is not the float model that .*o was made of") as caught:
            reproduce(make_model("other.onnx", change=other), Images(), tmp_path / "o")
        assert str(caught.value.where).endswith("other.onnx")

    def test_a_record_of_other_types_is_damaged(self, make_model: MakeModel, tmp_path: Path) -> None:
        out = tmp_path / "o"
        quantize(make_model(), Images(), out, method="minmax", agreement=False)
        model, record = onnx.load(out), recipe_of(out)
        for choice, value in (
            ("method", "auto"), ("percentile", "x"), ("percentile", None), ("exclude", "c1"), ("exclude", [["a"]]),
            ("target", []), ("precision", []), ("equalize", "yes"), ("bias_correction", [1]), ("layout", {"a": 1}),
            ("constants", 3), ("constants", {"scale": ["x"]}), ("constants", {"scale": [10**400]}),
            ("constants", {"scale": [math.inf]}), ("constants", {"scale": [True]}), ("percentile", 10**400),
            ("percentile", -1), ("percentile", 0), ("percentile", math.nan), ("percentile", math.inf),
        ):  # fmt: skip
            model.metadata_props[0].value = json.dumps(record | {choice: value})
            onnx.save(model, out)
            with pytest.raises(UseError, match=f"record of how it was made is damaged: {choice} is"):
                reproduce(make_model(), Images(), out)

    def test_a_model_without_record(self, make_model: MakeModel) -> None:
        with pytest.raises(UseError, match="does not say how it was made"):
            reproduce(make_model(), Images(), make_model())


@dataclass
class Preprocessed(Images):
    """Images whose manifest says how they were made."""

    manifest: dict[str, Any] = field(
        default_factory=lambda: {
            "image_shape": [3, 16, 24],
            "arithmetic": {
                "name": "detectnet_v2.mode0",
                "options": {"channel_order": "RGB", "value_range": [0.0, 1.0]},
            },
        }
    )


class TestDeepStream:
    def test_the_configuration_names_the_float_model_and_an_existing_cache(
        self, make_model: MakeModel, tmp_path: Path
    ) -> None:
        source, config = make_model(), tmp_path / "pgie.txt"
        quantize(
            source,
            Preprocessed(),
            tmp_path / "o",
            trt_cache=tmp_path / "cal.bin",
            trt_version="10.16.0",
            deepstream=config,
            method="mse",
        )
        lines = [line for line in config.read_text().splitlines() if "=" in line and not line.startswith("#")]
        keys = dict(line.split("=", 1) for line in lines)
        assert keys["network-mode"] == "1"
        assert (tmp_path / keys["int8-calib-file"]).is_file()
        assert (tmp_path / keys["onnx-file"]).samefile(source)
        assert keys["infer-dims"] == "3;16;24"
        assert float(keys["net-scale-factor"]) == pytest.approx(1 / 255)
        assert "# parse-bbox-func-name=" in config.read_text()

    def test_it_has_the_layout_of_the_input_and_other_padding_is_a_finding(
        self, make_model: MakeModel, tmp_path: Path
    ) -> None:
        images = Preprocessed()
        images.manifest["arithmetic"]["options"]["preprocessing"] = {
            "resize": "letterbox",
            "anchor": "centre",
            "pad": 114,
        }
        report = quantize(
            make_model(layout="nhwc"),
            images,
            tmp_path / "o",
            trt_cache=tmp_path / "cal.bin",
            trt_version="10.16.0",
            deepstream=tmp_path / "pgie.txt",
            method="mse",
        )
        assert "network-input-order=1" in (tmp_path / "pgie.txt").read_text()
        assert "deepstream-padding" in [finding.code for finding in report.findings]

    def test_with_overwrite_it_is_made_again_unless_it_was_edited(self, make_model: MakeModel, tmp_path: Path) -> None:
        source, config, out = make_model(), tmp_path / "pgie.txt", tmp_path / "o"
        options = {"trt_cache": tmp_path / "cal.bin", "trt_version": "10.16.0", "deepstream": config}
        made = partial(quantize, source, Preprocessed(), out, **options, method="minmax", agreement=False)
        made()
        first = config.read_bytes()
        with pytest.raises(OutputExistsError):
            made()
        made(overwrite=True)
        assert config.read_bytes() == first

        edited = config.read_text().replace("# network-type=0", "network-type=0")
        for text in (edited, "mine", "# a\n# b\n"):
            config.write_text(text)
            out.unlink(missing_ok=True)
            with pytest.raises(OutputError, match=r"not a configuration as int8cal wrote it .edited ones are kept"):
                made(overwrite=True)
            assert config.read_text() == text
            assert not out.exists()

    def test_neither_model_nor_cache_is_new_without_it(
        self, make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, commit = make_model(), OutputFile.commit

        def failing(file: OutputFile) -> None:
            if file.path.endswith("cal.bin"):
                raise OutputError("the disk is gone", where=file.path)
            commit(file)

        monkeypatch.setattr(OutputFile, "commit", failing)
        options = {"trt_cache": tmp_path / "cal.bin", "trt_version": "10.16.0", "deepstream": tmp_path / "c"}
        with pytest.raises(OutputError, match="the disk is gone"):
            quantize(source, Preprocessed(), tmp_path / "o", **options, method="minmax", agreement=False)
        assert list(tmp_path.iterdir()) == [source]

    def test_int8_mode_never_comes_without_a_cache(self, make_model: MakeModel, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="runs FP16 without one"):
            quantize(make_model(), Preprocessed(), tmp_path / "o", deepstream=tmp_path / "c")
        options = {"trt_cache": tmp_path / "cal.bin", "trt_version": "10.16.0", "deepstream": tmp_path / "c"}
        with pytest.raises(UseError, match="has no manifest"):
            quantize(make_model(), Images(), tmp_path / "o", **options)
        assert not (tmp_path / "c").exists()
        assert not (tmp_path / "o").exists()
