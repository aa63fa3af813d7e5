"""What a data set is to the rest of the package: samples in record order, by source. Nothing is decoded here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from int8cal.types import SplitName

FILES_LEFT_OUT = "files of other kinds"
SUFFIXES_LEFT_OUT = "suffixes of other kinds"
"""Facts of a data set: how many files of its folders are no samples, and how many of each suffix."""


class RecordRef(NamedTuple):
    """Where a TFRecord stands.

    Attributes:
        path: the TFRecord file.
        offset: byte offset of the record's framing (its length field) in the file.
        crc: masked CRC-32C of the record's payload, as stored in the file.
    """

    path: str
    offset: int
    crc: int

    @property
    def file_name(self) -> str:
        """Base name of the TFRecord file: all that a tensorfile says about where it lay."""
        return os.path.basename(self.path)


class Sample(NamedTuple):
    """One image of a split, not yet read.

    Attributes:
        source: index of the data source in the spec (0-based; the validation source counts on its own from 0).
        frame_id: name of the sample in its source (``frame/id``, or the path relative to the source's folder).
            Bytes that are not UTF-8 are kept as surrogate escapes.
        path: file that holds the encoded image.
        height, width: size in pixels as *recorded* (0 when the source records none); the file may differ.
        record: the TFRecord that names the sample; None for samples found in folders.
        embedded: True when the encoded image is inside ``record`` (feature ``frame/encoded``), not in ``path``.
        member: name of the image inside ``path``, which is an LMDB or an HDF5 file; empty: ``path`` is the image.
    """

    source: int
    frame_id: str
    path: str
    height: int = 0
    width: int = 0
    record: RecordRef | None = None
    embedded: bool = False
    member: str = ""


@dataclass(frozen=True)
class Source:
    """The samples of one data source, in record order.

    Attributes:
        index: index of the source in the spec.
        name: what the spec calls it (its TFRecord pattern or folder), for messages.
        samples: in record order; may be empty.
    """

    index: int
    name: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Dataset:
    """The chosen split of a data set.

    Attributes:
        split: which split.
        sources: every source of the split in spec order, those without samples included.
        validation_sources: the validation split's sources where the arithmetic needs their recorded sizes; else None.
        counts: facts for the summary and the manifest, such as ``{"images without label": 3}``.
        suffixes: how many files there are of each suffix among those of other kinds, where that is known.
        warnings: what the user should know, one sentence each.
    """

    split: SplitName
    sources: tuple[Source, ...]
    validation_sources: tuple[Source, ...] | None = None
    counts: dict[str, int] = field(default_factory=dict)
    suffixes: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """All samples of the split: sources in spec order, records in file order."""
        return tuple(sample for source in self.sources for sample in source.samples)

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it: the samples of each source, and the counts."""
        suffixes = {SUFFIXES_LEFT_OUT: self.suffixes} if self.suffixes else {}
        return {"sources": [len(source.samples) for source in self.sources], **self.counts, **suffixes}
