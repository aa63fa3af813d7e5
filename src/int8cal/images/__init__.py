"""Encoded image → pixels: the only place that opens an image."""

JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
"""What files of these formats begin with: a format is told before the module that reads it is imported."""
