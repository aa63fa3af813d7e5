"""The record format of TFRecord data sets, as a protobuf message."""

import os

from int8cal.io import protos

EXAMPLE = "int8cal.tf.Example"
"""Full name of the message; its class is ``protos.message_class(EXAMPLE)``."""

protos.add_descriptors(protos.data_file(os.path.dirname(__file__), protos.DESCRIPTORS_FILE))
