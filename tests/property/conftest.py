"""Property tests run on busy machines: an example may take as long as it needs."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("int8cal", deadline=None)
settings.load_profile("int8cal")
