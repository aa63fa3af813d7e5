"""``int8cal images``: the whole way without a TAO spec."""

from __future__ import annotations

import json
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from tests.pictures import encode, pixels

import int8cal


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Six pictures under names as people have them."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    names = ["a.JPG", "b.jpeg", "c.PNG", "d.png", "more/e.png", "more/f.png"]
    for number, name in enumerate(names):
        kind = "JPEG" if name.lower().endswith(("jpg", "jpeg")) else "PNG"
        (tmp_path / "photos" / name).write_bytes(encode(pixels(40 + number, 60), kind))
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NUMBERS = ("--size", "24x32", "--resize", "stretch", "--scale", "1/255")


def test_a_folder_becomes_a_tensorfile_that_proves_itself(photos, run_cli):
    done = run_cli("images", "photos", "-o", "c.tensor", *NUMBERS, "--mean", "0.5", "--std", "0.25")
    assert done.code == 0, done.stderr
    with int8cal.TensorFile("c.tensor") as file:
        assert (len(file), file.shape) == (4, (1, 3, 24, 32))
        assert file.manifest["network"] == "images"
        assert file.manifest["arithmetic"]["evidence"] == "as stated"
    assert run_cli("verify", "c.tensor", "--images", "photos").code == 0
    assert run_cli("report", "c.tensor", "-o", "r.html", "--images", "photos").code == 0


@pytest.mark.parametrize(
    ("numbers", "offset"), [(("1/255", "--mean", "1", "--std", "-1"), 1), (("-0.00392156862745098",), 0)]
)
def test_inverted_levels_prove_themselves_too(photos, run_cli, numbers, offset):
    options = ("--size", "24x32", "--resize", "stretch", "--scale")
    for name, scale in (("c.tensor", numbers), ("upright.tensor", ("1/255",))):
        done = run_cli("images", "photos", "-o", name, *options, *scale)
        assert done.code == 0, done.stderr
    assert run_cli("verify", "c.tensor", "--images", "photos").code == 0
    assert run_cli("report", "c.tensor", "-o", "r.html", "--images", "photos").code == 0
    with int8cal.TensorFile("c.tensor") as file, int8cal.TensorFile("upright.tensor") as upright:
        np.testing.assert_allclose(file[0], offset - upright[0], atol=1e-6)


@pytest.mark.parametrize(("batch_size", "left"), [("3", "1 image"), ("2", "")])
def test_images_that_fill_no_batch_are_counted(photos, run_cli, batch_size, left):
    made = run_cli("images", "photos", "-o", "c.tensor", *NUMBERS, "--batch_size", batch_size)
    plan = run_cli("images", "photos", "-o", "x", *NUMBERS, "--batch_size", batch_size, "--dry_run")
    for done in (made, plan):
        assert done.code == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if "left over" in line]
        assert [line.split("  ")[-1].strip() for line in lines] == ([f"{left}, too few for a batch"] if left else [])


@pytest.mark.parametrize(
    ("source", "batch_size", "said"),
    [
        ("photos", "9", "photos: 4 images do not fill one batch of 9\n  Make batches of at most 4"),
        (
            "none.json",
            "1",
            "none.json: 0 images do not fill one batch of 1\n  Nothing is listed in none.json. Check that",
        ),
    ],
)
def test_images_that_fill_no_batch_at_all(photos, run_cli, source, batch_size, said):
    (photos / "none.json").write_text('{"images": []}')
    done = run_cli("images", source, "-o", "c.tensor", *NUMBERS, "--batch_size", batch_size)
    assert done.code == 4
    assert said in done.stderr


def test_what_lies_among_the_images_is_named(photos, run_cli):
    (photos / "photos" / "._a.jpg").write_bytes(b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ")
    done = run_cli("images", "photos", "-o", "c.tensor", *NUMBERS)
    assert done.code == 4
    assert "photos/._a.jpg: The image is not a JPEG, PNG, BMP" in done.stderr
    assert "find FOLDER -name '._*' -delete" in done.stderr


def test_the_formula(photos, run_cli):
    (photos / "one").mkdir()
    (photos / "one" / "a.png").write_bytes(encode(pixels(24, 32), "PNG"))
    done = run_cli(
        "images", "one", "-o", "c.tensor", *NUMBERS, "--mean", "0.1,0.2,0.3", "--std", "0.5", "--order", "bgr"
    )
    assert done.code == 0, done.stderr
    with int8cal.TensorFile("c.tensor") as file:
        made = file[0][0]
    planes = pixels(24, 32)[..., ::-1].transpose(2, 0, 1).astype(np.float32)
    mean = np.array([0.1, 0.2, 0.3], np.float32)[:, None, None]
    np.testing.assert_array_equal(made, (planes / np.float32(255) - mean) / np.float32(0.5))


def test_recursion_and_lists(photos, run_cli):
    plan = run_cli("images", "photos", "--recursive", "-o", "x", *NUMBERS, "--dry_run", "--json")
    assert json.loads(plan.stdout)["plan"]["batches"] == 6
    (photos / "list.txt").write_text("photos/c.PNG\n\nphotos/more/e.png\n", encoding="utf-8-sig")
    (photos / "coco.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "photos/d.png"}]}))
    for source, count in (("list.txt", 2), ("coco.json", 1)):
        plan = run_cli("images", source, "-o", "x", *NUMBERS, "--dry_run", "--json")
        assert json.loads(plan.stdout)["plan"]["batches"] == count, plan.stderr
        assert json.loads(plan.stdout)["plan"]["missing"] == []


def test_images_of_a_coco_file_whose_ids_repeat(photos, run_cli):
    listed = [{"id": 1, "file_name": "c.PNG"}, {"id": 0, "file_name": "d.png"}, {"id": 1, "file_name": "a.JPG"}]
    (photos / "photos" / "coco.json").write_text(json.dumps({"images": listed}))
    made = run_cli("images", "photos/coco.json", "-o", "c.tensor", *NUMBERS, "--json")
    assert made.code == 0, made.stderr
    with int8cal.TensorFile("c.tensor") as file:
        assert len(file) == 3
        assert sorted(file.samples["frame_id"].tolist()) == [b"a.JPG", b"c.PNG", b"d.png"]


def test_the_help_says_what_skipping_needs(run_cli):
    assert "skip needs --max_skipped" in " ".join(run_cli("images", "--help").stdout.split())


def test_the_help_says_that_presets_decide_the_orientation(run_cli):
    assert "[default: no, or as the preset says]" in " ".join(run_cli("images", "--help").stdout.split())


def test_links_to_folders_are_not_followed_and_told(photos, run_cli):
    (photos / "tree" / "below").mkdir(parents=True)
    (photos / "tree" / "below" / "link").symlink_to(photos / "photos")
    none = run_cli("images", "tree", "--recursive", "-o", "x", *NUMBERS)
    assert none.code == 4
    assert "no image is in the folder, but 1 folder (below/link)" in none.stderr
    assert "Links to folders and hidden folders are not entered" in none.stderr
    (photos / "tree" / "a.png").write_bytes(encode(pixels(40, 60)))
    plan = run_cli("images", "tree", "--recursive", "-o", "x", *NUMBERS, "--dry_run")
    assert plan.code == 0, plan.stderr
    assert "folders not entered 1" in " ".join(plan.stdout.split())


def test_hidden_folders_are_not_entered(photos, run_cli):
    (photos / "photos" / ".ipynb_checkpoints").mkdir()
    (photos / "photos" / ".ipynb_checkpoints" / "d-checkpoint.png").write_bytes(encode(pixels(40, 60)))
    plan = run_cli("images", "photos", "--recursive", "-o", "x", *NUMBERS, "--dry_run", "--json")
    facts = json.loads(plan.stdout)["plan"]
    assert facts["batches"] == 6
    assert facts["dataset"]["folders not entered"] == 1


def test_what_is_left_out_is_told_by_its_suffixes(photos, run_cli):
    for number in range(3):
        (photos / "photos" / f"{number}.heic").touch()
    few = run_cli("images", "photos", "-o", "c.tensor", *NUMBERS)
    assert few.code == 0, few.stderr
    assert "files of other kinds 3 .heic, 1 .txt" in " ".join(few.stdout.split())
    assert "left out" not in few.stderr
    (photos / "photos" / "a.JP2").touch()
    (photos / "photos" / "b.avif").touch()
    many = run_cli("images", "photos", "-o", "x", *NUMBERS, "--dry_run", "--json")
    facts = json.loads(many.stdout)["plan"]
    assert facts["dataset"]["files of other kinds"] == 6
    assert facts["dataset"]["suffixes of other kinds"] == {".heic": 3, ".JP2": 1, ".avif": 1, ".txt": 1}
    told = "photos: 4 images are taken, and 5 pictures of other kinds are left out (3 .heic, 1 .JP2, 1 .avif). Convert"
    assert told in many.stderr
    assert told in facts["warnings"][0]


def test_suffixes_without_end_fill_no_manifest(photos, run_cli):
    for number in range(30):
        (photos / "photos" / f"a.\x1b{number}").touch()
    plan = run_cli("images", "photos", "-o", "x", *NUMBERS, "--dry_run", "--json")
    suffixes = json.loads(plan.stdout)["plan"]["dataset"]["suffixes of other kinds"]
    assert len(suffixes) == 9
    assert sum(suffixes.values()) == 31
    assert "\x1b" not in "".join(suffixes)


@pytest.mark.parametrize(
    ("name", "kind", "mode"),
    [("a.pgm", "PPM", "L"), ("b.PNM", "PPM", "RGB"), ("c.pbm", "PPM", "1"), ("d.jfif", "JPEG", "L")],
)
def test_kinds_of_ppm_and_jpeg_by_their_own_suffixes(name, kind, mode, photos, run_cli):
    (photos / "one").mkdir()
    (photos / "one" / name).write_bytes(encode(Image.fromarray(pixels()).convert(mode), kind))
    done = run_cli("images", "one", "-o", "c.tensor", *NUMBERS)
    assert done.code == 0, done.stderr


@pytest.mark.parametrize("library", ["pillow", "opencv"])
def test_floats_are_refused(library, photos, run_cli):
    (photos / "one").mkdir()
    (photos / "one" / "a.tif").write_bytes(encode(np.full((8, 8), 0.5, np.float32), "TIFF"))
    done = run_cli("images", "one", "-o", "c.tensor", *NUMBERS, "--library", library)
    assert done.code == 4
    assert "a.tif: The image has pixels in floating point, not levels 0..255" in done.stderr
    assert "Convert it to 8 bits as for training, or give arrays" in done.stderr


def test_images_are_verified_without_what_belongs_to_a_spec(photos, run_cli):
    for option in (("--override", "a.b=1"), ("--map", "/a", "/b")):
        done = run_cli("verify", "c.tensor", "--images", "photos", *option)
        assert done.code == 2
        assert "--images takes no spec: leave -e, --use_validation_set, --cal_image_dir, --map and" in done.stderr


def test_a_tensorfile_is_not_called_as_a_picture(photos, run_cli):
    done = run_cli("images", "photos", "-o", "photos/x.PNG", *NUMBERS)
    assert done.code == 2
    assert "a tensorfile is written, and .PNG is the name of a picture\n  Name it photos/x.tensor" in done.stderr
    assert not (photos / "photos" / "x.PNG").exists()


@pytest.mark.parametrize("source", ["photos", "photos/", "list.txt"])
def test_the_images_are_told_by_their_folder_or_list(photos, run_cli, source):
    (photos / "list.txt").write_text("photos/a.JPG\nphotos/b.jpeg\n")
    name, count = ("list.txt", 2) if source == "list.txt" else ("photos", 4)
    plan = run_cli("images", source, "-o", "c.tensor", *NUMBERS, "--dry_run").stdout.splitlines()
    assert f"images {count} of {name}" in [" ".join(line.split()) for line in plan]
    made = run_cli("images", source, "-o", "c.tensor", *NUMBERS).stdout.splitlines()
    assert f"images of {name}" in [" ".join(line.split()) for line in made]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("c.txt", "a list of images"),
        ("c.JSON", "a COCO file"),
        ("c.npy", "arrays of NumPy"),
        ("c.npz", "arrays of NumPy"),
    ],
)
def test_a_tensorfile_is_not_called_as_what_quantize_takes_for_something_else(photos, run_cli, name, what):
    done = run_cli("images", "photos", "-o", name, *NUMBERS)
    assert done.code == 2
    assert f"is the name of {what}\n  Name it c.tensor.\n" in done.stderr
    assert not (photos / name).exists()


def test_a_remote_address_in_a_coco_file(photos, run_cli):
    listed = [{"id": 1, "file_name": "https://host/a.jpg"}, {"id": 2, "file_name": "c.PNG"}]
    for count in (1, 2):
        (photos / "photos" / "coco.json").write_text(json.dumps({"images": listed[:count]}))
        done = run_cli("images", "photos/coco.json", "-o", "c.tensor", *NUMBERS)
        assert done.code == 4
        assert "It is a remote address (https:)" in done.stderr
        assert "longest part" not in done.stderr


def test_a_name_that_ends_with_a_blank_is_that_name(photos, run_cli):
    for name in ("d.png ", "d.png\u3000"):
        shutil.copy(photos / "photos" / "c.PNG", photos / "photos" / name)
    (photos / "list.txt").write_text("photos/d.png \n \nphotos/d.png\u3000\r\n", encoding="utf-8")
    done = run_cli("images", "list.txt", "-o", "c.tensor", *NUMBERS)
    assert done.code == 0, done.stderr
    with int8cal.TensorFile("c.tensor") as file:
        assert sorted(file.samples["frame_id"].tolist()) == [b"photos/d.png ", "photos/d.png\u3000".encode()]


def test_blank_lines_of_a_list_take_no_memory(photos, run_cli, monkeypatch):
    monkeypatch.setattr("int8cal.origins.images.origin._MAX_LIST_BYTES", 32 << 20)  # is taken at once
    (photos / "list.txt").write_bytes(b"\r\n" * (8 << 20) + b"photos/c.PNG\r\n")
    tracemalloc.start()
    try:
        plan = run_cli("images", "list.txt", "-o", "x", *NUMBERS, "--dry_run", "--json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert json.loads(plan.stdout)["plan"]["batches"] == 1
    assert peak < 96 << 20


def test_a_list_of_too_many_images(photos, run_cli, monkeypatch):
    monkeypatch.setattr("int8cal.origins.images.origin.MAX_IMAGES", 1)
    (photos / "list.txt").write_text("photos/c.PNG\nphotos/d.png\n")
    done = run_cli("images", "list.txt", "-o", "x", *NUMBERS, "--dry_run")
    assert done.code == 4
    assert "the list names more than 1 images" in done.stderr


@pytest.mark.parametrize("source", ["list.txt", "coco.json"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (r"photos\more\e.png", "The names have backslashes: write them with / in the file that gives them."),
        ("photos/d.jpg", "d.png lies there: correct the names in the file that gives them."),
        ("photos/d", "d.png lies there: correct the names in the file that gives them."),
        ("photos/notes.png", "1 of 1 images is missing"),  # notes.txt lies there, which is not an image
        ("./d", "1 of 1 images is missing"),
    ],
)
def test_names_that_are_nearly_right(photos, run_cli, source, name, words):
    (photos / "list.txt").write_text(name)
    (photos / "coco.json").write_text(json.dumps({"images": [{"id": 1, "file_name": name}]}))
    done = run_cli("images", source, "-o", "x", *NUMBERS)
    assert done.code == 4, done.stderr
    assert words in done.stderr
    assert "notes.txt lies" not in done.stderr
    assert "records" not in done.stderr
    assert "image_extension" not in done.stderr


@pytest.mark.parametrize("library", ["pillow", "opencv"])
@pytest.mark.parametrize(
    "change", [lambda data: data[: len(data) * 2 // 3], lambda data: data[:400] + bytes(16) + data[416:]]
)
def test_a_damaged_jpeg_is_refused_whatever_decodes_it(photos, run_cli, library, change):
    folder = photos / "one"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(change(encode(pixels(60, 80), "JPEG")))
    done = run_cli("images", "one", "-o", "c.tensor", *NUMBERS, "--library", library)
    assert done.code == 4, done.stdout
    assert "Invalid JPEG data" in done.stderr


def test_numbers_in_a_file(photos, run_cli):
    (photos / "preprocess.yaml").write_text("size: [24, 32]\nresize: stretch\nscale: 1/255\nmean: [0.5]\nstd: 0.25\n")
    assert run_cli("images", "photos", "-o", "a", "--preprocess", "preprocess.yaml").code == 0
    assert run_cli("images", "photos", "-o", "b", *NUMBERS, "--mean", "0.5", "--std", "0.25").code == 0
    assert (photos / "a").read_bytes() == (photos / "b").read_bytes()
    assert run_cli("verify", "a", "--images", "photos", "--preprocess", "preprocess.yaml").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the preprocessing does not say size or resize or scale"),
        (("--size", "24x32"), "does not say resize or scale"),
        (("--preset", "imagenett"), "there is no preset 'imagenett'"),
        ((*NUMBERS, "--mean", "1,2"), "mean has 2 values for 3 channels"),
        ((*NUMBERS, "--std", "0"), "std has a zero"),
        *[((*NUMBERS, "--std", std), "one value of all levels") for std in ("inf", "1e40", "0.5,0.5,inf")],
        ((*NUMBERS[:4], "--scale", "1e-300"), "one value of all levels"),
        ((*NUMBERS[:4], "--scale", "255/1"), "a scale of '255/1'"),
        (("--size", "24", *NUMBERS[2:]), "size cannot be '24'"),
        ((*NUMBERS[:2], "--resize", "letterbox", *NUMBERS[4:]), "letterbox needs the level of the border"),
        (("--size", "0x5", *NUMBERS[2:]), "no pixels"),
        ((*NUMBERS[:2], "--resize", "short_side:8", *NUMBERS[4:]), "less than the size"),
        ((*NUMBERS[:2], "--resize", "short_side:20000", *NUMBERS[4:]), "20000×20000 pixels are too large"),
        ((*NUMBERS[:2], "--resize", f"short_side:{'9' * 3000}", *NUMBERS[4:]), "pixels are too large"),
        ((*NUMBERS, "--order", "brg"), "order cannot be 'brg'"),
        ((*NUMBERS, "--preprocess", "x.yaml"), "says everything"),
        ((*NUMBERS, "--pad", "3"), "pad has no effect with resize stretch"),
        ((*NUMBERS, "--anchor", "top_left"), "anchor has no effect with resize stretch"),
        (("--preset", "imagenet", "--rounding", "down"), "rounding has no effect with resize short_side"),
        (("--preset", "clip", "--resize", "crop", "--interpolation", "lanczos"), "interpolation has no effect"),
        ((*NUMBERS, "--image_dir", "more"), "image_dir is where the names in a list or a COCO file start"),
    ],
)
def test_what_cannot_be_meant_is_refused(photos, run_cli, arguments, words):
    done = run_cli("images", "photos", "-o", "c.tensor", *arguments)
    assert done.code == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert not (photos / "c.tensor").exists()


@pytest.mark.parametrize(
    ("options", "short_side"),
    [
        ((), 256),
        (("--size", "224x224"), 256),
        (("--size", "299x299"), 342),
        (("--size", "64x64"), 73),
        (("--size", "32x64"), 73),
        (("--size", "64x64", "--resize", "short_side:80"), 80),
        (("--size", "64x64", "--resize", "stretch"), None),
    ],
)
def test_a_preset_cuts_the_same_part_out_at_every_size(photos, run_cli, options, short_side):
    assert run_cli("images", "photos", "-o", "c.tensor", "--preset", "imagenet", *options).code == 0
    manifest = json.loads((photos / "c.tensor.json").read_text())["manifest"]
    assert manifest["arithmetic"]["options"]["preprocessing"]["short_side"] == short_side


@pytest.mark.parametrize(("preset", "order"), [("imagenet", "bgr"), ("clip", "bgr"), ("caffe", "rgb"), ("tf", "bgr")])
def test_mean_and_std_of_a_preset_turn_with_the_order(photos, run_cli, preset, order):
    """Red keeps the mean of red, wherever it stands."""
    for name, options in (("as_is", ()), ("turned", ("--order", order))):
        done = run_cli("images", "photos", "-o", f"{name}.tensor", "--preset", preset, *options)
        assert done.code == 0, done.stderr
    as_is, turned = int8cal.TensorFile("as_is.tensor"), int8cal.TensorFile("turned.tensor")
    for one, other in zip(as_is, turned, strict=True):
        np.testing.assert_array_equal(other, one[:, ::-1])
    assert run_cli("verify", "turned.tensor", "--images", "photos").code == 0


def test_numbers_that_are_given_beside_a_preset_stay_as_they_are(photos, run_cli):
    given = ("--preset", "imagenet", "--order", "bgr", "--mean", "0.1,0.2,0.3")
    assert run_cli("images", "photos", "-o", "c.tensor", *given).code == 0
    stated = json.loads((photos / "c.tensor.json").read_text())["manifest"]["arithmetic"]["options"]["preprocessing"]
    assert (stated["mean"], stated["std"]) == ([0.1, 0.2, 0.3], [0.225, 0.224, 0.229])


@pytest.mark.parametrize("resize", ["stretch", "short_side:32", "crop"])
def test_a_preset_resized_otherwise_states_nothing_without_effect(photos, run_cli, resize):
    """What is stated can be stated again, as numbers alone."""
    options = ("--preset", "yolox", "--size", "24x32", "--resize", resize)
    assert run_cli("images", "photos", "-o", "c.tensor", *options).code == 0
    stated = json.loads((photos / "c.tensor.json").read_text())["manifest"]["arithmetic"]["options"]["preprocessing"]
    assert (stated["pad"], stated["anchor"], stated["rounding"]) == (None, "centre", "nearest")
    assert run_cli("verify", "c.tensor", "--images", "photos").code == 0


def test_recursive_is_for_a_folder(photos, run_cli):
    (photos / "list.txt").write_text("photos/d.png\n")
    done = run_cli("images", "list.txt", "-o", "c.tensor", *NUMBERS, "--recursive")
    assert done.code == 2
    assert "recursive is for a folder, and this is a file that names the images" in done.stderr


@pytest.mark.parametrize("name", ["~/x.jpg", "$HOME/y.jpg"])
def test_a_list_is_not_read_by_a_shell(photos, run_cli, name):
    (photos / "list.txt").write_text(name)
    done = run_cli("images", "list.txt", "-o", "c.tensor", *NUMBERS)
    assert done.code == 4
    assert done.stderr.endswith("  A list is not read by a shell: write what stands for ~ or $NAME.\n")


def test_unknown_keys_of_a_file_are_errors(photos, run_cli):
    (photos / "p.yaml").write_text("size: [24, 32]\nresize: stretch\nscale: 1\nmeans: 3\n")
    done = run_cli("images", "photos", "-o", "c.tensor", "--preprocess", "p.yaml")
    assert done.code == 2
    assert done.stderr.startswith("int8cal: error: p.yaml: there is no key 'means'")


@pytest.mark.parametrize("preset", ["5", "[imagenet]", "{a: b}", "true"])
def test_a_preset_of_a_file_is_text(photos, run_cli, preset):
    (photos / "p.yaml").write_text(f"preset: {preset}\n")
    done = run_cli("images", "photos", "-o", "c.tensor", "--preprocess", "p.yaml")
    assert done.code == 2
    assert done.stderr.startswith("int8cal: error: p.yaml: preset cannot be ")


def test_a_letterbox_that_nvinfer_fills_otherwise_is_warned_of(photos, run_cli):
    boxed = ("--size", "8x12", "--resize", "letterbox", "--scale", "1/255", "--pad")
    for pad, warned in (("114", True), ("0", False)):
        assert run_cli("images", "photos", "-o", f"{pad}.tensor", *boxed, pad).code == 0
        shown = run_cli("inspect", f"{pad}.tensor", "--deepstream")
        assert {"maintain-aspect-ratio=1", "symmetric-padding=1"} <= set(shown.stdout.splitlines())
        assert ("warning: nvinfer pads with black (0), and the images were padded with 114" in shown.stderr) is warned


def test_an_image_smaller_than_the_crop_is_an_error_not_a_border(photos, run_cli):
    done = run_cli("images", "photos", "-o", "c.tensor", "--size", "50x50", "--resize", "crop", "--scale", "1")
    assert done.code == 4
    assert "are less than the 50x50 to cut out" in done.stderr
