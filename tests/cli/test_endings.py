"""What commands say when they are done: what the result means, and the next command, typed as it stands."""

from __future__ import annotations

import math
import re
import shlex
import shutil

import numpy as np
import onnx
import pytest
from tests.cli.test_quantize_images import NUMBERS, make_model
from tests.pictures import encode, pixels

from int8cal.cli import console, endings
from int8cal.models.binding import InputBinding
from int8cal.models.search import Search
from int8cal.models.verdict import Verdict

CACHE = "TRT-8601-EntropyCalibration2\nimages: 3c010a14\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_dataset):
    """A model, photographs, arrays, two caches, a spec."""
    folder = tmp_path_factory.mktemp("endings")
    (folder / "photos").mkdir()
    for number in range(4):
        (folder / "photos" / f"{number}.png").write_bytes(encode(pixels(20 + number, 30), "PNG"))
    make_model(folder / "m.onnx")
    np.save(folder / "images.npy", np.random.default_rng(0).random((4, 3, 16, 24), np.float32))
    np.save(folder / "noise.npy", np.random.default_rng(1).normal(0, 99, (4, 3, 16, 24)).astype(np.float32))
    _with_a_factor(folder / "m.onnx", folder / "two.onnx")
    (folder / "tao.json").write_text('{"tensor_scales": {"images": 1.0}}')
    (folder / "cal.bin").write_text(CACHE)
    (folder / "other.bin").write_text(CACHE.replace("3c01", "3c02"))
    shutil.copy(tiny_dataset.spec, folder / "spec.txt")
    return folder


def _with_a_factor(path, out):
    """The model with a second input, by which its output is multiplied."""
    model = onnx.load(path)
    output, last = model.graph.output[0].name, model.graph.node[-1]
    last.output[0] = "unscaled"
    model.graph.node.append(onnx.helper.make_node("Mul", ["unscaled", "factor"], [output], "scale"))
    model.graph.input.append(onnx.helper.make_tensor_value_info("factor", onnx.TensorProto.FLOAT, [1]))
    onnx.save(model, out)


@pytest.fixture
def run(prepared, run_cli, tmp_path):
    """Runs a command line in a copy of the folder."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return lambda line: run_cli(*shlex.split(line))


def next_lines(told: str) -> list[str]:
    lines = told.splitlines()
    return [line.strip() for line in lines[lines.index("Next:") + 1 :]] if "Next:" in lines else []


IMAGES = f"int8cal images photos -o c.tensor --size 16x24 {' '.join(NUMBERS)}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cache show cal.bin", [
            "trtexec --onnx=MODEL.onnx --int8 --calib=cal.bin --saveEngine=MODEL.engine",
            "int8cal quantize MODEL.onnx --scales cal.bin -o MODEL.int8.onnx",
        ]),
        ("cache convert cal.bin -o new.bin --trt_version 10.3.0", [
            "trtexec --onnx=MODEL.onnx --int8 --calib=new.bin --saveEngine=MODEL.engine",
            "int8cal quantize MODEL.onnx --scales new.bin -o MODEL.int8.onnx",
        ]),
        ("cache convert cal.bin -o cal.json", [
            "int8cal cache convert cal.json -o CAL.bin",
            "int8cal quantize MODEL.onnx --scales cal.json -o MODEL.int8.onnx",
        ]),
        ("cache show tao.json", [
            "int8cal cache convert tao.json -o CAL.bin --trt_version X.Y.Z",
            "int8cal quantize MODEL.onnx --scales tao.json -o MODEL.int8.onnx",
        ]),
        ("cache diff cal.bin other.bin", [
            "int8cal quantize MODEL.onnx --scales cal.bin -o 1.int8.onnx --eval VALIDATION.tensor",
            "int8cal quantize MODEL.onnx --scales other.bin -o 2.int8.onnx --eval VALIDATION.tensor",
        ]),
        ("spec check spec.txt", ["int8cal plan -e spec.txt"]),
        ("spec check spec.txt --network detectnet_v2", ["int8cal detectnet_v2 plan -e spec.txt"]),
        ("spec update spec.txt -o 'new spec.txt' --num_epochs 7", ["int8cal plan -e 'new spec.txt'"]),
        ("quantize m.onnx images.npy -o q.onnx", [
            "int8cal compare m.onnx q.onnx VALIDATION.tensor",
            "trtexec --onnx=q.onnx --shapes=images:1x3x16x24 --saveEngine=q.engine",
        ]),
        ("quantize m.onnx images.npy -o q.onnx --target onnxruntime", [
            "int8cal compare m.onnx q.onnx VALIDATION.tensor",
        ]),
        ("quantize m.onnx images.npy -o q.onnx --trt_cache c.bin --trt_version 10.3.0", [
            "int8cal compare m.onnx q.onnx VALIDATION.tensor",
            "trtexec --onnx=q.onnx --shapes=images:1x3x16x24 --saveEngine=q.engine",
            "trtexec --onnx=m.onnx --int8 --calib=c.bin --shapes=images:1x3x16x24 --saveEngine=m.engine",
        ]),
        (f"quantize m.onnx photos -o q.onnx {' '.join(NUMBERS)}", [
            f"int8cal images VALIDATION_DIR -o VALIDATION.tensor {' '.join(NUMBERS)} --size 16x24",
            "int8cal compare m.onnx q.onnx VALIDATION.tensor",
            "trtexec --onnx=q.onnx --shapes=images:1x3x16x24 --saveEngine=q.engine",
        ]),
        ("quantize m.onnx --scales cal.bin -o s.onnx", [
            "int8cal compare m.onnx s.onnx VALIDATION.tensor",
            "trtexec --onnx=s.onnx --shapes=images:1x3x16x24 --saveEngine=s.engine",
        ]),
        ("quantize two.onnx images.npy -o q.onnx --input factor=0.5 --input images --layout nchw", [
            "int8cal compare two.onnx q.onnx VALIDATION.tensor --input factor=0.5 --input images --layout nchw",
            "trtexec --onnx=q.onnx --shapes=images:1x3x16x24 --saveEngine=q.engine",
        ]),
        ("quantize two.onnx --scales cal.bin -o s.onnx --eval noise.npy --input factor=0.5 --fold_weights", [
            ("int8cal quantize two.onnx CALIBRATION.tensor --eval noise.npy --fold_weights --input factor=0.5 "
             "-o s.better.onnx --min_agreement 15"),
            "trtexec --onnx=s.onnx --shapes=images:1x3x16x24 --saveEngine=s.engine",
        ]),
        ("doctor", ["int8cal demo"]),
        ("networks", ["int8cal spec new NETWORK"]),
        ("spec new ssd -o ssd.txt", ["int8cal spec check ssd.txt", "int8cal plan -e ssd.txt"]),
    ],
)  # fmt: skip
def test_the_next_command(run, line, expected):
    done = run(line)
    assert done.code == 0, done.stderr
    assert next_lines(done.stdout) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("spec show spec.txt", "int8cal spec check spec.txt"),
        ("spec new ssd", "int8cal spec new ssd -o FILE"),
        ("spec update spec.txt --dry_run --num_epochs 7", "int8cal spec update spec.txt --num_epochs 7 -o FILE"),
    ],
)
def test_what_is_likely_to_go_into_a_file_has_the_next_command_on_a_terminal_alone(run, monkeypatch, line, expected):
    assert run(line).stderr == ""
    assert expected not in run(line).stdout
    monkeypatch.setattr(console, "on_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = run(line)
    assert shown.stderr == f"int8cal: next: {expected}\n"


def test_a_spec_with_findings_is_to_be_checked_again(run, tmp_path):
    spec = tmp_path / "spec.txt"
    spec.write_text(spec.read_text().replace("output_image_width", "output_image_breadth"))
    done = run("spec check spec.txt --allow_unknown_fields")
    assert done.code == 3
    assert next_lines(done.stdout) == ["int8cal spec check spec.txt"]


def test_from_images_to_a_comparison(run):
    """Each command is the one that its forerunner named."""
    dry = run(f"{IMAGES.removeprefix('int8cal ')} --no_exif --dry_run")
    (made_by,) = next_lines(dry.stdout)
    assert "--dry_run" not in made_by
    assert "--no_exif" in made_by
    made = run(made_by.removeprefix("int8cal "))
    assert made.code == 0, made.stderr
    proof, quantise = next_lines(made.stdout)
    proved = run(proof.removeprefix("int8cal "))
    assert proved.code == 0, proved.stderr
    assert next_lines(proved.stdout) == [quantise]
    alone = run("verify c.tensor")
    assert next_lines(alone.stdout) == ["int8cal verify c.tensor --images DIR", quantise]
    hints = (alone.stdout + run("verify c.tensor --model m.onnx").stdout).splitlines()
    assert all("--images DIR" in line for line in hints if "-e SPEC" in line), hints
    paged = run("report c.tensor -o r.html")
    assert next_lines(paged.stdout) == [quantise]
    done = run(quantise.removeprefix("int8cal ").replace("MODEL", "m"))
    assert done.code == 0, done.stderr
    comparison, _ = next_lines(done.stdout)
    compared = run(comparison.removeprefix("int8cal ").replace("VALIDATION", "c").replace("MODEL", "m"))
    assert compared.code == 0, compared.stderr
    assert "verdict: good" in compared.stdout
    assert next_lines(compared.stdout) == [
        "trtexec --onnx=m.int8.onnx --shapes=images:1x3x16x24 --saveEngine=m.int8.engine"
    ]


def test_trtexec_is_told_every_free_dimension_and_no_fixed_one(run, tmp_path):
    make_model(tmp_path / "m.onnx", free=True)
    option = " --shapes=images:1x3x16x24 "
    done = run("quantize m.onnx images.npy -o q.onnx --trt_cache c.bin --trt_version 10.3.0")
    assert [option in line for line in next_lines(done.stdout)] == [False, True, True]
    assert option in run("compare m.onnx q.onnx images.npy").stdout
    assert option in run("quantize m.onnx --scales c.bin -o s.onnx --eval images.npy").stdout
    assert " --shapes=images:1x3xHEIGHTxWIDTH " in run("quantize m.onnx --scales c.bin -o t.onnx").stdout
    assert run(IMAGES.removeprefix("int8cal ")).code == 0
    assert option in run("report c.tensor -o r.html --model m.onnx --int8 q.onnx").stdout
    assert (tmp_path / "r.html").read_text().count(option) == 2
    fixed = onnx.load(tmp_path / "m.onnx")
    for dim, extent in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, 3, 16, 24), strict=True):
        dim.dim_value = extent
    onnx.save(fixed, tmp_path / "fixed.onnx")
    assert "--shapes" not in run("quantize fixed.onnx images.npy -o f.onnx").stdout


def test_of_a_poor_model_the_next_command_leaves_more_in_float(run, tmp_path):
    assert run(IMAGES.removeprefix("int8cal ")).code == 0
    make_model(tmp_path / "other.onnx", seed=1)
    compared = run("compare m.onnx other.onnx c.tensor")
    assert "verdict: poor" in compared.stdout  # of these images, which those of the calibration may hide
    assert next_lines(compared.stdout) == [
        "int8cal quantize m.onnx CALIBRATION.tensor --eval c.tensor -o other.better.onnx --min_agreement 15"
    ]


def test_more_batches_are_asked_for_only_where_there_are_more_images(run):
    line = IMAGES.removeprefix("int8cal ")
    every, one = run(line), run(f"{line} -m 1 --overwrite")
    assert (every.code, one.code) == (0, 0)
    assert ("100 to 1000 are usual." in every.stdout, "(-m N batches)" in every.stdout) == (True, False)
    assert "100 to 1000 are usual (-m N batches)." in one.stdout


def test_a_report_on_a_model_that_is_not_quantised_says_so_and_builds_no_engine_of_it(run, tmp_path):
    assert run(IMAGES.removeprefix("int8cal ")).code == 0
    assert run("quantize m.onnx images.npy -o q.onnx").code == 0
    for int8, is_int8 in (("q.onnx", True), ("m.onnx", False)):
        line = f"report c.tensor -o r.html --model m.onnx --int8 {int8} --overwrite"
        done = run(line)
        assert done.code == 0, done.stderr
        assert ("the model of --int8 is not quantised" in done.stderr) != is_int8
        quantizes = ["int8cal quantize m.onnx c.tensor -o MODEL.int8.onnx"]
        assert (next_lines(done.stdout) == quantizes) != is_int8
        page = (tmp_path / "r.html").read_text()
        assert ("the second model is not quantised: the figures say nothing of INT8" in page) != is_int8
        assert ("int8-not-quantised" in run(f"{line} --json").stdout) != is_int8


def test_a_better_sqnr_is_not_proposed_where_it_is_good_and_the_classes_are_not(capsys):
    for db, proposed in ((40.0, False), (12.0, True), (math.nan, True)):
        verdict = Verdict("poor", "p", "the same class on 70.0% of the images", db)
        endings.compared("m.onnx", "q.onnx", None, verdict)
        endings.quantized("m.onnx", "q.onnx", None, binding=InputBinding("x", "nchw", None), verdict=verdict)
        assert capsys.readouterr().out.count("--min_agreement 15") == 2 * proposed


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("npz", "python -m modelopt.onnx.quantization --onnx_path MODEL.onnx --calibration_data_path out.npz"),
        ("npy", "int8cal quantize MODEL.onnx out.npy -o MODEL.int8.onnx"),
        ("raw", "cd out.raw && qnn-onnx-converter --input_network /PATH/TO/MODEL.onnx --input_list input_list.txt"),
        ("polygraphy", "polygraphy convert MODEL.onnx --int8 --data-loader-script out.polygraphy -o MODEL.engine"),
        ("tensorfile", "int8cal verify out.tensorfile"),
    ],
)
def test_the_next_command_of_each_export(run, form, expected):
    assert run(IMAGES.removeprefix("int8cal ")).code == 0
    done = run(f"export c.tensor --to {form} -o out.{form}")
    assert done.code == 0, done.stderr
    assert next_lines(done.stdout) == [expected]


@pytest.mark.parametrize(("wanted", "reached", "judged", "proposed"), [
    (15.0, 15.1, 8.9, 22),
    (15.0, 17.3, 14.0, 19),  # by 16, the model with 17.3 would be chosen again
    (20.0, 21.0, 14.5, 27),
    (8.0, 8.5, 8.9, 15),
    (12.0, 16.0, 13.0, 18),
    (40.0, 33.0, 8.9, None),
    (15.0, math.inf, 8.9, None),
    (15.0, 15.1, math.nan, None),
    (15.0, 15.1, -math.inf, None),
])  # fmt: skip
def test_a_search_that_was_not_enough_is_asked_for_as_much_more_as_was_missing(
    capsys, wanted, reached, judged, proposed
):
    search = Search(wanted, reached, ("a",), 7)
    verdict = Verdict("poor", "p", "too little", judged)
    endings.quantized("m.onnx", "q.onnx", None, binding=InputBinding("x", "nchw", None), verdict=verdict, search=search)
    told = capsys.readouterr().out
    assert told.count("--min_agreement") == (proposed is not None)
    assert proposed is None or f"--min_agreement {proposed}\n" in told
    assert proposed is None or proposed > reached


@pytest.mark.parametrize("options", ["-o out.nchw", "-o out.npz", "-o out.npy --layout nhwc"])
def test_arrays_that_quantize_would_not_take_are_not_named_for_it(run, options):
    assert run(IMAGES.removeprefix("int8cal ")).code == 0
    done = run(f"export c.tensor --to npy {options}")
    assert done.code == 0, done.stderr
    assert next_lines(done.stdout) == []
    assert "already preprocessed" in done.stdout


def test_one_of_a_kind_is_singular(run, tmp_path):
    told = run("cache convert cal.bin -o new.bin --trt_version 10.3.0").stdout
    told += run("cache diff cal.bin cal.bin").stdout
    np.save(tmp_path / "one.npy", np.load(tmp_path / "images.npy")[:1])
    told += run("quantize m.onnx one.npy -o q.onnx --min_agreement 1").stdout
    told += run("quantize m.onnx --scales cal.bin -o s.onnx --eval one.npy").stdout
    assert {"1 tensor", "1 image", "1 model tried"} <= {found.group() for found in re.finditer(r"1 \w+( tried)?", told)}
    assert not re.search(r"\b1 (tensors|images|models|nodes|layers)\b", told), told
