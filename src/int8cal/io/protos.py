"""Protobuf message classes from compiled descriptor sets, in a pool of our own. There is no generated Python code.

A package that has message definitions holds its .proto files and their compiled set, ``descriptors.binpb``
(``tools/compile_protos.py`` writes it), and calls `add_descriptors` with it when it is imported.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS_FILE = "descriptors.binpb"

_POOL = descriptor_pool.DescriptorPool()


@cache
def add_descriptors(descriptor_set: bytes) -> None:
    """Make the messages of a compiled set known; adding the same file again changes nothing.

    Args:
        descriptor_set: a serialised ``FileDescriptorSet`` in which each file comes after those it imports,
            as ``protoc --include_imports --descriptor_set_out`` writes it.

    Raises:
        TypeError: a file of that name with other content is already there, or an import is missing.
    """
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        _POOL.AddSerializedFile(file.SerializeToString())


def data_file(folder: str, name: str) -> bytes:
    """A data file of a package, by its folder.

    `importlib.resources`, which could also read it from inside a zip archive, takes 10 ms to import.
    """
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


@cache
def message_class(full_name: str) -> type[Any]:
    """Message class of a full name such as ``int8cal.detectnet_v2.Experiment``.

    Raises:
        KeyError: no descriptor set with such a message was added.
    """
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(full_name))
