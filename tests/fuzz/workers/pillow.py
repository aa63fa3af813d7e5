"""Decodes images with the Pillow of the Python that runs it (8.4 with 3.6 to 3.10), for `tests.fuzz.other_python`.

To set it up: python3.8 -m venv pillow && pillow/bin/pip install pillow==8.4.0
"""

import io
import os
import struct
import sys

from PIL import Image

Image.MAX_IMAGE_PIXELS = None
answers = os.fdopen(os.dup(1), "wb")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
while True:
    head = sys.stdin.buffer.read(6)
    if len(head) < 6:
        break
    encoded = sys.stdin.buffer.read(struct.unpack("<IBB", head)[0])
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
        image.info.pop("transparency", None)
        pixels = image.tobytes()
        palette = bytes(image.getpalette() or ()) if image.mode in ("P", "PA") else b""
        line = f"{image.mode} {image.width}x{image.height} {len(palette)}\n"
        answer = line.encode() + palette + pixels
    except Exception as error:  # noqa: BLE001 - whatever it raises, it has refused the file
        answer = b"refused: " + repr(error)[:200].encode()
    answers.write(struct.pack("<I", len(answer)) + answer)
    answers.flush()
