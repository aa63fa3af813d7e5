"""What the loaders that the presets name make of the pictures beside this file: ``goldens.json``.

Run once, by hand, in an environment with those loaders; the versions that were used stand in the file. The pictures are
drawn here, from a seed; what is stored is the SHA-256 of each float32 array in C order, C × H × W.

    python make_goldens.py
"""

from __future__ import annotations

import hashlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"


def texture(height: int, width: int, channels: int, seed: int) -> np.ndarray:
    """Edges, ramps and noise, 0..255."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(channels):
        wave = 90 * np.sin(rows / (3 + channel) + seed) + 70 * np.cos(columns / (5 + channel))
        planes.append(128 + wave + random.normal(0, 20, (height, width)) + 40 * ((rows + columns) % 16 < 8))
    return np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8)


def draw() -> None:
    """The pictures, of every kind that people have."""
    PICTURES.mkdir(exist_ok=True)
    for name, data in kinds().items():
        (PICTURES / name).write_bytes(data)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def kinds() -> dict[str, bytes]:
    """File name → content."""
    found: dict[str, bytes] = {}
    sizes = {"plain": (61, 83), "tall": (97, 31), "wide": (29, 120), "dot": (1, 1), "tiny": (3, 2), "square": (64, 64)}
    for number, (name, (height, width)) in enumerate(sizes.items()):
        colour = Image.fromarray(texture(height, width, 3, number))
        found[f"{name}.png"] = saved(colour, "PNG")
        found[f"{name}.jpg"] = saved(colour, "JPEG", quality=90)
        found[f"{name}.bmp"] = saved(colour, "BMP")
    large = Image.fromarray(texture(300, 410, 3, 20))
    found["large.jpg"] = saved(large, "JPEG", quality=75)
    found["large_444.jpg"] = saved(large, "JPEG", quality=75, subsampling=0)
    found["progressive.jpg"] = saved(large.crop((0, 0, 150, 200)), "JPEG", progressive=True)
    base = Image.fromarray(texture(50, 70, 3, 30))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found[f"exif{orientation}.jpg"] = saved(base, "JPEG", quality=92, exif=exif)
    grey = Image.fromarray(texture(40, 55, 1, 40)[:, :, 0])
    found["grey.png"] = saved(grey, "PNG")
    found["grey.jpg"] = saved(grey, "JPEG")
    found["grey_alpha.png"] = saved(Image.fromarray(texture(33, 44, 2, 41), "LA"), "PNG")
    found["rgba.png"] = saved(Image.fromarray(texture(45, 52, 4, 42), "RGBA"), "PNG")
    found["palette.png"] = saved(base.quantize(64), "PNG")
    found["palette_alpha.png"] = saved(base.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    found["palette.gif"] = saved(base.quantize(32), "GIF")
    found["bits.png"] = saved(grey.point(lambda level: 255 if level > 127 else 0).convert("1"), "PNG")
    deep = (texture(36, 47, 1, 43)[:, :, 0].astype(np.uint16) * 257 + 3).astype(np.uint16)
    found["grey16.png"] = saved(Image.fromarray(deep), "PNG")
    found["cmyk.jpg"] = saved(base.convert("CMYK"), "JPEG", quality=95)
    found["colour.tif"] = saved(base, "TIFF", compression="tiff_lzw")
    found["colour.webp"] = saved(base, "WEBP", quality=80)
    return found


def torchvision_loader(resize: int, crop: int, interpolation: str, mean: tuple, std: tuple):
    from torchvision import transforms

    mode = getattr(transforms.InterpolationMode, interpolation)
    chain = transforms.Compose(
        [
            transforms.Resize(resize, interpolation=mode),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    return lambda path: chain(Image.open(path).convert("RGB")).numpy()


def ultralytics_loader():
    import cv2
    import torch
    from ultralytics.data.augment import LetterBox

    letterbox = LetterBox((640, 640), auto=False)

    def load(path: Path) -> np.ndarray:
        boxed = letterbox(image=cv2.imread(str(path)))
        planes = np.ascontiguousarray(boxed[..., ::-1].transpose(2, 0, 1))
        return (torch.from_numpy(planes).float() / 255).numpy()

    return load


def yolox_loader():
    """The one module of YOLOX's source distribution: its package imports much that preprocessing does not need."""
    import sys
    from importlib.util import find_spec, module_from_spec, spec_from_file_location
    from types import ModuleType

    import cv2

    sys.modules["yolox.utils"] = ModuleType("yolox.utils")
    sys.modules["yolox.utils"].xyxy2cxcywh = None
    (package,) = find_spec("yolox").submodule_search_locations
    spec = spec_from_file_location("data_augment", Path(package) / "data" / "data_augment.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: module.preproc(cv2.imread(str(path)), (640, 640))[0]


def keras_loader(mode: str):
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    from keras.applications.imagenet_utils import preprocess_input
    from keras.utils import img_to_array, load_img

    def load(path: Path) -> np.ndarray:
        values = img_to_array(load_img(str(path), target_size=(224, 224)))
        return np.ascontiguousarray(preprocess_input(values, mode=mode).transpose(2, 0, 1))

    return load


LOADERS = {
    "imagenet": (
        lambda: torchvision_loader(256, 224, "BILINEAR", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("torchvision", "pillow"),
    ),
    "clip": (
        lambda: torchvision_loader(
            224,
            224,
            "BICUBIC",
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ),
        ("torchvision", "pillow"),
    ),
    "ultralytics": (ultralytics_loader, ("ultralytics", "opencv-python-headless", "torch")),
    "yolox": (yolox_loader, ("yolox", "opencv-python-headless")),
    "tf": (lambda: keras_loader("tf"), ("keras", "pillow")),
    "caffe": (lambda: keras_loader("caffe"), ("keras", "pillow")),
}


def main() -> None:
    draw()
    goldens: dict[str, object] = {}
    for preset, (loader, packages) in LOADERS.items():
        load = loader()
        arrays: dict[str, str | None] = {}
        for path in sorted(PICTURES.iterdir()):
            try:
                array = np.ascontiguousarray(load(path), dtype=np.float32)
            except Exception as error:  # noqa: BLE001 - a loader may fail on a picture as it likes
                arrays[path.name] = None
                print(preset, path.name, type(error).__name__, error)
                continue
            arrays[path.name] = hashlib.sha256(array.tobytes()).hexdigest()
        goldens[preset] = {"versions": {name: version(name) for name in packages}, "sha256": arrays}
    (HERE / "goldens.json").write_text(json.dumps(goldens, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
