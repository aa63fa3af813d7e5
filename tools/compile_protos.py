"""Compile the .proto files of each package into the descriptor set beside them: ``python tools/compile_protos.py``.

Needs grpcio-tools (a development dependency), which brings protoc.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent.parent / "src"
FOLDERS = sorted(
    {path.parent for part in ("networks", "samples") for path in (SOURCE / "int8cal" / part).rglob("*.proto")}
)
DESCRIPTORS_FILE = "descriptors.binpb"


def compile_folder(folder: Path) -> bytes:
    """The .proto files of a folder → a serialised FileDescriptorSet, imports first."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / DESCRIPTORS_FILE
        protos = sorted(str(path) for path in folder.glob("*.proto"))
        options = [f"--proto_path={SOURCE}", "--include_imports", f"--descriptor_set_out={out}"]
        if protoc.main(["protoc", *options, *protos]) != 0:
            raise SystemExit(f"protoc refuses {folder}")
        return out.read_bytes()


def main() -> int:
    """Write the descriptor set of every folder."""
    for folder in FOLDERS:
        (folder / DESCRIPTORS_FILE).write_bytes(compile_folder(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
