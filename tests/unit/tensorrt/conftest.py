"""The batches of the tests of models."""

from tests.unit.models.conftest import images

__all__ = ["images"]
