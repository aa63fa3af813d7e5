"""The batches of the tests of models."""

from tests.unit.models.conftest import images, make_model

__all__ = ["images", "make_model"]
