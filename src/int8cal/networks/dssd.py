"""DSSD: an SSD spec with ``dssd_config`` in place of ``ssd_config``; data and arithmetic are those of SSD."""

from __future__ import annotations

from dataclasses import replace

from int8cal.networks import ssd

NETWORK = replace(
    ssd.NETWORK,
    name="dssd",
    title="DSSD object detection: equal to what NVIDIA's exporter computes, colour JPEGs excepted",
    detect=lambda message: ssd.network_of(message) == "dssd",
)
