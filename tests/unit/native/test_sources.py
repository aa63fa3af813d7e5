"""What the sources of all kernels have in common."""

from __future__ import annotations

import re
from pathlib import Path

from int8cal import native


def test_every_kernel_empties_the_vector_registers_first() -> None:
    """That it helps is shown by tests/extended/registers_driver.c, kernel by kernel."""
    sources = "".join(path.read_text() for path in sorted(Path(native.__file__).parent.glob("*.c")))
    first_words = dict(re.findall(r"^EXPORT \w+ int8cal_(\w+)\([^{]*\{\s*(\w+)", sources, re.MULTILINE))
    assert len(first_words) == sources.count("\nEXPORT ") == 10
    assert {name for name, word in first_words.items() if word != "begin_kernel"} == {"version", "encode_work_bytes"}
