"""TAO's PyTorch networks, image by image, against a second statement of their arithmetic: equal in every bit."""

from __future__ import annotations

import json
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.build import png_chunk, png_file
from tests.golden.test_yaml_networks import CASES, DATA, EVALUATED, digest
from tests.golden.torch_networks_reference import transform
from tests.jpeg_files import BASELINE, PROGRESSIVE, Kind, write_jpeg
from tests.pictures import encode, interlaced_png

from int8cal.errors import ImageError
from int8cal.origins.experiment import read_spec
from int8cal.origins.origin import Choice
from int8cal.plans import plan_of
from int8cal.samples.samples import Sample

MEAN_STD = {"mean": [0.1, 0.45, 0.999], "std": [1e-2, 0.7, 3]}
DETECTOR = {"input_mean": MEAN_STD["mean"], "input_std": MEAN_STD["std"]}
SFORMER = {"label_transform": "", "palette": [], "dataset": "SFDataset"}

DINO: list[tuple[dict[str, Any], str | None]] = [
    ({"export": {"input_height": 61, "input_width": 97}}, "export"),
    ({"dataset": {"augmentation": DETECTOR}, "export": {"input_height": 224, "input_width": 32}}, "export"),
    ({"evaluate": {"input_height": 7, "input_width": 300}}, "evaluate"),
    ({"dataset": {"augmentation": {"test_random_resize": 64, "random_resize_max_size": 111}}}, "spec"),
    ({"dataset": {"augmentation": {**DETECTOR, "test_random_resize": 99, "random_resize_max_size": 50}}}, "spec"),
    ({"dataset": {"augmentation": {"test_random_resize": 33, "random_resize_max_size": 70, "fixed_padding": False}}},
     "spec"),
    ({"dataset": {"augmentation": {"test_random_resize": 45, "random_resize_max_size": 90, "pad_size_divisor": 32}}},
     "spec"),
]  # fmt: skip

SPECS: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "rtdetr": [
        ({"dataset": {"augmentation": augmentation}}, None)
        for augmentation in (
            {"eval_spatial_size": [48, 80]},
            {"eval_spatial_size": [97, 31], "preserve_aspect_ratio": True},
            {"eval_spatial_size": [64, 64], "preserve_aspect_ratio": True},
            {"eval_spatial_size": [160, 160]},
            {"eval_spatial_size": [41]},
        )
    ],
    "dino": DINO,
    "deformable_detr": DINO,
    "classification_pyt": [
        ({"dataset": {"img_size": size, "augmentation": augmentation}}, None)
        for size, augmentation in ((56, {}), (131, MEAN_STD), (1, {}), (64, {"mean": [0.3], "std": [0.2]}))
    ],
    "segformer": [
        ({"dataset": {"segment": {**SFORMER, "img_size": size, "augmentation": augmentation}}}, None)
        for size, augmentation in ((56, {}), (131, MEAN_STD), (1, {}), (64, {"mean": [0.3], "std": [0.2]}))
    ],
    "ocrnet": [
        (
            {
                "model": {"input_height": height, "input_width": width, "input_channel": channels},
                "dataset": {"augmentation": {"keep_aspect_ratio": keep}},
            },
            None,
        )
        for height, width, channels, keep in (
            (32, 100, 1, False), (32, 100, 1, True), (48, 64, 3, True), (7, 200, 3, False), (64, 64, 2, True),
        )
    ],
    "ml_recog": [
        ({"model": {"input_height": height, "input_width": width}, "dataset": numbers}, None)
        for height, width, numbers in (
            (56, 56, {}), (33, 71, {"pixel_mean": [0.1, 0.45, 0.999], "pixel_std": [0.01, 0.7, 3]}), (1, 3, {}),
            (120, 64, {"pixel_mean": [0.3], "pixel_std": [0.2]}),
        )
    ],
}  # fmt: skip


def side(random: np.random.Generator, largest: int) -> int:
    return int(np.exp(random.uniform(0, np.log(largest + 0.99))))


def sides(random: np.random.Generator, largest: int) -> tuple[int, int]:
    """Height and width: any two, or very narrow ones, or about those of the network."""
    height, width = side(random, largest), side(random, largest)
    shape = random.integers(0, 6)
    if shape < 2:
        return (height, int(random.integers(1, 4)))[:: 1 if shape else -1]
    if shape == 2:
        return height, max(1, min(largest, height + int(random.integers(-2, 3))))
    return height, width


def photograph(random: np.random.Generator, height: int, width: int) -> Image.Image:
    """Smooth colours with noise."""
    coarse = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(smooth + random.integers(-40, 41, smooth.shape), 0, 255).astype(np.uint8))


def orientation(random: np.random.Generator) -> bytes:
    """EXIF of any orientation, two of which do not exist, in either byte order, as SHORT or as LONG."""
    order = "<>"[random.integers(0, 2)]
    value, wide = int(random.integers(0, 10)), random.random() < 0.2
    entry = struct.pack(f"{order}HHI", 274, 4 if wide else 3, 1)
    entry += struct.pack(f"{order}I", value) if wide else struct.pack(f"{order}HH", value, 0)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", 1) + entry + bytes(4)


def xmp(random: np.random.Generator) -> bytes:
    value = random.integers(1, 9)
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def odd_picture(random: np.random.Generator, largest: int) -> tuple[str, bytes]:
    """An image file of any kind, and what is special about it."""
    height, width = sides(random, largest)
    rgb = photograph(random, height, width)
    alpha = Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8))
    quality = int(random.integers(1, 101))

    def sampled(components: int) -> tuple[tuple[int, int], ...]:
        return tuple((int(random.integers(1, 3)), int(random.integers(1, 3))) for _ in range(components))

    small = (min(height, 90), min(width, 90))
    deep = random.integers(0, 65536, (height, width), dtype=np.uint16)
    grey = rgb.convert("L")
    palette = rgb.quantize(int(random.integers(2, 257)))
    kinds: dict[str, Any] = {
        "jpeg": lambda: encode(rgb, "JPEG", quality=quality, subsampling=int(random.integers(0, 3))),
        "jpeg, progressive": lambda: encode(rgb, "JPEG", quality=quality, progressive=True, optimize=True),
        "jpeg, 4:1:1": lambda: encode(rgb, "JPEG", quality=quality, subsampling="4:1:1"),
        "jpeg, restarts": lambda: encode(rgb, "JPEG", quality=quality, restart_marker_blocks=3),
        "jpeg, RGB inside": lambda: encode(rgb, "JPEG", quality=quality, keep_rgb=True),
        "jpeg, grey": lambda: encode(grey, "JPEG", quality=quality),
        "jpeg, CMYK": lambda: encode(rgb.convert("CMYK"), "JPEG", quality=quality),
        "jpeg, YCCK": lambda: write_jpeg(Kind(((1, 1),) * 4, small, adobe=2, seed=height)),
        "jpeg, coefficients": lambda: write_jpeg(
            Kind(sampled(3), small, [BASELINE, PROGRESSIVE][random.integers(0, 2)], restart=2, seed=width)
        ),
        "jpeg, turned": lambda: encode(rgb, "JPEG", quality=quality, exif=orientation(random)),
        "jpeg, grey, turned": lambda: encode(grey, "JPEG", quality=quality, exif=orientation(random)),
        "jpeg, CMYK, turned": lambda: encode(rgb.convert("CMYK"), "JPEG", exif=orientation(random)),
        "jpeg, turned by XMP": lambda: encode(rgb, "JPEG", quality=quality, xmp=xmp(random)),
        "jpeg, EXIF and XMP": lambda: encode(rgb, "JPEG", exif=orientation(random), xmp=xmp(random)),
        "png": lambda: encode(rgb),
        "png, alpha": lambda: encode(Image.merge("RGBA", [*rgb.split(), alpha])),
        "png, alpha, turned": lambda: encode(Image.merge("RGBA", [*rgb.split(), alpha]), exif=orientation(random)),
        "png, grey": lambda: encode(grey),
        "png, grey and alpha": lambda: encode(Image.merge("LA", [grey, alpha])),
        "png, palette": lambda: encode(palette),
        "png, palette, turned": lambda: encode(palette, exif=orientation(random)),
        "png, transparent colours": lambda: encode(palette, transparency=random.bytes(17)),
        "png, one transparent colour": lambda: encode(rgb, transparency=rgb.getpixel((0, 0))),
        "png, one transparent grey": lambda: encode(grey, transparency=int(random.integers(0, 256))),
        "png, 1 bit": lambda: encode(grey.convert("1")),
        "png, grey of few bits": lambda: interlaced_png(height, width, int(random.choice([1, 2, 4])), 0),
        "png, 16 bit": lambda: encode(deep),
        "png, low 16 bit": lambda: encode(deep >> 7),
        "png, 16 bit colour": lambda: png_file(
            np.frombuffer(random.bytes(6 * height * width), np.uint8).reshape(height, -1), width=width, bit_depth=16
        ),
        "png, 16 bit with alpha": lambda: interlaced_png(height, width, 16, int(random.choice([4, 6]))),
        "png, interlaced": lambda: interlaced_png(height, width, 8, int(random.choice([0, 2, 3, 4, 6]))),
        "png, turned": lambda: encode(rgb, exif=orientation(random)),
        "png, turned at its end": lambda: png_file(
            np.asarray(rgb).reshape(height, -1), width=width, after=png_chunk(b"eXIf", orientation(random)[6:])
        ),
        "png, gamma": lambda: png_file(
            np.asarray(rgb).reshape(height, -1), width=width, before=png_chunk(b"gAMA", struct.pack(">I", 100000))
        ),
        "bmp": lambda: encode([rgb, grey, palette, grey.convert("1")][random.integers(0, 4)], "BMP"),
        "bmp, alpha": lambda: encode(Image.merge("RGBA", [*rgb.split(), alpha]), "BMP"),
        "ppm": lambda: encode([rgb, grey, grey.convert("1")][random.integers(0, 3)], "PPM"),
        "gif": lambda: encode(palette, "GIF"),
        "tiff": lambda: encode([rgb, grey, palette, grey.convert("1")][random.integers(0, 4)], "TIFF"),
        "tiff, 16 bit": lambda: encode(deep >> int(random.integers(0, 9)), "TIFF"),
        "tiff, turned": lambda: encode(rgb, "TIFF", tiffinfo={274: int(random.integers(1, 9))}),
        "tiff, compressed": lambda: encode(rgb, "TIFF", compression=str(random.choice(["tiff_lzw", "tiff_deflate"]))),
        "tiff, alpha": lambda: encode(Image.merge("RGBA", [*rgb.split(), alpha]), "TIFF"),
        "tiff, CMYK": lambda: encode(rgb.convert("CMYK"), "TIFF"),
        "webp": lambda: encode(rgb, "WEBP", quality=min(quality, 100)),
        "webp, lossless, alpha": lambda: encode(Image.merge("RGBA", [*rgb.split(), alpha]), "WEBP", lossless=True),
        "webp, turned": lambda: encode(rgb, "WEBP", exif=orientation(random)),
    }  # fmt: skip
    kind = str(random.choice(list(kinds)))
    return f"{kind}, {width} × {height}", kinds[kind]()


def pictures(seed: int, count: int, largest: int, root: Path) -> Iterator[tuple[str, str]]:
    """Image files below a folder: what they are, and their paths."""
    for number in range(count):
        random = np.random.default_rng([seed, number])
        with warnings.catch_warnings(action="ignore"):
            what, encoded = odd_picture(random, largest)
        path = root / f"{number:03d}.png"  # the content decides, whatever the name says
        path.write_bytes(encoded)
        yield what, str(path)


def stated(network: str, spec: dict[str, Any], form: str | None, path: str) -> np.ndarray | None:
    """What the second statement makes of an image; None where it fails."""
    with warnings.catch_warnings(action="ignore"):
        try:
            with Image.open(path) as picture:
                return transform(network, spec, form)(picture)
        except (OSError, ValueError, SyntaxError):
            return None


def made(arithmetic: Any, path: str) -> np.ndarray | str:
    """What int8cal makes of it; text for a message."""
    sample = Sample(0, "image", path)
    try:
        array = arithmetic(Path(path).read_bytes(), sample)
    except ImageError as error:
        return str(error)
    assert arithmetic.shape(sample) == array.shape
    return array


def differences(network: str, spec: dict[str, Any], form: str | None, images: list[tuple[str, str]], root: Path):
    """What is not equal, in words; and the images of which both made the same array."""
    (root / "spec.yaml").write_text(json.dumps(spec))
    options = {"form": form} if form else {}
    folder = root / "one"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(encode(np.zeros((64, 64, 3), np.uint8)))
    choice = Choice(cal_image_dir=folder, options=options)
    arithmetic = read_spec(root / "spec.yaml", network).decide(choice).arithmetic
    wrong, equal = [], []
    for what, path in images:
        expected, array = stated(network, spec, form, path), made(arithmetic, path)
        if isinstance(array, str) or expected is None:
            if (expected is None) != isinstance(array, str):
                wrong.append(f"{what}: {'no array' if expected is None else expected.shape} but {array!r:.200}")
        elif (array.shape, array.tobytes()) != (expected.shape, expected.tobytes()):
            wrong.append(f"{what}: {array.shape}, {expected.shape}, up to {np.abs(array - expected).max()}")
        else:
            equal.append((path, array))
    return wrong, equal


def batches(network: str, form: str | None, images: list[str], root: Path) -> np.ndarray:
    """The images by way of a plan of the folder, in the order of their names."""
    folder = root / "all"
    folder.mkdir()
    for path in images:
        (folder / Path(path).name).write_bytes(Path(path).read_bytes())
    options = {"form": form} if form else {}
    choice = Choice(cal_image_dir=folder, max_batches=-1, batch_size=1, options=options)
    plan = plan_of(read_spec(root / "spec.yaml", network), choice)
    arrays = dict(zip((sample.path for sample in plan.samples()), plan.batches(workers=1), strict=True))
    return np.concatenate([arrays[path] for path in sorted(arrays)])


def equals_nvidia(network: str, step: int) -> None:
    """Of each golden case, or of one in ``step``, the first sample."""
    for case in [case for case in CASES if case["network"] == network and case["expect"] == "ok"][::step]:
        sample = case["samples"][0]
        if os.path.isfile(DATA / sample["file"]) and case["name"] != EVALUATED:
            array = stated(network, yaml.safe_load(case["spec"]), case.get("form"), str(DATA / sample["file"]))
            assert array is not None, case["name"]
            assert digest(array) == sample["sha256"], case["name"]


def compare(network: str, count: int, largest: int, root: Path) -> None:
    seed = list(SPECS).index(network)
    images = list(pictures(seed, count, largest, root))
    for spec, form in SPECS[network]:
        wrong, equal = differences(network, spec, form, images, root)
        assert not wrong, f"{spec}, form {form}:\n" + "\n".join(wrong)
        assert len(equal) > 0.8 * count
        if (spec, form) == SPECS[network][0]:
            expected = np.stack([array for _, array in equal])
            assert batches(network, form, [path for path, _ in equal], root).tobytes() == expected.tobytes()


@pytest.mark.parametrize("network", SPECS)
def test_a_few_odd_images(tmp_path: Path, network: str) -> None:
    equals_nvidia(network, 5)
    compare(network, 7, 150, tmp_path)


@pytest.mark.extended
@pytest.mark.timeout(600)
@pytest.mark.parametrize("network", SPECS)
def test_two_hundred_odd_images(tmp_path: Path, network: str) -> None:
    equals_nvidia(network, 1)
    compare(network, 200, 700, tmp_path)
