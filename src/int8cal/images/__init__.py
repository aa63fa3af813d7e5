"""Encoded image → pixels: the only place that opens an image."""
