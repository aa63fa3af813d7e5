"""The per-channel mean that specs give as a map: one key per channel, all or none."""

from __future__ import annotations

import math

from int8cal.errors import SpecError
from int8cal.network_kit.network import CORRECT_FIELD
from int8cal.spec.document import SpecDocument
from int8cal.types import Message

CHANNEL_KEYS = {3: "bgr", 1: "l"}
"""Keys of the map in the order of `image_mean`'s result."""


def image_mean(spec: SpecDocument, parent: Message, field_path: str, channels: int) -> tuple[float, ...] | None:
    """Mean of each channel as the spec gives it.

    Args:
        spec: the spec, for positions.
        parent: message that holds the map.
        field_path: path of the map in the spec.
        channels: 3 or 1.

    Returns:
        (blue, green, red) or (grey,); None when the map is empty.

    Raises:
        SpecError: a channel has no mean, or none that is a number.
    """
    name = field_path.rpartition(".")[2]
    given: dict[str, float] = dict(getattr(parent, name))
    if not given:
        return None
    keys = CHANNEL_KEYS[channels]
    if any(key not in given for key in keys):
        wanted = "'r', 'g', 'b' should all be" if channels == 3 else "'l' should be"
        raise SpecError(
            f"{wanted} present in {name} for images with {channels} channel{'s' if channels > 1 else ''}.",
            where=spec.where(f"{field_path}[0]"),
            hint=f"The spec gives {', '.join(repr(key) for key in sorted(given))}.",
        )
    for key in keys:
        if not math.isfinite(given[key]):
            where = spec.where_entry(field_path, key)
            raise SpecError(f"{name} of {key!r} is {given[key]}, no finite number.", where=where, hint=CORRECT_FIELD)
    return tuple(given[key] for key in keys)
