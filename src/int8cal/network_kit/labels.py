"""What labels say is in a picture: objects of TFRecords of NVIDIA's converters, and class folders."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from int8cal.network_kit.network import LabelledObject
from int8cal.samples.encoded import sample_place
from int8cal.samples.samples import Sample
from int8cal.samples.tfrecord import parse_features, read_record
from int8cal.spec.document import SpecDocument
from int8cal.types import Message

_EDGES = tuple(f"target/coordinates_{edge}" for edge in ("x1", "y1", "x2", "y2"))
_UNUSED = "(unmapped)"
"""After the name of a class that target_class_mapping of the spec leaves out: the network does not learn it."""


def folder_class(spec: object, sample: Sample) -> list[LabelledObject] | None:
    """The class folder of a sample as one object without a box; None when it lies in none."""
    folder, separator, _ = sample.frame_id.partition("/")
    return [LabelledObject(folder, None)] if separator else None


def tfrecord_objects(spec: SpecDocument, sample: Sample) -> list[LabelledObject] | None:
    """The objects that the record of a sample lists; None when it has no record, or one without classes.

    Raises:
        RecordError: the record is damaged.
    """
    if sample.record is None:
        return None
    features = parse_features(read_record(sample.record.path, sample.record.offset).payload, sample_place(sample))
    if "target/object_class" not in features:
        return None
    mapping = _class_mapping(spec)
    names = [value.decode(errors="replace") for value in features["target/object_class"].bytes_list.value]
    boxes = _boxes(features) or []
    return [
        LabelledObject(mapping.get(name.lower(), f"{name} {_UNUSED}") if mapping else name, box)
        for name, box in zip_longest(names, boxes[: len(names)])
    ]


def _class_mapping(spec: SpecDocument) -> Mapping[str, str]:
    """Names in the records → classes of the network; the reference compares them in lower case."""
    config = getattr(spec.message, "dataset_config", None)
    mapping = getattr(config, "target_class_mapping", {})
    return {name.lower(): target for name, target in mapping.items()}


def _boxes(features: Mapping[str, Message]) -> list[tuple[float, float, float, float]] | None:
    if not all(edge in features for edge in _EDGES):
        return None
    columns = [list(features[edge].float_list.value) for edge in _EDGES]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in zip(*columns, strict=False)]
