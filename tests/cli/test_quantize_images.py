"""``int8cal quantize`` on images and arrays, without a tensorfile."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.pictures import encode, pixels

from int8cal.tensorfile import TensorFile

NUMBERS = ("--resize", "stretch", "--scale", "1/255")


def make_model(
    path,
    *,
    first: list[tuple[str, list[float]]] = (),
    metadata: dict[str, str] | None = None,
    seed: int = 0,
    free: bool = False,
    channels: int = 3,
) -> None:
    """A convolution on 1 x 3 x 16 x 24, behind some arithmetic on the input."""
    nodes, name, tensors = [], "images", []
    for number, (operator, values) in enumerate(first):
        tensors.append(numpy_helper.from_array(np.array(values, np.float32).reshape(1, -1, 1, 1), f"c{number}"))
        nodes.append(helper.make_node(operator, [name, f"c{number}"], [f"v{number}"], name=f"first{number}"))
        name = f"v{number}"
    weights = np.random.default_rng(seed).normal(size=(4, channels, 3, 3)).astype(np.float32)
    tensors.append(numpy_helper.from_array(weights, "w"))
    nodes.append(helper.make_node("Conv", [name, "w"], ["out"], name="conv"))
    ends = [
        helper.make_tensor_value_info("images", 1, ["n", channels, "h", "w"] if free else ["n", channels, 16, 24]),
        helper.make_tensor_value_info("out", 1, ["n", 4, "y", "x"] if free else ["n", 4, 14, 22]),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)


def graph(path) -> bytes:
    """All of a model but the record of how it was made."""
    return onnx.load(path).graph.SerializeToString(deterministic=True)


@pytest.fixture
def photos(tmp_path):
    """Twelve pictures, and a model."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number}.PNG").write_bytes(encode(pixels(20 + number, 30), "PNG"))
    make_model(tmp_path / "m.onnx")
    return tmp_path


def test_a_folder_gives_the_model_that_its_tensorfile_gives(photos, run_cli):
    kept = run_cli("quantize", "m.onnx", "photos", "-o", "a.onnx", *NUMBERS, "--keep", "c.tensor")
    assert kept.code == 0, kept.stderr
    straight = run_cli("quantize", "m.onnx", "photos", "-o", "b.onnx", *NUMBERS)
    assert straight.code == 0, straight.stderr
    assert "int8cal compare m.onnx b.onnx" in straight.stdout
    by_file = run_cli("quantize", "m.onnx", "c.tensor", "-o", "d.onnx")
    assert by_file.code == 0, by_file.stderr
    assert graph(photos / "a.onnx") == graph(photos / "b.onnx") == graph(photos / "d.onnx")
    with TensorFile(photos / "c.tensor") as file:
        assert file.shape == (1, 3, 16, 24)
    assert run_cli("verify", "c.tensor", "--images", "photos").code == 0


def test_a_mean_in_the_unit_of_the_levels_is_told_before_and_after(photos, run_cli):
    slip = (*NUMBERS, "--mean", "123,116,103")
    told = "--mean 0.482,0.455,0.404"
    made = run_cli("images", "photos", "-o", "c.tensor", "--size", "16x24", *slip)
    assert made.code == 0
    assert told in made.stderr
    assert "[far-from-zero]" in run_cli("verify", "c.tensor").stdout
    done = run_cli("quantize", "m.onnx", "photos", "-o", "q.onnx", "--force", *slip, "--eval", "photos")
    assert done.stderr.count(told) == 1


def test_a_scale_that_multiplies_is_told_before_and_after(photos, run_cli):
    made = run_cli("images", "photos", "-o", "c.tensor", "--size", "16x24", "--resize", "stretch", "--scale", "255")
    assert made.code == 0
    assert "from 0 to 65025: --scale 1/255 divides levels by 255" in made.stderr
    assert "[large-values]" in run_cli("verify", "c.tensor").stdout
    assert "[large-values]" in run_cli("verify", "c.tensor", "--images", "photos").stdout


def test_dark_pictures_have_no_wrong_mean(photos, run_cli):
    """The record states a mean in the right unit, however far the pictures lie from it."""
    for number in range(12):
        dark = np.random.default_rng(number).integers(2, 14, (20, 30, 3)).astype(np.uint8)
        (photos / "photos" / f"{number}.PNG").write_bytes(encode(dark, "PNG"))
    made = run_cli("images", "photos", "-o", "c.tensor", "--size", "16x24", "--resize", "stretch", "--scale", "1",
                   "--mean", "123,116,103")  # fmt: skip
    assert "warning" not in made.stderr
    assert "far-from-zero" not in run_cli("verify", "c.tensor").stdout


def test_a_model_of_images_from_a_folder_is_made_again_from_the_folder(photos, run_cli):
    assert run_cli("quantize", "m.onnx", "photos", "-o", "a.onnx", *NUMBERS).code == 0
    again = run_cli("quantize", "m.onnx", "photos", "--reproduce", "a.onnx", *NUMBERS)
    assert (again.code, again.stdout) == (0, "a.onnx: the same\n"), again.stderr
    other = run_cli("quantize", "m.onnx", "photos", "--reproduce", "a.onnx", *NUMBERS, "--mean", "0.5")
    assert other.code == 7
    assert "images_sha256" in other.stdout
    assert "nothing is guessed" in run_cli("quantize", "m.onnx", "photos", "--reproduce", "a.onnx").stderr
    kept = run_cli("quantize", "m.onnx", "photos", "--reproduce", "a.onnx", *NUMBERS, "--keep", "k.tensor")
    assert kept.code == 2
    assert not (photos / "k.tensor").exists()


def test_a_kept_tensorfile_is_replaced_when_asked_for(photos, run_cli):
    keep = ("quantize", "m.onnx", "photos", "-o", "a.onnx", "--keep", "k.tensor", *NUMBERS)
    assert run_cli(*keep).code == 0
    assert run_cli(*keep).code == 5
    (photos / "photos" / "0.PNG").unlink()
    done = run_cli(*keep, "--overwrite")
    assert done.code == 0, done.stderr
    with TensorFile(photos / "k.tensor") as file:
        assert len(file) == 11
    (photos / "k.tensor").write_text("of the user")
    assert run_cli(*keep, "--overwrite").code == 5
    assert (photos / "k.tensor").read_text() == "of the user"


def test_every_file_that_was_written_is_named(photos, run_cli):
    plain = json.loads(run_cli("quantize", "m.onnx", "photos", "-o", "a.onnx", *NUMBERS, "--json").stdout)["quantize"]
    assert plain["keep"] is plain["deepstream"] is None
    cache = ("--trt_cache", "c.bin", "--trt_version", "10.3.0", "--deepstream", "nvinfer.txt", "--keep", "k.tensor")
    line = ("quantize", "m.onnx", "photos", "-o", "b.onnx", *NUMBERS, *cache)
    done = run_cli(*line)
    assert done.code == 0, done.stderr
    for name, what in (
        ("c.bin", "calibration cache"),
        ("nvinfer.txt", "configuration of DeepStream's nvinfer"),
        ("k.tensor", "tensorfile of these images"),
    ):
        assert (photos / name).exists()
        assert f"{name}: {what}" in done.stdout
    facts = json.loads(run_cli(*line, "--overwrite", "--json").stdout)["quantize"]
    assert [facts[name] for name in ("trt_cache", "deepstream", "keep")] == ["c.bin", "nvinfer.txt", "k.tensor"]


def test_the_outputs_of_quantize_stand_together_in_its_help(run_cli):
    shown = run_cli("quantize", "--help").stdout
    group = shown[shown.index("Output:") :].split("\n\n")[0]
    assert [name for name in ("--trt_cache", "--deepstream", "--keep") if name in group] == [
        "--trt_cache",
        "--deepstream",
        "--keep",
    ]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--method", "entropy"), "--method"),
        (("--trt_cache", "c.bin", "--trt_version", "10.3.0"), "--trt_cache"),
        (("--eval", "photos"), "--eval"),
        (("--fold_weights",), "--fold_weights"),
        (("--overwrite",), "--overwrite"),
        (("--input", "size=1"), "values of --input"),
    ],
)
def test_what_the_record_says_is_not_given_again(photos, run_cli, options, word):
    refused = run_cli("quantize", "m.onnx", "photos", "--reproduce", "a.onnx", *NUMBERS, *options)
    assert refused.code == 2
    assert f"--reproduce does as the record in a.onnx says; leave out {word}" in refused.stderr


def test_a_grey_model_needs_its_own_mean_with_a_preset_for_colour(photos, run_cli):
    make_model(photos / "grey.onnx", channels=1)
    gray = ("images", "photos", "-o", "c.tensor", "--order", "gray", "--size", "16x24")
    for command in (("quantize", "grey.onnx", "photos", "-o", "q.onnx"), gray):
        refused = run_cli(*command, "--preset", "imagenet")
        assert refused.code == 2
        assert "the mean and std of the preset imagenet are for 3 channels" in refused.stderr
        assert "Add --mean and --std with one number" in refused.stderr
        half = run_cli(*command, "--preset", "imagenet", "--mean", "0.5")
        assert "the std of the preset imagenet is for 3 channels" in half.stderr
        made = run_cli(*command, "--preset", "imagenet", "--mean", "0.45", "--std", "0.225")
        assert made.code == 0, made.stderr
    assert run_cli(*gray[:3], "tf.tensor", *gray[4:], "--preset", "tf").code == 0  # its numbers are for any channels


def test_a_list_and_a_coco_file_are_evaluated_on_as_their_folder_is(photos, run_cli):
    (photos / "held_out").mkdir()
    for number in range(6, 12):
        (photos / "photos" / f"{number}.PNG").rename(photos / "held_out" / f"{number}.PNG")
    names = sorted(f"held_out/{file.name}" for file in (photos / "held_out").iterdir())
    (photos / "list.txt").write_text("\n".join(names))
    listed = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    (photos / "coco.json").write_text(json.dumps({"images": listed}))
    figures = []
    for held_out in ("held_out", "list.txt", "coco.json"):
        done = run_cli("quantize", "m.onnx", "photos", "-o", f"{held_out}.onnx", *NUMBERS, "--eval", held_out, "--json")
        assert done.code == 0, done.stderr
        figures.append(json.loads(done.stdout)["quantize"]["held_out"])
    assert figures[0]["images"] == 6
    assert figures[0] == figures[1] == figures[2]


def test_arrays(photos, run_cli):
    assert run_cli("quantize", "m.onnx", "photos", "-o", "a.onnx", *NUMBERS, "--keep", "c.tensor").code == 0
    with TensorFile(photos / "c.tensor") as file:
        array = np.concatenate(list(file))
    np.save(photos / "c.npy", array)
    np.savez(photos / "c.npz", images=array)
    np.savez(photos / "named.npz", other=np.zeros(3), **{onnx.load(photos / "m.onnx").graph.input[0].name: array})
    for name in ("c.npy", "c.npz", "named.npz"):
        done = run_cli("quantize", "m.onnx", name, "-o", f"{name}.onnx")
        assert done.code == 0, done.stderr
        assert graph(photos / f"{name}.onnx") == graph(photos / "a.onnx")


def test_what_is_left_out_of_a_folder_is_told(photos, run_cli):
    for number in range(13):
        (photos / "photos" / f"{number}.heic").touch()
    (photos / "photos" / "below").mkdir()
    plain = run_cli("quantize", "m.onnx", "photos", "-o", "a.onnx", *NUMBERS)
    assert plain.code == 0, plain.stderr
    assert "files .png: 12\nfiles of other kinds: 13 .heic\nfolders not entered: 1" in plain.stdout
    assert "12 images calibrated it. That is few: 100 to 1000 are usual" in plain.stdout
    assert "photos: 12 images are taken, and 13 pictures of other kinds are left out (13 .heic)" in plain.stderr
    done = run_cli("quantize", "m.onnx", "photos", "-o", "b.onnx", *NUMBERS, "--json")
    dataset = json.loads(done.stdout)["quantize"]["dataset"]
    planned = run_cli("images", "photos", "-o", "x", "--size", "16x24", *NUMBERS, "--dry_run", "--json")
    assert dataset == json.loads(planned.stdout)["plan"]["dataset"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "photos/0.PNG",
            ("this is one image, not a folder or a list of images\n  Give its folder, photos, or a text",),
        ),
        ("a.heic", ("this is one image",)),
        ("a.zip", ("this is an archive", "Unpack it, and give the folder: unzip a.zip -d FOLDER")),
        ("a.tar.GZ", ("this is an archive", "mkdir FOLDER && tar -xf a.tar.GZ -C FOLDER")),
        ("a.7z", ("this is an archive", "give the folder")),
    ],
)
def test_one_image_or_an_archive_is_told_as_what_it_is(photos, run_cli, name, words):
    for other in ("a.heic", "a.zip", "a.tar.GZ", "a.7z"):
        (photos / other).write_bytes(b"PK\x03\x04" + bytes(99))
    size = ("--size", "16x24")
    for command in (
        ("quantize", "m.onnx", name, *NUMBERS),
        ("quantize", "m.onnx", name),
        ("images", name, *size, *NUMBERS),
    ):
        done = run_cli(*command, "-o", "out")
        assert done.code == 4, done.stderr
        for one in words:
            assert f"{name}: {words[0]}" in done.stderr
            assert one in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("photos",), 2, ("nothing is guessed", "--preset imagenet", "--resize stretch --scale 1/255")),
        (("photos", *NUMBERS, "--size", "8x8"), 7, ("takes 16x24 pixels, and the preprocessing makes 8x8",)),
        (("photos", *NUMBERS, "--order", "gray"), 7, ("does not fit samples of 1×16×24",)),
        (("c.npy", *NUMBERS), 2, ("--resize is for images from a folder",)),
        (("c.npy",), 7, ("an array of float64 with the shape 2x3",)),
        (("pickled.npy",), 7, ("the arrays cannot be read",)),
        (("junk.npy",), 7, ("junk.npy: this is no .npy file\n  Save one array of float32",)),
        (("junk.npz",), 7, ("junk.npz: this is no .npz file\n  Save one array of float32",)),
        (
            ("c.npy", "--eval", "photos", *NUMBERS),
            2,
            ("photos: --eval takes", "int8cal images photos -o EVAL.tensor …"),
        ),
        (("c.npy", "--eval", "photos"), 2, ("photos: --eval takes", "int8cal images photos -o EVAL.tensor …")),
        (("c.npy", "--eval", "list.txt"), 2, ("list.txt: --eval takes", "int8cal images list.txt -o EVAL.tensor …")),
        (("broken", *NUMBERS), 4, ("Repair or replace the image",)),
        (("broken", *NUMBERS, "--keep", "k.tensor"), 4, ("Repair or replace the image",)),
        (("list.txt", *NUMBERS), 4, ("3 of 4 images are missing", "Put the images there")),
        (("two.npz",), 7, ("there are 2 arrays (a, b)", "with one that is named ")),
    ],
)
def test_what_is_refused(photos, run_cli, arguments, code, words):
    np.save(photos / "c.npy", np.zeros((2, 3)))
    (photos / "broken").mkdir()
    (photos / "broken" / "a.png").write_bytes(b"no image")
    (photos / "list.txt").write_text(f"a.png\n{next((photos / 'photos').iterdir())}\na.png\nb.png\n")
    for name in ("junk.npy", "junk.npz"):
        (photos / name).write_text("junk\n")
    np.save(photos / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.savez(photos / "two.npz", a=np.zeros(1), b=np.zeros(1))
    done = run_cli("quantize", "m.onnx", *arguments, "-o", "out.onnx")
    assert done.code == code, done.stderr
    for one in words:
        assert one in done.stderr
    assert not (photos / "out.onnx").exists()


@pytest.mark.parametrize("keep", [(), ("--keep", "k.tensor")])
def test_damaged_images_are_left_out_by_the_command_that_is_named(photos, run_cli, keep):
    (photos / "photos" / "damaged.png").write_bytes(b"no image")
    refused = run_cli("quantize", "m.onnx", "photos", "-o", "out.onnx", *NUMBERS, "--recursive", *keep)
    assert refused.code == 4
    command = re.search(r"int8cal (images .*) leaves it out", refused.stderr)[1].replace("FILE", "c.tensor")
    assert run_cli(*command.split()).code == 0
    assert run_cli("quantize", "m.onnx", "c.tensor", "-o", "out.onnx").code == 0
    with TensorFile(photos / "c.tensor") as file:
        assert file.shape[1:] == (3, 16, 24)


def test_images_lie_where_the_options_say(photos, run_cli):
    """Annotations lie elsewhere than their images, and images below the folder that is named."""
    (photos / "annotations").mkdir()
    listed = [{"id": number, "file_name": f"{number}.PNG"} for number in range(12)]
    (photos / "annotations" / "train.json").write_text(json.dumps({"images": listed}))
    (photos / "all").mkdir()
    (photos / "photos").rename(photos / "all" / "photos")
    coco = ("annotations/train.json", "--image_dir", "all/photos")
    for name, source in (("a", ("all", "--recursive")), ("b", coco)):
        done = run_cli("quantize", "m.onnx", *source, "-o", f"{name}.onnx", *NUMBERS)
        assert done.code == 0, done.stderr
        assert "24 images" not in done.stdout
        assert "from 12 images" in done.stdout
    made = run_cli("images", *coco, "-o", "c.tensor", "--size", "16x24", *NUMBERS)
    line = next(line for line in made.stdout.splitlines() if "int8cal verify" in line)
    assert run_cli(*line.split()[1:]).code == 0
    assert run_cli("quantize", "m.onnx", "c.tensor", "--recursive", "-o", "d.onnx").code == 2


def test_the_size_in_the_metadata_counts_where_the_model_takes_any(photos, run_cli):
    make_model(photos / "m.onnx", metadata={"author": "Ultralytics", "imgsz": "[16, 24]"}, free=True)
    command = ("quantize", "m.onnx", "photos", "-o", "q.onnx", "--preset", "ultralytics")
    done = run_cli(*command)
    assert done.code == 2, done.stderr
    assert "the model's metadata say 16x24 pixels, and the preset ultralytics makes 640x640" in done.stderr
    assert "Add --size 16x24, or --size 640x640 if that is meant." in done.stderr
    assert run_cli(*command, "--size", "16x24").code == 0


def test_another_size_than_that_of_the_metadata_is_warned_of(photos, run_cli):
    make_model(photos / "m.onnx", metadata={"author": "Ultralytics", "imgsz": "[16, 24]"}, free=True)
    told = "warning: the model's metadata say 16x24 pixels, and the images have 20x28 (height x width)"
    folder = ("photos", *NUMBERS, "--size")
    first = run_cli("quantize", "m.onnx", *folder, "20x28", "-o", "a.onnx", "--keep", "c.tensor")
    assert told in first.stderr
    with TensorFile(photos / "c.tensor") as file:
        np.save(photos / "c.npy", np.concatenate(list(file)))
    for number, source in enumerate(("c.tensor", "c.npy")):
        done = run_cli("quantize", "m.onnx", source, "-o", f"{number}.onnx")
        assert done.code == 0
        assert told in done.stderr
    assert "[model-size]" in run_cli("verify", "c.tensor", "--model", "m.onnx").stdout
    assert "metadata" not in run_cli("quantize", "m.onnx", *folder, "16x24", "-o", "b.onnx").stderr


def test_an_int8_model_is_not_named_for_quantize(photos, run_cli):
    assert run_cli("quantize", "m.onnx", "photos", "-o", "q.onnx", *NUMBERS, "--keep", "c.tensor").code == 0
    checked = run_cli("verify", "c.tensor", "--model", "q.onnx")
    assert checked.code == 0
    assert "the model is quantised already" in checked.stdout
    assert "int8cal quantize MODEL.onnx c.tensor" in checked.stdout
    assert "int8cal quantize m.onnx c.tensor" in run_cli("verify", "c.tensor", "--model", "m.onnx").stdout


@pytest.mark.parametrize("name", ["m.engine", "m.PLAN", "m.trt"])
def test_an_onnx_model_is_not_called_an_engine(photos, run_cli, name):
    refused = run_cli("quantize", "m.onnx", "photos", "-o", name, *NUMBERS)
    assert refused.code == 2
    assert "Name it m.onnx; trtexec makes an engine of it." in refused.stderr
    assert not (photos / name).exists()


@pytest.mark.parametrize(
    ("first", "metadata", "preset", "words"),
    [
        ([("Div", [255.0])], {}, "imagenet", "the model's first nodes (first0) scale its input by 0.003922"),
        ([("Sub", [124.0, 117.0, 104.0]), ("Mul", [0.017])], {}, "tf", "first nodes (first0, first1)"),
        ([("Mul", [2.0]), ("Sub", [1.0])], {}, "caffe", "scale its input by 2"),
        ([], {"author": "Ultralytics"}, "imagenet", "Ultralytics exported it, and the preset is imagenet"),
    ],
)
def test_a_preset_that_contradicts_the_model(photos, run_cli, first, metadata, preset, words):
    make_model(photos / "m.onnx", first=first, metadata=metadata)
    command = ("quantize", "m.onnx", "photos", "-o", "out.onnx", "--preset", preset, "--resize", "stretch")
    done = run_cli(*command)
    assert done.code == 2, done.stderr
    assert words in done.stderr
    assert run_cli(*command, "--scale", "1/255", "--force").code == 0

    made = ("images", "photos", "-o", "c.tensor", "--preset", preset, "--resize", "stretch", "--size", "16x24")
    assert run_cli(*made).code == 0
    judged = run_cli("verify", "c.tensor", "--model", "m.onnx")
    assert judged.code == 6
    assert "[model-preset]" in judged.stdout
    assert words in judged.stdout
    refused = run_cli("quantize", "m.onnx", "c.tensor", "-o", "again.onnx")
    assert refused.code == 7
    assert words in refused.stderr
    assert run_cli("quantize", "m.onnx", "c.tensor", "-o", "again.onnx", "--force").code == 0


@pytest.mark.parametrize(
    "numbers",
    [("--preset", "ultralytics"), ("--preset", "imagenet", "--mean", "0", "--std", "1"), ("--scale", "1/255")],
)
def test_numbers_that_the_model_takes_are_no_contradiction(photos, run_cli, numbers):
    make_model(photos / "m.onnx", metadata={"author": "Ultralytics"})
    made = run_cli("images", "photos", "-o", "c.tensor", *numbers, "--resize", "stretch", "--size", "16x24")
    assert made.code == 0
    judged = run_cli("verify", "c.tensor", "--model", "m.onnx")
    assert "the model takes the images" in judged.stdout
    assert "[model-preset]" not in judged.stdout
    assert run_cli("quantize", "m.onnx", "c.tensor", "-o", "out.onnx").code == 0


def test_a_folder_that_is_not_there_is_told(photos, run_cli):
    done = run_cli("quantize", "m.onnx", "photo", "-o", "q.onnx", *NUMBERS)
    assert done.code == 2
    assert "photo: there is no such file or folder" in done.stderr


def test_the_model_comes_first(photos, run_cli):
    done = run_cli("quantize", "photos", "m.onnx", "-o", "q.onnx", *NUMBERS)
    assert done.code == 2
    assert "int8cal quantize m.onnx photos" in done.stderr
