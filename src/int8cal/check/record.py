"""Does the manifest of a file that is proved say what spec and data say: readers compute with its words.

An image can be equal in every bit while the manifest beside it names another arithmetic; `inspect --deepstream` and the
report would follow the manifest. Two things give an edited one away: the arithmetic that readers compute with is not
the plan's, or ``plan_sha256`` is not the hash of the manifest's own words. The latter leaves room for files of other
versions of int8cal, and for specs that differ in what does not decide the images: their words hash to their name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from int8cal.errors import TensorFileError
from int8cal.io.safe_text import printable, short_repr
from int8cal.tensorfile.arithmetic import stated_arithmetic
from int8cal.tensorfile.findings import Finding
from int8cal.tensorfile.layout import is_run

if TYPE_CHECKING:
    from int8cal.plans import Plan
    from int8cal.tensorfile import TensorFile
    from int8cal.tensorfile.arithmetic import StatedArithmetic

_NAMED = 5
"""How many differing fields are named."""
_OF_THE_FILE = ("batch_size", "max_batches")
"""What the plan takes from the file's own size, so that it says nothing about the manifest."""


def compare_record(planned: Plan, file: TensorFile) -> list[Finding]:
    """Compare the manifest of a file, whose images are proved, with the run that makes such images.

    Args:
        planned: the run that makes the images of the file.
        file: the file. Its manifest is whole, as far as `int8cal.tensorfile.check` can tell.

    Returns:
        One finding that names the fields which differ; none when none does, or when there is no manifest of a run.
    """
    manifest = file.manifest
    if manifest is None or not is_run(manifest):
        return []
    told = {name: manifest[name] for name in planned.facts() if name in manifest}
    made = facts_of(planned) | {name: told.get(name) for name in _OF_THE_FILE}
    differing = list(_differences(told, made))
    is_edited = _is_edited(planned, file, told)
    if is_edited:
        differing += _differences(manifest.get("plan_sha256"), planned.hashed(made), "plan_sha256")
    if is_edited or _contradicts(told, made, file.shape[1]):
        return [_wrong(differing)]
    return [_other_words(differing)] if differing else []


def facts_of(planned: Plan) -> dict[str, Any]:
    """What a manifest says of a plan, as it is read back from a file."""
    facts: dict[str, Any] = json.loads(json.dumps(planned.facts()))
    return facts


def _contradicts(told: Mapping[str, Any], made: Mapping[str, Any], channels: int) -> bool:
    """Whether what readers compute with is not the plan's."""
    try:
        stated = stated_arithmetic(told, channels)
    except TensorFileError:
        return True
    made_with = stated_arithmetic(made, channels)
    return told.get("network") != made["network"] or not (
        stated is None or made_with is None or _is_same(stated, made_with)
    )


def _is_same(stated: StatedArithmetic, made: StatedArithmetic) -> bool:
    """Whether two arithmetics make the same numbers; a channel order that is not stated contradicts none."""
    return (
        stated.name == made.name
        and stated.channel_order in ("", made.channel_order)
        and _are_close(stated.mean, made.mean)
        and _are_close(stated.scale, made.scale)
    )


def _are_close(stated: tuple[float, ...], made: tuple[float, ...]) -> bool:
    """Whether numbers per channel, or one for all channels, are the same but for rounding."""
    channels = max(len(stated), len(made))
    pairs = zip(*(numbers * (channels // len(numbers)) for numbers in (stated, made)), strict=True)
    return all(math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6) for one, other in pairs)


def _is_edited(planned: Plan, file: TensorFile, told: Mapping[str, Any]) -> bool:
    """Whether ``plan_sha256`` is not the hash of the manifest's words; False where that cannot be told."""
    manifest = file.manifest or {}
    if "rebatched" in manifest:  # whose first batch size is not kept
        return False
    return _is_of_same_samples(planned, file) and planned.hashed(told) != manifest.get("plan_sha256")


def _is_of_same_samples(planned: Plan, file: TensorFile) -> bool:
    """Whether the data set is as it was, as far as the file says: samples that are new or labelled anew are not."""
    table = file.samples
    if table is None or (file.manifest or {}).get("dataset") != json.loads(json.dumps(planned.dataset.facts())):
        return False
    recorded = zip(*(table[column].tolist() for column in ("source", "frame_id", "record_crc")), strict=True)
    made = (
        (sample.source, sample.frame_id.encode(errors="surrogateescape"), sample.record.crc if sample.record else 0)
        for sample in planned.candidates(len(table))
    )
    return list(recorded) == list(made)


def _differences(told: object, made: object, name: str = "") -> Iterator[str]:
    """``name is this, not that`` for every field that differs."""
    if isinstance(told, Mapping) and isinstance(made, Mapping):
        for key in dict.fromkeys([*made, *told]):
            yield from _differences(told.get(key), made.get(key), f"{name}.{key}" if name else str(key))
    elif told != made:
        yield f"{printable(name)} is {short_repr(told)}, not {short_repr(made)}"


def _wrong(differing: list[str]) -> Finding:
    return Finding(
        "error",
        "manifest-wrong",
        f"the images are what spec and data make, the manifest is not: {_listed(differing)}",
        "Whoever reads it computes with the wrong words: make the file again from the spec. If the manifest was not "
        "edited, the file is of another spec; give that one.",
    )


def _other_words(differing: list[str]) -> Finding:
    return Finding(
        "note",
        "other-record",
        f"the manifest differs from its source in what does not change these images: {_listed(differing)}",
        "Nothing to do if the spec was changed since, or another version of int8cal made the file.",
    )


def _listed(differing: list[str]) -> str:
    more = f"; and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
    return "; ".join(differing[:_NAMED]) + more
