"""Editing tensorfiles as somebody would who knows the format, checksums included."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import xxhash

MANIFEST, SAMPLES = "int8cal", "int8cal_samples"


def batch_name(batch: int) -> str:
    """Path of a batch's dataset."""
    return f"_tensorfile_array_key__{batch}/_tensorfile_array_key_"


def edit(
    path: str | os.PathLike[str],
    *,
    manifest: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
    table: Callable[[np.ndarray], np.ndarray | None] | None = None,
    values: Callable[[h5py.File], object] | None = None,
) -> None:
    """Change a file, and make its checksums those of what it then holds.

    Args:
        path: the file.
        manifest: changes the manifest, or gives another one.
        table: gives another sample table; None: there is none any more.
        values: changes anything else.
    """
    with h5py.File(path, "a") as file:
        if values:
            values(file)
        facts = json.loads(bytes(file.attrs[MANIFEST]))
        rows = file[SAMPLES][()] if SAMPLES in file else None
        if rows is not None:
            del file[SAMPLES]
            rows = table(rows) if table else rows
        if rows is not None:
            _sign_images(file, rows)
            file.create_dataset(SAMPLES, data=rows)
        if manifest:
            facts = manifest(facts) or facts
        file.attrs[MANIFEST] = np.bytes_(_signed(facts, rows))


def _sign_images(file: h5py.File, rows: np.ndarray) -> None:
    if "xxh3_128" not in rows.dtype.names:
        return
    for row in rows:
        if row["batch"] >= 0 and batch_name(row["batch"]) in file:
            dataset = file[batch_name(row["batch"])]
            if 0 <= row["position"] < len(dataset):
                image = np.ascontiguousarray(dataset[row["position"]], "<f4")
                row["xxh3_128"] = np.void(xxhash.xxh3_128_digest(image))


def _signed(facts: dict[str, Any], rows: np.ndarray | None) -> str:
    def text() -> str:
        return json.dumps(facts, sort_keys=True, separators=(",", ":"))

    if "record_xxh3_128" in facts:
        facts["record_xxh3_128"] = "0" * 32
        facts["record_xxh3_128"] = xxhash.xxh3_128_hexdigest(
            text().encode() + (b"" if rows is None else rows.tobytes())
        )
    return text()
