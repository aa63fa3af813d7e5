"""Spec languages: text → typed values that know where they stood."""
