"""Deformable DETR (TAO 5 to 7); the arithmetic is that of `int8cal.network_kit.detr`."""

from __future__ import annotations

from int8cal.network_kit.detr import detr_network

NETWORK = detr_network(
    "deformable_detr", "Deformable DETR of TAO 5 to 7: every bit equal to what NVIDIA's exported model is fed"
)
