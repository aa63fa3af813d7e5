"""Decodes images with TensorFlow 1.15 under the Python that runs it (3.7), for `tests.fuzz.other_python`.

To set it up: python3.7 -m venv tf && tf/bin/pip install tensorflow==1.15.5 "protobuf<4"
"""

import os
import struct
import sys
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

import tensorflow as tf  # noqa: E402

data = tf.compat.v1.placeholder(tf.string)
operations = {}
for channels in (1, 3):
    for fast, method in enumerate(("INTEGER_ACCURATE", "INTEGER_FAST")):
        operations[channels, fast] = tf.image.decode_jpeg(data, channels=channels, dct_method=method)
session = tf.compat.v1.Session(config=tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1))
while True:
    head = sys.stdin.buffer.read(6)
    if len(head) < 6:
        break
    length, channels, fast = struct.unpack("<IBB", head)
    encoded = sys.stdin.buffer.read(length)
    try:
        pixels = session.run(operations[channels, fast], {data: encoded})
        answer = ("x".join(map(str, pixels.shape)) + "\n").encode() + pixels.tobytes()
    except Exception as error:  # noqa: BLE001 - whatever it raises, it has refused the file
        answer = b"refused: " + str(error).split("\n")[0].encode()
    answers.write(struct.pack("<I", len(answer)) + answer)
    answers.flush()
