from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from int8cal.errors import DataError, ImageError, SpecError
from int8cal.network_kit.network import Arithmetic
from int8cal.networks.detectnet_v2 import NETWORK
from int8cal.preprocess.normalise import HALF_VALUES, SINGLE_VALUES
from int8cal.samples.encoded import read_encoded
from int8cal.samples.folders import ImageFolder, read_folder
from int8cal.spec.prototext.document import PrototextSpec
from int8cal.spec.prototext.load import parse
from int8cal.spec.prototext.text import SpecText
from int8cal.types import Size

from ...build import record, write_records

PREPROCESSING = "output_image_width: 96 output_image_height: 64 output_image_channel: 3"
EXTENSION = 'image_extension: "png"'
SPATIAL = "zoom_min: 1 zoom_max: 1"


def make_spec(preprocessing: str = "", spatial: str = SPATIAL, dataset: str = EXTENSION) -> PrototextSpec:
    text = f"""random_seed: 7
dataset_config {{ data_sources {{ tfrecords_path: "records/*" image_directory_path: "images" }} {dataset} }}
augmentation_config {{
  preprocessing {{ {PREPROCESSING} {preprocessing} }}
  spatial_augmentation {{ {spatial} }}
}}
training_config {{ batch_size_per_gpu: 2 }}
"""
    return parse(SpecText.from_str(text), "spec.txt", NETWORK.root)


def write_image(root: Path, name: str, picture: np.ndarray, kind: str = "PNG") -> None:
    (root / "images").mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    (root / "images" / name).write_bytes(buffer.getvalue())


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """Grey, alpha, one pixel, odd sizes; each record gives the size of its image."""
    random = np.random.default_rng(0)
    shapes = {"grey": (33, 47), "alpha": (20, 31, 4), "dot": (1, 1, 3), "wide": (3, 90, 3), "tall": (61, 2, 3)}
    shapes |= {"larger": (75, 101, 3)}
    for name, shape in shapes.items():
        write_image(tmp_path, f"{name}.png", random.integers(0, 256, shape, dtype=np.uint8))
    write_records(tmp_path / "records" / "r", [record(name, *shape[:2]) for name, shape in shapes.items()])
    return tmp_path


def arithmetic_of(spec: PrototextSpec, root: Path) -> Arithmetic:
    return NETWORK.arithmetic(spec, NETWORK.dataset(spec, "training", str(root)), {})


@pytest.mark.parametrize("mode", ["MULTISOURCE", "LEGACY", "DEFAULT"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "preprocessing",
    [
        "",
        "enable_auto_resize: true",
        "crop_left: 5 crop_top: 7 crop_right: 60 crop_bottom: 50",
        "scale_width: 0.7 scale_height: 1.3",
        "scale_width: 0.7 scale_height: 1.3 enable_auto_resize: true crop_left: 5 crop_right: 99 crop_bottom: 90",
    ],
)
def test_contract_of_an_arithmetic(odd_images: Path, mode: str, channels: int, preprocessing: str) -> None:
    spec = make_spec(preprocessing, dataset=f'image_extension: "png" dataloader_mode: {mode}')
    spec.message.augmentation_config.preprocessing.output_image_channel = channels
    NETWORK.check(spec)
    dataset = NETWORK.dataset(spec, "training", str(odd_images))
    arithmetic = NETWORK.arithmetic(spec, dataset, {})
    assert arithmetic.name == f"detectnet_v2.mode{['MULTISOURCE', 'LEGACY', 'DEFAULT'].index(mode)}"
    assert json.loads(json.dumps(dict(arithmetic.options))) == dict(arithmetic.options)
    for sample in dataset.samples:
        encoded = read_encoded(sample)
        values = arithmetic(encoded, sample)
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        assert values.shape == arithmetic.shape(sample)
        assert values.shape[0] == channels
        assert values.min() >= 0
        assert values.max() <= 1
        again = arithmetic(encoded, sample)
        np.testing.assert_array_equal(values, again)
        assert not np.shares_memory(values, again)


@pytest.mark.parametrize("mode", ["MULTISOURCE", "DEFAULT"])
@pytest.mark.parametrize(
    "crop", [(0, 0, 0, 0), (5, 7, 60, 50), (40, 30, 101, 75), (90, 60, 150, 130), (150, 130, 160, 140)]
)
def test_a_crop_shows_each_pixel_where_it_lies(odd_images: Path, mode: str, crop: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = crop
    text = f"crop_left: {left} crop_top: {top} crop_right: {right} crop_bottom: {bottom}"
    spec = make_spec(text if any(crop) else "", dataset=f"{EXTENSION} dataloader_mode: {mode}")
    dataset = NETWORK.dataset(spec, "training", str(odd_images))
    arithmetic = NETWORK.arithmetic(spec, dataset, {})
    sample = next(sample for sample in dataset.samples if sample.frame_id == "larger")
    decoded = arithmetic.decode(read_encoded(sample), sample)
    assert arithmetic.size(decoded) == (75, 101)  # the manifest's, however little is looked at
    if mode == "DEFAULT" or not any(crop):
        right, bottom = left + 96, top + 64
    pixels = np.asarray(Image.open(odd_images / "images" / "larger.png"))
    table = HALF_VALUES if mode == "MULTISOURCE" else SINGLE_VALUES
    margin = 200
    plane = np.full((75 + 2 * margin, 101 + 2 * margin, 3), 0.5 if mode == "MULTISOURCE" else 0.0, np.float32)
    plane[margin : margin + 75, margin : margin + 101] = table[pixels]
    expected = plane[margin + top : margin + bottom, margin + left : margin + right].transpose(2, 0, 1)
    rounding = 2e-5 if mode == "DEFAULT" else 0  # the inverse of some crops is not quite of whole pixels
    np.testing.assert_allclose(arithmetic.to_tensor(decoded, sample), expected, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("preprocessing", "spatial", "dataset", "place", "problem"),
    [
        ("", "", "", "5:3", "zoom_min must be > 0.0"),
        ("", "zoom_min: nan zoom_max: 1", "", "5:26", "zoom_min must be > 0.0"),
        ("", "zoom_min: 2 zoom_max: 1", "", "5:38", "zoom_max must be >= zoom_min"),
        ("", SPATIAL + " hflip_probability: 1.5", "", "5:50", "hflip_probability must be in"),
        ("", SPATIAL + " translate_max_x: -1", "", "5:50", "translate_max_x must be >= 0"),
        ("crop_left: 5 crop_right: 4", SPATIAL, "", "4:103", "null output dim"),
        ("crop_top: 5", SPATIAL, "", "4:3", "null output dim"),
        ("scale_width: -1", SPATIAL, "", "4:90", "scale_width must be a number >= 0"),
        ("scale_height: nan", SPATIAL, "", "4:90", "scale_height must be a number >= 0"),
        ("scale_height: inf", SPATIAL, "", "4:90", "scale_height must be a number >= 0"),
        ("crop_right: 40", SPATIAL, "", "4:3", r"Crop.bottom \(0\) should be greater than Crop.top \(0\)"),
        ("crop_right: 90000 crop_bottom: 90000", SPATIAL, "", "4:3", "90000×90000 pixels are too large"),
        ("output_image_min: 320", SPATIAL, "", "4:3", "output_image_max"),
        ("", SPATIAL, 'dataloader_mode: DEFAULT image_extension: "bmp"', "2:", "Encoding not supported"),
    ],
)
def test_impossible_specs_are_refused_with_their_place(
    preprocessing: str, spatial: str, dataset: str, place: str, problem: str
) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        NETWORK.check(make_spec(preprocessing, spatial, dataset))
    assert str(caught.value).startswith(f"spec.txt:{place}")


def test_the_place_of_an_absent_field_is_the_message_around_it_whatever_the_path() -> None:
    text = make_spec("crop_right: 40", SPATIAL).text
    with pytest.raises(SpecError) as caught:
        NETWORK.check(parse(text, "a\x1bb.txt", NETWORK.root))
    assert caught.value.where == "a\\x1bb.txt:4:3"


def test_spec_values_are_taken_over() -> None:
    spec = make_spec()
    NETWORK.check(spec)
    assert (NETWORK.seed(spec.message), NETWORK.batch_size(spec.message)) == (7, 2)


@pytest.mark.parametrize(
    ("extension", "mode", "dct"),
    [
        ("jpg", "MULTISOURCE", "accurate"),
        ("jpeg", "MULTISOURCE", "accurate"),
        ("JPG", "MULTISOURCE", "fast"),
        ("png", "MULTISOURCE", "fast"),
        ("jpg", "DEFAULT", "fast"),
    ],
)
def test_extension_and_mode_choose_the_dct(tmp_path: Path, extension: str, mode: str, dct: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    write_image(tmp_path, f"a.{extension}", photo, "JPEG")
    write_records(tmp_path / "records" / "r", [record("a", 64, 96)])
    spec = make_spec(dataset=f'image_extension: "{extension}" dataloader_mode: {mode}')
    assert arithmetic_of(spec, tmp_path).options["jpeg_dct"] == dct


def test_of_a_folder_each_name_chooses_the_dct(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.png"):
        write_image(tmp_path, name, photo, "JPEG")
    dataset = read_folder(ImageFolder(str(tmp_path / "images")), None, size_of=lambda *_: Size(64, 96))
    accurate = np.asarray(Image.open(tmp_path / "images" / "a.jpg"))
    for written in ("", 'image_extension: "png"', 'image_extension: "jpg"'):
        arithmetic = NETWORK.arithmetic(make_spec(dataset=written), dataset, {})
        assert arithmetic.options["jpeg_dct"] == "accurate and fast"
        of_jpg, of_png = (arithmetic.decode(read_encoded(sample), sample).pixels for sample in dataset.samples)
        np.testing.assert_array_equal(of_jpg, accurate[: of_jpg.shape[0], : of_jpg.shape[1]])
        assert (of_jpg != of_png).any()


def test_size_with_limited_sides_comes_from_the_record(odd_images: Path) -> None:
    spec = make_spec("output_image_min: 40 output_image_max: 60")
    NETWORK.check(spec)
    dataset = NETWORK.dataset(spec, "training", str(odd_images))
    arithmetic = NETWORK.arithmetic(spec, dataset, {})
    shapes = {sample.frame_id: arithmetic.shape(sample) for sample in dataset.samples if sample.frame_id != "wide"}
    assert shapes == {
        "grey": (3, 40, 56),
        "alpha": (3, 38, 60),
        "dot": (3, 40, 40),
        "tall": (3, 60, 1),
        "larger": (3, 40, 53),
    }
    for sample in dataset.samples:
        if sample.frame_id != "wide":
            assert arithmetic(read_encoded(sample), sample).shape == shapes[sample.frame_id]


@pytest.mark.parametrize(
    ("size", "problem"),
    [((0, 0), "gives no image size"), ((3, 90_000), "output dimensions must be positive")],
)
def test_recorded_size_that_leaves_no_image(tmp_path: Path, size: tuple[int, int], problem: str) -> None:
    (tmp_path / "images").mkdir()
    write_records(tmp_path / "records" / "r", [record("a", *size)])
    spec = make_spec("output_image_min: 40 output_image_max: 60")
    dataset = NETWORK.dataset(spec, "training", str(tmp_path))
    with pytest.raises(ImageError, match=problem):
        NETWORK.arithmetic(spec, dataset, {}).shape(dataset.samples[0])


def test_scale_that_would_need_a_huge_canvas_or_skip_all_pixels(odd_images: Path) -> None:
    for mode in ("MULTISOURCE", "DEFAULT"):
        for scale in ("1e-9", "1e-45", "3e38"):
            spec = make_spec(f"scale_width: {scale} scale_height: 1", dataset=f"dataloader_mode: {mode} {EXTENSION}")
            with pytest.raises(SpecError, match="scale_width puts sample points"):
                arithmetic_of(spec, odd_images)
    write_records(odd_images / "records" / "huge", [record("grey", 100_000, 100_000)])
    with pytest.raises(DataError, match="100000×100000 pixels"):
        arithmetic_of(make_spec("scale_width: 0.5"), odd_images)


def test_recorded_size_alone_takes_no_memory_without_scale(odd_images: Path) -> None:
    write_records(odd_images / "records" / "huge", [record("grey", 2**31 - 1, 2**31 - 1)])
    spec = make_spec()
    dataset = NETWORK.dataset(spec, "training", str(odd_images))
    values = NETWORK.arithmetic(spec, dataset, {})(read_encoded(dataset.samples[0]), dataset.samples[0])
    assert values.shape == (3, 64, 96)


def test_one_factor_alone_is_no_scale_in_modes_1_and_2(odd_images: Path) -> None:
    mode = 'image_extension: "png" dataloader_mode: DEFAULT'
    plain, half = (
        arithmetic_of(make_spec(dataset=mode), odd_images),
        arithmetic_of(make_spec("scale_width: 0.5", dataset=mode), odd_images),
    )
    assert plain.options == half.options
