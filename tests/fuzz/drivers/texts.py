"""TFRecords, calibration caches, the component's values and specs: small readers of text and records."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

from tests.build import record
from tests.fuzz.driver import Driver, Mutator
from tests.specs import CLASSIFICATION, FASTER_RCNN, SSD, YAML_SPECS

import int8cal
from int8cal.component.request import parse
from int8cal.component.values import read_lines
from int8cal.samples.tfrecord import frame_record, iterate_records, parse_features
from int8cal.tensorrt.cache import dumps, read_cache


def in_file(data: bytes, name: str = "input") -> str:
    """The data as a file in the current folder."""
    Path(name).write_bytes(data)
    return name


def read_records(data: bytes) -> int:
    """Records as DetectNet_v2 reads them; damage inside of them has right checksums, too."""
    entries = list(iterate_records(in_file(data)))
    for entry in entries:
        parse_features(entry.payload, "x")
    return len(entries)


def reframed(data: bytes, random: Random) -> bytes:
    """One record whose payload is damaged, with right checksums."""
    payload = bytearray(record(f"png/{random.randrange(100)}"))
    for _ in range(random.choice((1, 2, 5))):
        payload[random.randrange(len(payload))] = random.choice((0, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return frame_record(bytes(payload)) + data[: random.randrange(len(data) + 1)]


CACHE = b"TRT-100300-EntropyCalibration2\nimages: 3c008f10\nconv1/Relu: 3d124925\nout: 3e800000\n"
CACHES = {
    "cache": CACHE,
    "zero": CACHE + b"none: 0\n",
    "json": b'{"version": 100300, "algorithm": "EntropyCalibration2", "amax": {"images": 1.0, "out": 0.5}}',
}
GIVEN = {
    "output_dir": "/out", "model_app_name": "app", "training_data_dir": "/data/train", "original_specs": "/specs",
    "specfile_reference_training_data_dir": "/workspace/train", "training_tf_records_dir": "/data/records",
    "specfile_reference_training_tf_records_dir": "/workspace/records", "specs_file": "spec.txt",
    "max_batches": "10",
}  # fmt: skip
VALUES = {
    name: end.join(f"{key}={value}" for key, value in GIVEN.items()).encode()
    for name, end in {"unix": "\n", "windows": "\r\n"}.items()
}


def words(*known: bytes) -> Mutator:
    """Puts in, or in place of a line, what the format knows."""

    def mutate(data: bytes, random: Random) -> bytes:
        lines = data.split(b"\n")
        at = random.randrange(len(lines) + 1)
        return b"\n".join([*lines[:at], random.choice(known), *lines[at + random.randrange(2) :]])

    return mutate


def lines_moved(data: bytes, random: Random) -> bytes:
    """Some lines gone, twice, elsewhere, or deeper."""
    lines = data.split(b"\n")
    begin = random.randrange(len(lines))
    end = min(len(lines), begin + random.choice((1, 1, 1, 2, 5)))
    taken, rest = lines[begin:end], lines[:begin] + lines[end:]
    deed = random.randrange(5)
    at = random.randrange(len(rest) + 1)
    if deed == 0:
        return b"\n".join(rest)
    if deed == 1:
        return b"\n".join(lines[:end] + taken * random.choice((1, 1, 2, 30)) + lines[end:])
    if deed == 2:
        return b"\n".join(rest[:at] + taken + rest[at:])
    if deed == 3:
        return b"\n".join(lines[:begin] + [b"  " + line for line in taken] + lines[end:])
    return b"\n".join(lines[:begin] + [line.removeprefix(b"  ") for line in taken] + lines[end:])


_WORD = re.compile(rb"""[A-Za-z_][A-Za-z_0-9]*|"[^"\n]*"|-?[0-9][0-9.e+-]*|[][{}<>:,;#&*!|>'"-]""")
_VALUES = (
    b"0", b"-1", b"1", b"2147483648", b"18446744073709551616", b"1e400", b"-1e-400", b"nan", b"inf", b"0x1F", b"017",
    b"1.", b".5", b"true", b"no", b"null", b"~", b'""', b'"\\303"', b"'a'", b'"\xe2\x80\xae"', b"\xef\xbb\xbf",
    b"A", b"[]",
    b"[1, 2]", b"{}", b"{a: 1}", b"[[[[1]]]]", b"2001-01-01", b"${a}", b"${oc.env:HOME}", b"${now:%Y}", b"???",
)  # fmt: skip


def words_changed(data: bytes, random: Random) -> bytes:
    """A word of the text is another: one of its own, or one that stands at a border."""
    found = list(_WORD.finditer(data))
    for _ in range(random.choice((1, 1, 2))):
        word = random.choice(found)
        other = random.choice(_VALUES) if random.random() < 0.6 else random.choice(found)[0]
        if other != word[0]:
            return data[: word.start()] + other + data[word.end() :]
    return data


def nested(opening: bytes, closing: bytes) -> Mutator:
    """A word is wrapped, a few or very many times."""

    def mutate(data: bytes, random: Random) -> bytes:
        word = random.choice(list(_WORD.finditer(data)))
        times = 3000 if random.random() < 0.02 else random.choice((1, 1, 2, 3, 40, 70))  # the first costs 0.3 s
        return data[: word.start()] + opening * times + word[0] + closing * times + data[word.end() :]

    return mutate


TEXT = (lines_moved, lines_moved, words_changed, words_changed, words_changed)
YAML = {name: text.encode() for name, text in YAML_SPECS.items()}
YAML_KINDS = b"""\
# kinds of nodes
results_dir: "/results\\u00e9"
encryption_key: 'it''s'
dataset:
  train_data_sources:
  - &source
    image_dir: ${results_dir}/images
    json_file: >-
      coco.json
  - {image_dir: images, "json_file": 'other.json'}
  val_data_sources: *source
  augmentation:
    eval_spatial_size: [24,
      0x20]
    train_spatial_size:
      - 040
      - 3_2
  batch_size: !!int "4"
? train
: num_epochs: .inf
  optim: {<<: {lr: 1e-4}, momentum: ~}
"""


def yaml_specs() -> dict[str, bytes]:
    """Small specs, and one with every kind of node in it."""
    return {**YAML, "kinds": YAML_KINDS, "kinds of Windows": YAML_KINDS.replace(b"\n", b"\r\n")}


def read_component(data: bytes) -> object:
    return parse(read_lines(data.decode("utf-8", "surrogateescape"), "inputs"))


def specs() -> dict[str, bytes]:
    found = {"classification": CLASSIFICATION, "ssd": SSD, "faster_rcnn": FASTER_RCNN}
    detectnet = Path(__file__).parents[2] / "golden" / "cases" / "detectnet_v2" / "m0_auto" / "spec.txt"
    return {"detectnet_v2": detectnet.read_bytes(), **{name: text.encode() for name, text in found.items()}}


def read_text_spec(data: bytes) -> object:
    """Any spec of protobuf text, whose network is told by its content."""
    spec = int8cal.read_spec(in_file(data, "spec.txt"))
    return repr(spec), spec.sha256, list(spec.path_values())


def read_yaml_spec(data: bytes) -> object:
    """Any YAML spec."""
    spec = int8cal.read_spec(in_file(data, "spec.yaml"))
    return repr(spec), spec.sha256, list(spec.path_values())


CACHE_WORDS = (b"a: 7f800000", b"a: 0", b"a: ffffffff", b"a:", b": 3c008f10", b"[[[[", b'{"amax": {"a": NaN}}')
VALUE_WORDS = (
    b"network=ssd", b"max_batches=-1", b"max_batches=99999999999999999999", b"overwrite=yes", b"=", b"seed=\0",
    b"validation_data_dir=s3://a", b"output_subfolder=../..",
)  # fmt: skip
SPEC_WORDS = (
    b"a {", b"}", b'x: "\\777"', b"random_seed: 99999999999999999999", b"batch_size_per_gpu: 1e400", b"[a.b] { }",
    b"# x", b"dataset_config <", b'a: "',
)  # fmt: skip
YAML_WORDS = (
    b"a: &a [*a]", b"<<: *x", b"? [", b"!!python/object:os.system x", b"a: 1_000", b"- - - -", b"\t", b"%TAG",
)  # fmt: skip
RECORDS = {"one": frame_record(record()), "two": frame_record(record()) * 2, "none": b""}

DRIVERS = [
    Driver("tfrecord", lambda: RECORDS, read_records, (reframed,), share=0.5),
    Driver(
        "cache", lambda: CACHES, lambda data: dumps(read_cache(in_file(data))), (words(*CACHE_WORDS), *TEXT), share=0.5
    ),
    Driver("component", lambda: VALUES, read_component, (words(*VALUE_WORDS), *TEXT), share=0.5),
    Driver(
        "spec",
        specs,
        read_text_spec,
        (words(*SPEC_WORDS), *TEXT, nested(b"a { ", b" }"), nested(b"[", b"]")),
        own_damage=0.9,
        share=2,
    ),
    Driver(
        "yaml",
        yaml_specs,
        read_yaml_spec,
        (words(*YAML_WORDS), *TEXT, nested(b"{a: ", b"}"), nested(b"[", b"]"), nested(b"- ", b"")),
        own_damage=0.9,
        share=1,
    ),
]
