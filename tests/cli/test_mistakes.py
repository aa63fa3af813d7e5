"""The mistakes of the first hour, as a table: what is wrong, the command, its exit code, and what the user is told.

All on one small data set, whose spec was written for another machine or has something else wrong with it.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.build import write_records

from int8cal.demo.dataset import make_dataset
from int8cal.demo.evaluate import CLASSIFIER
from int8cal.samples.tfrecord import Example

ELSEWHERE = "/workspace/tao-experiments/project"
RUN = ("detectnet_v2", "calibration_tensorfile", "-e", "data/spec.txt", "-o", "c.tensor")
FOLDER = (*RUN, "--cal_image_dir", "data/training/image_2")
PLAN = ("detectnet_v2", "plan", "-e", "data/spec.txt")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """Eight small pictures with records, and a spec with relative paths replaced by those of another machine."""
    folder = tmp_path_factory.mktemp("mistakes") / "data"
    made = make_dataset(folder, images=8, size=(40, 64), network_size=(32, 48), validation_split=False)
    text = made.spec.read_text().replace(str(folder), ELSEWHERE)
    (folder / "spec.txt").write_text(text)
    made.spec.unlink()
    return folder


@pytest.fixture
def data(original, tmp_path) -> Path:
    """A copy of it, which may be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "data"))


def here(data: Path) -> None:
    """The spec names the data where they are."""
    edit(data, ELSEWHERE, str(data))


def edit(data: Path, old: str, new: str) -> None:
    """Replace a text in the spec, where it must be."""
    spec = data / "spec.txt"
    text = spec.read_text()
    assert old in text
    spec.write_text(text.replace(old, new))


def images(data: Path) -> list[Path]:
    return sorted((data / "training" / "image_2").iterdir())


def rename_images(suffix: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        here(data)
        for image in images(data):
            image.rename(image.with_suffix(suffix))

    return prepare


def doubled(data: Path) -> None:
    here(data)
    edit(data, f'image_directory_path: "{data}/training"', f'image_directory_path: "{data}/training/image_2"')


def too_high(data: Path) -> None:
    here(data)
    edit(data, f'image_directory_path: "{data}/training"', f'image_directory_path: "{data}"')


def dotted(data: Path) -> None:
    here(data)
    edit(data, 'image_extension: "png"', 'image_extension: ".png"')


def backslashes(data: Path) -> None:
    here(data)
    for record in (data / "tfrecords").iterdir():
        record.unlink()
    example = Example()
    features = example.features.feature
    features["frame/id"].bytes_list.value.append(b"image_2\\000000")
    features["frame/height"].int64_list.value.append(40)
    features["frame/width"].int64_list.value.append(64)
    features["target/object_class"].bytes_list.SetInParent()
    for edge in ("x1", "x2", "y1", "y2"):
        features[f"target/coordinates_{edge}"].float_list.SetInParent()
    write_records(data / "tfrecords" / "kitti_trainval-1", [example.SerializeToString()] * 4)


def one_missing(data: Path) -> None:
    here(data)
    images(data)[3].unlink()


def two_missing(data: Path) -> None:
    one_missing(data)
    images(data)[4].unlink()


def no_folder(data: Path) -> None:
    here(data)
    shutil.rmtree(data / "training")


def beside(content: bytes, name: str = "kitti_trainval-0") -> Callable[[Path], None]:
    """A file of another kind that the pattern matches, first in order."""

    def prepare(data: Path) -> None:
        here(data)
        (data / "tfrecords" / name).write_bytes(content)

    return prepare


def object_detection_api(data: Path) -> None:
    example = Example()
    example.features.feature["image/encoded"].bytes_list.value.append(b"x")
    example.features.feature["image/filename"].bytes_list.value.append(b"a.png")
    beside(b"")(data)
    write_records(data / "tfrecords" / "kitti_trainval-0", [example.SerializeToString()])


def folder_of_records(data: Path) -> None:
    here(data)
    edit(data, "kitti_trainval-*", "")


def empty_records(data: Path) -> None:
    here(data)
    for record in (data / "tfrecords").iterdir():
        record.write_bytes(b"")


def no_records(data: Path) -> None:
    shutil.rmtree(data / "tfrecords")
    shutil.rmtree(data / "training")


def scattered(data: Path) -> None:
    no_records(data)
    edit(data, f"{ELSEWHERE}/tfrecords/kitti_trainval-*", "/workspace/tao/data/a/b/records/kitti_trainval/*")
    edit(data, f"{ELSEWHERE}/training", "/workspace/tao/pictures")


def flat_records(data: Path) -> None:
    here(data)
    edit(data, "kitti_trainval-*", "kitti_trainval/*")


def relative(data: Path) -> None:
    edit(data, ELSEWHERE, "project")


def misspelt_folder(data: Path) -> None:
    here(data)
    (data / "tfrecords").rename(data / "tfrecord")


def spec_of(text: str) -> Callable[[Path], None]:
    def prepare(data: Path) -> None:
        (data / "spec.txt").write_text(text)

    return prepare


def without(*sections: str) -> Callable[[Path], None]:
    """A spec that lacks whole sections."""

    def prepare(data: Path) -> None:
        resized(data)
        spec = data / "spec.txt"
        text = spec.read_text()
        for section in sections:
            text, count = re.subn(rf"^{section} \{{.*?^\}}\n", "", text, flags=re.DOTALL | re.MULTILINE)
            assert count == 1
        spec.write_text(text)

    return prepare


def resized(data: Path) -> None:
    here(data)
    edit(data, "preprocessing {", "preprocessing {\n    enable_auto_resize: true")


@dataclass(frozen=True)
class Mistake:
    """What is wrong, the command, the exit code, and words that the user reads."""

    name: str
    prepare: Callable[[Path], None]
    command: tuple[str, ...]
    code: int
    words: tuple[str, ...]


def misspelt_model(data: Path) -> None:
    shutil.copy(CLASSIFIER, data / "model.onnx")


NUMBERS = ("--resize", "stretch", "--scale", "1/255", "--mean", "0", "--std", "1")


def without_star(data: Path) -> None:
    here(data)
    edit(data, "kitti_trainval-*", "kitti_trainval")


def records_at(path: str) -> Callable[[Path], None]:
    """The records are named by another path."""
    return lambda data: edit(data, f"{ELSEWHERE}/tfrecords/kitti_trainval-*", path)


def placeholders(data: Path) -> None:
    edit(data, f"{ELSEWHERE}/tfrecords/kitti_trainval-*", "/PATH/TO/TFRECORDS/NAME-*")


def accented(data: Path) -> None:
    """An image whose name has its accent apart, as archives of macOS give it, and a list that has it composed."""
    shutil.copy(data / "training/image_2/000000.png", data / "e\u0301.png")
    (data / "names.txt").write_text("\u00e9.png\n", encoding="utf-8")


def listing(name: str, text: str) -> Callable[[Path], None]:
    """Another file beside the spec."""

    def prepare(data: Path) -> None:
        (data / name).write_text(text)

    return prepare


def file_as_folder(data: Path) -> None:
    here(data)
    edit(data, f'image_directory_path: "{data}/training"', f'image_directory_path: "{images(data)[0]}"')


def nothing(data: Path) -> None:
    """As it was made: a spec of another machine."""


TABLE = [
    # --- paths
    Mistake("a spec of another machine", nothing, RUN, 4, (
        "No files match pattern", "The data seem to lie in",
        f"Add --map {ELSEWHERE} ", "int8cal spec update data/spec.txt -o data/spec.new.txt --map /workspace",
    )),
    Mistake("the same, planned", nothing, PLAN, 4, ("The data seem to lie in", "/data. Add --map")),
    Mistake("a folder by nearly its name", misspelt_folder, RUN, 4, (
        "exists and has tfrecord, not tfrecords", "/data/tfrecord. Add --map",
    )),
    Mistake("nothing like it anywhere", spec_of('dataset_config { data_sources {} }'), RUN, 3, ("should be set",)),
    Mistake("an old beginning that the spec does not have", nothing, (*RUN, "--map", "/nowhere", "/tmp"), 3, (
        "the reference /nowhere is not the beginning of any path", "The spec has: ",
    )),
    Mistake("an old beginning with two new ones", nothing, (*PLAN, "--map", "/a", "b", "--map", "/a", "c"), 2, (
        "two paths are given for the reference /a",
    )),
    # --- images
    Mistake("upper-case suffixes", rename_images(".PNG"), RUN, 4, (
        "8 of 8 images are missing", ".PNG lies there", 'set image_extension: "PNG"',
    )),
    Mistake("another suffix", rename_images(".jpeg"), RUN, 4, ("8 of 8 images are missing", 'image_extension: "jpeg"')),
    Mistake("another suffix, planned", rename_images(".jpeg"), PLAN, 4, ("8 of 8 images are missing",)),
    Mistake("the image folder twice", doubled, RUN, 4, ("Take image_2 off the end of image_directory_path",)),
    Mistake("the image folder one too high", too_high, RUN, 4, ("set image_directory_path: ", "/data/training")),
    Mistake("a suffix with its dot", dotted, RUN, 4, ('Write image_extension without the dot: "png"',)),
    Mistake("records with backslashes", backslashes, RUN, 4, ("name images with backslashes",)),
    Mistake("one image is gone", one_missing, RUN, 4, (
        "1 of 8 images is missing", "or take it out of the data. --on_bad_image skip --max_skipped 1 leaves it out.",
    )),
    Mistake("two images are gone", two_missing, RUN, 4, (
        "2 of 8 images are missing", "Also missing: ", "000005.png. Put",
        "--on_bad_image skip --max_skipped 2 leaves them out.",
    )),
    Mistake("one image is gone, planned", one_missing, PLAN, 4, (
        "1 of 8 images is missing", "calibration_tensorfile --on_bad_image skip --max_skipped 1 leaves it out.",
    )),
    Mistake("the image folder is gone", no_folder, RUN, 4, (
        "No dataset image directory found", "longest part that", "/data/training FOLDER to the command",
    )),
    Mistake("a pattern for all folders below", records_at("data/nowhere/**/records-*"), RUN, 4, (
        "No files match pattern", "** stands for one folder here, as * does",
    )),
    Mistake("a path of Windows", records_at(r"C:\data\records-*"), RUN, 4, (
        "It is a path of Windows: write / in it, and the folder where that drive is mounted",
    )),
    Mistake("a path of Windows with escape sequences", records_at(r"C:\train\new\records-*"), RUN, 4, (
        "It is a path of Windows",
    )),
    Mistake("a path with escape sequences", records_at(r"D\train\new\records-*"), RUN, 4, (
        "A backslash in a spec begins an escape sequence", "write / in paths",
    )),
    Mistake("a path with an escape sequence that is none", records_at(r"C:\xray\records-*"), RUN, 3, (
        "a backslash begins an escape sequence here: truncated", "Write / in paths, or two backslashes for one.",
    )),
    # --- files that are not records
    Mistake("the converter's warnings", beside(b'{"a": 1}', "kitti_trainval-0_warning.json"), RUN, 4, (
        "the list of warnings that dataset_convert writes", "Let the pattern match the records alone",
    )),
    Mistake("gzip", beside(gzip.compress(b"x")), RUN, 4, ("but a gzip file", "gzip -dc FILE > NEW")),
    Mistake("git-LFS", beside(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), RUN, 4, (
        "a git-LFS pointer", "git lfs pull",
    )),
    Mistake("a short git-LFS file", beside(b"version https://git-lfs"), RUN, 4, ("a git-LFS pointer",)),
    Mistake("a JSON file", beside(json.dumps([1, 2, 3, 4, 5, 6]).encode()), RUN, 4, ("but a JSON file",)),
    Mistake("a page in place of a download", beside(b"<!DOCTYPE html><html></html>"), RUN, 4, ("HTML or XML",)),
    Mistake("an image", beside(b"\x89PNG\r\n\x1a\n" + bytes(20)), RUN, 4, ("but a PNG image",)),
    Mistake("the Object Detection API", object_detection_api, RUN, 4, (
        "Object Detection API, not of TAO's dataset_convert", "int8cal records KITTI_DIR -o DIR",
    )),
    Mistake("a folder in place of its files", folder_of_records, RUN, 4, (
        "/data/tfrecords/: the TFRecord file is a folder", "all files of a folder are FOLDER/*",
    )),
    Mistake("empty files", empty_records, RUN, 4, ("or they are empty", "int8cal records KITTI_DIR -o DIR")),
    Mistake("no records, and another machine", no_records, RUN, 4, (
        "No TFRecords yet? int8cal records KITTI_DIR -o DIR makes them; --cal_image_dir DIR needs none.",
        f"If the data lie elsewhere, add --map {ELSEWHERE} FOLDER",
    )),
    Mistake("no data at all, and paths of several folders", scattered, RUN, 4, ("add --map /workspace/tao FOLDER",)),
    Mistake("records beside the folder that is named", flat_records, RUN, 4, (
        "/tfrecords/kitti_trainval-*. Add --map '", "/tfrecords/kitti_trainval/*' '",
    )),
    # --- paths of the command line
    Mistake("a spec that is misspelt", here, ("plan", "-e", "data/spec.text"), 3, (
        "there is no such spec file", "Did you mean data/spec.txt?",
    )),
    Mistake("a new beginning where nothing is", nothing, (*PLAN, "--map", "/workspace", "data"), 4, (
        "/data/tao-experiments/project/tfrecords/kitti", f"/data. Add --map {ELSEWHERE} /",
    )),
    Mistake("a new beginning that is not there", nothing, (*PLAN, "--map", ELSEWHERE, "nowhere"), 4, (
        f"/data. Give --map {ELSEWHERE} /", f"/data in place of --map {ELSEWHERE} /", "/nowhere, or write a new spec: ",
    )),
    Mistake("relative paths, and no folder that they start from", relative, RUN, 4, (
        "There is no ", "The data seem to lie in ", "/data. Add --map project /",
    )),
    Mistake("a spec in place of images", here, ("quantize", str(CLASSIFIER), "data/spec.txt", "-o", "q.onnx"), 2, (
        "this is a spec, not a list of images", "int8cal calibration_tensorfile -e data/spec.txt -o FILE",
    )),
    Mistake("records of a folder too high", here, ("records", "data", "-o", "made"), 4, (
        "data/image_2: there is no such folder of images", "data/training has it: int8cal records data/training -o DIR",
    )),
    Mistake("a model in place of the spec", here, ("plan", "-e", str(CLASSIFIER)), 3, (
        "this is an ONNX model, not a spec", "int8cal quantize MODEL.onnx FILE -o OUT.onnx",
    )),
    Mistake("the option of the spec by its plain name", here, (
        "verify", "c.tensor", "--spec", "data/spec.txt",
    ), 2, (
        "No such option '--spec'. Did you mean -e?",
    )),
    Mistake("a model that is misspelt", misspelt_model, (
        "quantize", "data/model.onx", "data", "-o", "q.onnx", *NUMBERS,
    ), 7, (
        "Did you mean data/model.onnx?",
    )),
    Mistake("a folder that is misspelt", here, ("images", "dat", "-o", "c.tensor", *NUMBERS, "--size", "8x8"), 4, (
        "there is no such folder of images", "Did you mean data?",
    )),
    Mistake("a folder in place of a tensorfile", here, ("inspect", "data"), 6, (
        "data: is a folder", "int8cal images data -o FILE",
    )),
    Mistake("one number as the size", here, ("images", "data/training/image_2", "-o", "c.tensor", "--size", "320"), 2, (
        "size cannot be '320'", "height and width in pixels, as 480x640", "A square: 320x320.",
    )),
    Mistake("pictures of a phone", rename_images(".HEIC"), (
        "images", "data/training/image_2", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("no image is in the folder, but 8 files (.HEIC 8)", "Convert such pictures first")),
    Mistake("the beginning of the records' names without a star", without_star, RUN, 4, (
        "/data/tfrecords/kitti_trainval-*. Add --map ",
    )),
    Mistake("a spec as spec new wrote it", placeholders, RUN, 4, (
        "This stands for a path of yours", "--map '/PATH/TO/TFRECORDS/NAME-*' YOURS",
    )),
    Mistake("an image in place of its folder", file_as_folder, RUN, 4, ("000000.png is a file, not a folder",)),
    Mistake("the preset of YOLOv8 by its name", here, (
        "images", "data/training/image_2", "-o", "c.tensor", "--preset", "yolov8",
    ), 2, ("Did you mean ultralytics?",)),
    Mistake("a preset that is misspelt", here, (
        "images", "data/training/image_2", "-o", "c.tensor", "--preset", "image_net",
    ), 2, ("there is no preset 'image_net'", "Did you mean imagenet?")),
    Mistake("records of the folder of images itself", here, ("records", "data/training/image_2", "-o", "made"), 4, (
        "/data/training has it: int8cal records /",
    )),
    Mistake("records of images that lie elsewhere", here, (
        "records", "data/tfrecords", "-o", "made", "--image_dir", "../training/image_2",
        "--label_dir", "../training/label_2",
    ), 2, (
        "the folder of images lies outside of data/tfrecords", "/data/training --image_dir image_2.",
    )),
    Mistake("records with the two folders swapped", here, (
        "records", "data/training", "-o", "made", "--image_dir", "label_2", "--label_dir", "image_2",
    ), 4, (
        "There are: 8 .txt. The images are in data/training/image_2: swap --image_dir and --label_dir.",
    )),
    Mistake("records without an image in either folder", here, (
        "records", "data/training", "-o", "made", "--image_dir", "label_2",  "--label_dir", "label_2",
    ), 4, ("There are: 8 .txt. Name the folder of images with --image_dir.",)),
    Mistake("a fraction for the percentage of validation", here, (
        "records", "data/training", "-o", "made", "--val_split", "0.2",
    ), 2, ("is in per cent", "For 20 % of the images: --val_split 20.")),
    Mistake("all images for validation", here, ("records", "data/training", "-o", "made", "--val_split", "100"), 0, (
        "warning: fold 1 has no images (100 % of 8 images are for validation)", "--val_split 20",
    )),
    Mistake("a percentage of less than one image", here, (
        "records", "data/training", "-o", "made", "--val_split", "2",
    ), 0, ("warning: fold 0 has no images (2 % of 8 images", "--val_split 20")),
    Mistake("one fold of records", here, ("records", "data/training", "-o", "made", "--num_partitions", "1"), 0, (
        "none are kept apart for validation; --num_partitions 2 --val_split 20",
    )),
    # --- outputs, inputs and commands that are others
    Mistake("the spec as output", here, (*RUN[:-1], "data/spec.txt"), 5, (
        "already exists", "It is not a tensorfile, and is never replaced by one: choose another name.",
    )),
    Mistake("inspect of a spec", here, ("inspect", "data/spec.txt"), 6, ("is a text file, and not a tensorfile",)),
    Mistake("verify of a picture", here, ("verify", "data/training/image_2/000000.png"), 6, (
        "is a file of another kind, and not a tensorfile",
    )),
    Mistake("export of a network", here, ("detectnet_v2", "export"), 2, (
        "int8cal export FILE --to FORMAT writes a tensorfile in other forms",
    )),
    Mistake("dataset_convert", here, ("detectnet_v2", "dataset-convert"), 2, ("int8cal records KITTI_DIR -o DIR",)),
    Mistake("training", here, ("detectnet_v2", "train"), 2, ("that is done by NVIDIA's tao",)),
    Mistake("a network that is misspelt", here, ("detectnetv2", "plan"), 2, ("did you mean 'detectnet_v2'?",)),
    Mistake("overrides of protobuf text", here, ("plan", "-e", "data/spec.txt", "a=b"), 2, ("have no overrides",)),
    *(
        Mistake(f"a mean of levels with a scale of 1/255, {name}", here, (
            "images", "data/training/image_2", "-o", "made.tensor", "--resize", "stretch", "--size", "8x8",
            "--scale", "1/255", "--mean", "123,116,103", *more,
        ), 0, (words,))
        for name, more, words in (
            ("alone", (), "from -123 to -102: mean is in the unit after scale, such as --mean 0.482,0.455,0.404 with"),
            ("and its std", ("--std", "58,57,57"), "such as --mean 0.482,0.455,0.404 --std 0.227,0.224,0.224 with"),
        )
    ),
    Mistake("a mean beyond everything", here, (
        "images", "data/training/image_2", "-o", "made.tensor", "--resize", "stretch", "--size", "8x8",
        "--scale", "1", "--mean", "5000",
    ), 0, ("warning: the values run from -5000 to -4745: mean is in the unit after scale\n",)),
    # --- images from a folder
    Mistake("a folder of images of another size", here, (*RUN, "--cal_image_dir", "data/training/image_2"), 4, (
        "the network takes 48x32 pixels, and the image has 64x40", "40% of the image is cut off",
        "Set enable_auto_resize: true", "or resize the images",
    )),
    Mistake("a spec without what decides pixels", without("augmentation_config"), FOLDER, 3, (
        "augmentation_config should be set",
    )),
    Mistake("no batch size anywhere", without("training_config"), FOLDER, 2, ("Give --batch_size B",)),
    Mistake("no image in the folder but capitals", rename_images(".PNG"), FOLDER, 4, (
        "no image is in the folder, but 8 files (.PNG 8)", "(lower case)",
        "Rename a copy: cp -r data/training/image_2 data/training/image_2.lower && find ",
    )),
    # --- lists and other files
    Mistake("names that start from another folder", listing("names.txt", "000000.png\n000001.png\n"), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("2 of 2 images are missing", "add --image_dir data/training/image_2")),
    Mistake("names that are nowhere", listing("names.txt", "x.png\ny.png\n"), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet", "--dry_run",
    ), 4, ("2 of 2 images are missing", "The names start from data: --image_dir DIR names another.")),
    Mistake("a name that is listed twice", listing("names.txt", "x.png\nx.png\nspec.txt\n"), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("2 of 3 images are missing", "--on_bad_image skip --max_skipped 2 leaves them out")),
    Mistake("names in quotation marks", listing("names.txt", '"x.png"\n"y.png"\n'), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("Every line is a path as it is: take the quotation marks out.",)),
    Mistake("a blank at the end of a name", listing("names.txt", "training/image_2/000000.png \n"), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("000000.png lies there: correct the names in the file that gives them.",)),
    Mistake("a name in another form of Unicode", accented, (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("A file there has the same name in another form of Unicode (NFC, NFD)",)),
    Mistake("a pattern in a list", listing("names.txt", "training/image_2/*.png\n"), (
        "images", "data/names.txt", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("Every line is one path, and no pattern",)),
    Mistake("an image in place of a list", here, (
        "images", "data/training/image_2/000000.png", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("this is one image, not a folder or a list of images", "Give its folder, data/training/image_2,")),
    Mistake("a model in place of a list", misspelt_model, (
        "images", "data/model.onnx", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("this is an ONNX model, not a list of images",)),
    Mistake("an empty folder", lambda data: (data / "empty").mkdir(), (
        "images", "data/empty", "-o", "c.tensor", "--preset", "imagenet",
    ), 4, ("data/empty: the folder is empty",)),
    Mistake("a folder of folders", here, (*RUN, "--cal_image_dir", "data"), 4, (
        "no image is in the folder, but 2 files (.json 1, .txt 1) and 2 folders (tfrecords, training)",
        "For those in folders below it, add --recursive.",
    )),
    Mistake("a format that is not named", nothing, ("export", "c.tensor", "-o", "c.npz"), 2, (
        "Missing option '--to'. Choose from: npz, npy, ",
    )),
    Mistake("a model in place of the preprocessing", misspelt_model, (
        "images", "data/training/image_2", "-o", "c.tensor", "--preprocess", "data/model.onnx",
    ), 3, ("this is an ONNX model, not a preprocessing file", "Give the file of --preprocess")),
    Mistake("a preprocessing that is not YAML", listing("p.yaml", "size: [1\n"), (
        "images", "data/training/image_2", "-o", "c.tensor", "--preprocess", "data/p.yaml",
    ), 3, ("A preprocessing file is YAML",)),
    Mistake("a model in place of a calibration cache", misspelt_model, ("cache", "show", "data/model.onnx"), 7, (
        "data/model.onnx: is an ONNX model, not a calibration cache",
    )),
    Mistake("too many batches", here, (*RUN[1:], "-m", "10"), 4, (
        "or make smaller batches, in the spec, or by --batch_size of int8cal calibration_tensorfile",
    )),
    # --- networks that are not here
    *(
        Mistake(f"a spec of {network}", spec_of(text), RUN, 3, (
            f" {network} spec, and int8cal has no such network yet", "int8cal images DIR -o FILE",
        ))
        for network, text in {
            "YOLOv3": "random_seed: 42\nyolov3_config { arch: 'resnet' }\ntraining_config { num_epochs: 1 }\n",
            "YOLOv4": "random_seed: 42\nyolov4_config { arch: 'resnet' }\ndataset_config { image_extension: 'png' }\n",
            "RetinaNet": "retinanet_config { arch: 'resnet' }\ntraining_config { num_epochs: 80 }\n",
            "UNet": "model_config { num_layers: 18 }\ndataset_config { train_images_path: 'a' }\n",
            "LPRNet": "random_seed: 42\nlpr_config { arch: 'baseline' }\ntraining_config { num_epochs: 24 }\n",
            "Mask R-CNN": "seed: 123\nmaskrcnn_config { nlayers: 50 }\n",
            "EfficientDet": "dataset_config { training_file_pattern: 'a' }\nmodel_config { anchor_scale: 4 }\n",
            "EfficientDet (TF2)": "dataset:\n  train_tfrecords: [a]\nmodel:\n  name: efficientdet-d0\n",
            "classification (TF2)": "dataset:\n  train_dataset_path: a\nmodel:\n  backbone: resnet_18\n",
            "Mask2Former": "model_name: mask2former\ndataset:\n  train: {type: coco}\n",
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "is_fed_images"), [("visual_changenet", False), ("pointpillars", False), ("mask2former", True)]
)
def test_images_make_no_data_of_a_network_that_is_not_fed_them(data, run_cli, name, is_fed_images):
    (data / "other.yaml").write_text(f"model_name: {name}\ndataset:\n  train: {{type: coco}}\n")
    for command in ((name, "plan"), ("plan", "-e", "data/other.yaml"), ("spec", "new", name, "-o", "new.yaml")):
        told = run_cli(*command).stderr
        assert "int8cal has no " in told
        assert ("int8cal images" in told) is is_fed_images


@pytest.mark.parametrize("mistake", TABLE, ids=lambda mistake: mistake.name)
def test_what_the_user_is_told(mistake, data, run_cli):
    mistake.prepare(data)
    ended = run_cli(*mistake.command)
    told = ended.stdout + ended.stderr
    assert ended.code == mistake.code, told
    for words in mistake.words:
        assert words in told
    assert not (data.parent / "c.tensor").exists()


def test_records_of_absolute_folders_are_those_of_their_names(data, run_cli):
    """Loaders join the names in the records to the folder of the spec."""
    training = data / "training"
    (data / "link").symlink_to(training)
    absolute = ("--image_dir", str(training / "image_2"), "--label_dir", str(training / "label_2"))
    assert run_cli("records", "data/training", "-o", "plain").code == 0
    for made, root in (("full", "data/training"), ("linked", "data/link")):
        assert run_cli("records", root, "-o", made, *absolute).code == 0
        for file in (data.parent / "plain").iterdir():
            assert (data.parent / made / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_records_lead_to_a_plan_by_the_lines_they_end_with(data, run_cli, suffix):
    rename_images(suffix)(data)
    made = run_cli("records", "data/training", "-o", "made", "--image_extension", suffix[1:])
    lines = [line.strip() for line in made.stdout.partition("Next:\n")[2].splitlines()]
    assert len(lines) == (2 if suffix == ".png" else 3), made.stdout
    for line in lines:
        words = shlex.split(line)
        if words[0] == "int8cal":
            done = run_cli(*words[1:])
            assert done.code == 0, done.stderr
        else:
            subprocess.run(words, cwd=data.parent, check=True)
    assert "missing images  0" in done.stdout


def test_a_folder_asks_only_for_what_decides_pixels(data, run_cli):
    """As NVIDIA publishes the specs of its models: no data sources, no evaluation, no cost function."""
    without("evaluation_config", "cost_function_config", "bbox_rasterizer_config", "postprocessing_config")(data)
    spec = data / "spec.txt"
    spec.write_text(re.sub(r"  data_sources \{.*?\}\n", "", spec.read_text(), flags=re.DOTALL))
    done = run_cli(*FOLDER)
    assert done.code == 0, done.stderr
    assert run_cli("verify", "c.tensor", *FOLDER[2:4], *FOLDER[-2:]).code == 0
    assert "int8cal verify c.tensor -e SPEC --cal_image_dir DIR\n" in run_cli("verify", "c.tensor").stdout
    assert run_cli(*RUN[:-1], "d.tensor").code == 3


def test_a_new_beginning_is_a_path_as_the_shell_has_it(data, run_cli, monkeypatch):
    """Relative to the working directory, not to DATA_BASE_PATH, which is for the paths in the spec."""
    monkeypatch.setenv("DATA_BASE_PATH", "/elsewhere")
    mapped = ("--map", ELSEWHERE, "data")
    assert run_cli(*RUN, *mapped).code == 0
    assert run_cli("verify", "c.tensor", "-e", "data/spec.txt", *mapped).code == 0


def test_padding_and_cutting_are_told(data, run_cli):
    here(data)
    planned = run_cli(*PLAN).stdout
    assert "warning: 40% of the image is cut off" in planned
    assert "enable_auto_resize: true in the spec scales images instead" in planned
    made = run_cli(*RUN)
    assert "warning: 40% of the image is cut off" in made.stdout
    checked = run_cli("verify", "c.tensor", "-e", "data/spec.txt")
    assert "warning  40% of the image is cut off [framing]" in checked.stdout
    assert run_cli("report", "c.tensor", "-o", "r.html").code == 0
    assert "40% of the image is cut off" in (data.parent / "r.html").read_text()


def test_the_line_that_is_told_makes_it_work(data, run_cli, tmp_path):
    line = run_cli(*RUN).stderr
    options = line[line.index("--map") :].split(" to the command")[0].split()
    assert run_cli(*RUN, *options).code == 0
    update = line[line.index("int8cal spec update") :].split()[1:]
    assert run_cli(*update).code == 0
    made = run_cli("detectnet_v2", "calibration_tensorfile", "-e", "data/spec.new.txt", "-o", "again.tensor")
    assert made.code == 0, made.stderr
    assert (tmp_path / "c.tensor").read_bytes() == (tmp_path / "again.tensor").read_bytes()
    assert run_cli("verify", "c.tensor", "-e", "data/spec.txt", *options).code == 0


def test_the_line_that_is_told_for_a_new_path_that_is_not_there_makes_it_work(data, run_cli):
    wrong = ("--map", f"{ELSEWHERE}/", "nowhere")
    line = run_cli(*RUN, *wrong).stderr
    options = shlex.split(line[line.index("--map") :].split(" in place of")[0])
    assert run_cli(*RUN, *options).code == 0
    assert run_cli(*shlex.split(line[line.index("int8cal spec update") :])[1:]).code == 0
    assert run_cli("plan", "-e", "data/spec.new.txt").code == 0


def test_records_that_lie_and_are_called_otherwise_are_found_by_following_the_lines(data, run_cli, tmp_path):
    edit(data, "tfrecords/kitti_trainval-*", "tfrecords/kitti_trainval/*")
    options: list[str] = []
    for _ in range(2):
        line = run_cli(*RUN, *options).stderr
        options += shlex.split(line[line.index("--map") :].split(" to the command")[0])
        update = shlex.split(line[line.index("int8cal spec update") :])[1:]
    assert run_cli(*RUN, *options).code == 0
    assert run_cli(*update).code == 0
    assert run_cli("verify", "c.tensor", "-e", "data/spec.new.txt").code == 0


def test_no_map_is_told_that_changes_nothing(data, run_cli):
    """The folder is there; what the records name in it is not."""
    rename_images(".PNG")(data)
    edit(data, f'image_directory_path: "{data}/training"', f'image_directory_path: "{data}/training/image_2"')
    assert "--map" not in run_cli(*RUN).stderr


def test_the_copy_with_suffixes_in_lower_case_is_made_by_the_line_that_is_told(data, run_cli, tmp_path):
    resized(data)
    for image in images(data):
        image.rename(image.with_suffix(".PNG"))
    told = run_cli(*FOLDER).stderr
    subprocess.run(["bash", "-ec", told[told.index("cp -r") :]], cwd=tmp_path, check=True)
    assert run_cli(*FOLDER[:-1], "data/training/image_2.lower").code == 0


def test_a_relative_new_path_means_the_same_in_a_run_and_in_a_new_spec(data, run_cli):
    assert run_cli("spec", "update", "data/spec.txt", "-o", "new.txt", "--map", ELSEWHERE, "data").code == 0
    assert run_cli("plan", "-e", "new.txt").code == 0


@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        ("/home/me/venv", "python -m pip install 'jinja2"),
        ("/home/me/.local/share/pipx/venvs/int8cal", "pipx inject int8cal 'jinja2"),
        ("/home/me/.local/share/uv/tools/int8cal", "uv pip install --python /home/me/venv/bin/python 'jinja2"),
    ],
)
def test_the_hint_for_an_extra_is_a_line_that_works_here(data, run_cli, monkeypatch, prefix, line):
    """int8cal is on no index: ``pip install int8cal[report]`` would install what somebody else called so."""
    here(data)
    assert run_cli(*RUN).code == 0
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "executable", "/home/me/venv/bin/python")
    told = run_cli("report", "c.tensor", "-o", "r.html")
    assert told.code == 8
    assert line in told.stderr.lower()
    assert "int8cal[" not in told.stderr


@pytest.mark.parametrize(
    "command", [("inspect", "--nope"), ("nosuch",), ("inspect",), ("inspect", "nosuch"), ("quantize", "nosuch", "x")]
)
def test_every_error_has_the_same_facts_as_json(run_cli, command):
    done = run_cli(*command, "--json")
    error = json.loads(done.stdout)["error"]
    assert error.keys() == {"type", "message", "where", "hint", "exit_code"}
    assert error["exit_code"] == done.code != 0
